"""Restart policies: whether a container that exited is started again, and after how long."""

from __future__ import annotations

from engine.model.record import ContainerRecord

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 60.0
RESET_AFTER_S = 10.0


def should_restart(record: ContainerRecord, exit_code: int) -> bool:
    """Whether the policy starts a container again that has just exited by itself."""
    policy = record.host_config.restart_policy
    if record.manually_stopped or record.state.stopped_by_user:
        return False
    if policy.name in ("always", "unless-stopped"):
        return True
    if policy.name == "on-failure" and exit_code != 0:
        limit = policy.maximum_retry_count
        return limit == 0 or record.state.restart_count < limit
    return False


def should_start_with_engine(record: ContainerRecord) -> bool:
    """Whether a container that does not run is started when the engine starts."""
    policy = record.host_config.restart_policy
    if record.state.status == "created" and record.state.started_ns == 0:
        return False
    if policy.name == "always":
        return True
    if policy.name == "unless-stopped":
        return not record.manually_stopped
    if policy.name == "on-failure":
        return not record.manually_stopped and should_restart(record, record.state.exit_code)
    return False


def next_delay_s(previous_s: float, ran_s: float) -> float:
    """Return how long to wait before the next start: doubled each time, from the beginning after a long run."""
    if previous_s == 0 or ran_s >= RESET_AFTER_S:
        return FIRST_DELAY_S
    return min(previous_s * 2, LONGEST_DELAY_S)
