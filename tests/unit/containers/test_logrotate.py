"""Rotation of logs: limits as Docker reads them, and what becomes of the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.containers.logrotate import LOCAL_MAX_BYTES, LOCAL_MAX_FILES, limits_of, rotate
from engine.containers.logs import log_files
from engine.model.container import HostConfig, LogConfig
from engine.model.record import ContainerRecord


def record(driver: str, **options: str) -> ContainerRecord:
    """Return a container with a log configuration."""
    made = ContainerRecord(id="a", name="web", created_ns=1)
    config = {name.replace("_", "-"): value for name, value in options.items()}
    made.host_config = HostConfig(log_config=LogConfig(type=driver, config=config))
    return made


@pytest.mark.parametrize(
    ("made", "limits"),
    [
        (record("json-file"), None),
        (record("none", max_size="1m"), None),
        (record("json-file", max_file="3"), None),
        (record("json-file", max_size="10m"), (10_000_000, 1)),
        (record("json-file", max_size="1.5k", max_file="4"), (1500, 4)),
        (record("local"), (LOCAL_MAX_BYTES, LOCAL_MAX_FILES)),
        (record("local", max_size="2kb", max_file="2"), (2000, 2)),
    ],
)
def test_limits_are_docker_s(made: ContainerRecord, limits: tuple[int, int] | None) -> None:
    assert limits_of(made) == limits


def contents(folder: Path) -> dict[str, str]:
    """Return the files of a folder."""
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_move_on_and_the_oldest_goes(tmp_path: Path) -> None:
    log = tmp_path / "container.log"
    for text in "abcde":
        log.write_text(text)
        rotate(log, 3)
    assert contents(tmp_path) == {"container.log.1": "e", "container.log.2": "d"}


def test_one_file_alone_stays_readable_until_the_next_rotation(tmp_path: Path) -> None:
    log = tmp_path / "container.log"
    for text in "ab":
        log.write_text(text)
        rotate(log, 1)
    log.write_text("c")
    assert contents(tmp_path) == {"container.log.1": "b", "container.log": "c"}


def test_files_of_a_log_are_read_oldest_first(tmp_path: Path) -> None:
    for name in ("container.log", "container.log.1", "container.log.2", "container.log.10", "container.log.tmp"):
        (tmp_path / name).touch()
    assert [path.name for path in log_files(tmp_path / "container.log")] == [
        "container.log.10",
        "container.log.2",
        "container.log.1",
        "container.log",
    ]
