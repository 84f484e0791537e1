"""Figures over time out of the engine's samples."""

from __future__ import annotations

import pytest

from desktop.state.figures import KEPT, Figures, rounded_up


def sample(second: int, **counters: int) -> dict[str, object]:
    """Return one object of ContainerStats."""
    return {
        "read": f"2026-11-24T12:{second // 60:02d}:{second % 60:02d}.5Z",
        "memory_stats": {"usage": 1000 + second, "limit": 5000},
        "cpu_stats": {"cpu_usage": {"total_usage": second * 10**9 // 2}, "system_cpu_usage": second * 10**9,
                      "online_cpus": 2},
        "precpu_stats": {"cpu_usage": {"total_usage": (second - 1) * 10**9 // 2},
                         "system_cpu_usage": (second - 1) * 10**9},
        "pids_stats": {"current": 3},
        "networks": {"eth0": {"rx_bytes": counters.get("rx", 0)}, "eth1": {"rx_bytes": 1, "tx_bytes": 0}},
        "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": counters.get("read", 0)}]},
    }  # fmt: skip


def test_rates_are_differences_over_the_samples_own_times() -> None:
    figures = Figures()
    figures.take(sample(1, rx=100, read=0))
    figures.take(sample(3, rx=700, read=4096))
    assert figures.received.latest == 300
    assert figures.read.latest == 2048
    assert figures.cpu_percent.latest == pytest.approx(100)
    assert figures.memory_bytes.latest == 1003
    assert figures.memory_limit_bytes == 5000


def test_a_counter_that_went_back_tells_no_rate() -> None:
    figures = Figures()
    figures.take(sample(1, rx=1000))
    figures.take(sample(2, rx=10))
    assert figures.received.latest is None
    figures.take(sample(3, rx=30))
    assert figures.received.latest == 20


def test_a_container_that_does_not_run_tells_nothing() -> None:
    assert not Figures().take({"read": "0001-01-01T00:00:00Z", "memory_stats": {}})


def test_only_the_last_five_minutes_are_kept() -> None:
    figures = Figures()
    for second in range(1, KEPT + 100):
        figures.take(sample(second))
    assert len(figures.memory_bytes.points) == KEPT
    nearest = figures.memory_bytes.at(0)
    assert nearest is not None
    assert nearest[1] == 1000 + 100


@pytest.mark.parametrize(("value", "top"), [(0, 1), (3, 5), (5, 5), (5.1, 10), (130, 200), (0.03, 0.05), (1e9, 1e9)])
def test_the_upper_end_of_an_axis_is_round(value: float, top: float) -> None:
    assert rounded_up(value) == pytest.approx(top)
