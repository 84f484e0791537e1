"""Events: published by the managers, kept in a journal, followed by clients."""

from __future__ import annotations

from typing import Protocol


class EventSink(Protocol):
    """Where the managers announce what happened."""

    def publish(
        self,
        kind: str,
        action: str,
        actor_id: str,
        attributes: dict[str, str] | None = None,
        *,
        time_ns: int | None = None,
    ) -> None:
        """Announce an event now (or at ``time_ns``, nanoseconds since 1970); never blocks or raises.

        ``kind`` is container, image, network, volume, daemon…; ``action`` Docker's (``create``, ``die``).
        """
