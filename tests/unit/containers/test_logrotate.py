"""Rotation of logs: limits as Docker reads them, and what becomes of the files."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from engine.containers.logoptions import LOCAL_MAX_BYTES, LOCAL_MAX_FILES, Rotation, rotation_of
from engine.containers.logrotate import compress, rotate
from engine.containers.logs import log_files


@pytest.mark.parametrize(
    ("driver", "options", "rotation"),
    [
        ("json-file", {}, None),
        ("none", {"max-size": "1m"}, None),
        ("json-file", {"max-file": "3"}, None),
        ("json-file", {"max-size": "10m"}, Rotation(10_000_000, 1, False)),
        ("json-file", {"max-size": "1.5k", "max-file": "4"}, Rotation(1500, 4, False)),
        ("json-file", {"max-size": "1m", "max-file": "2", "compress": "true"}, Rotation(1_000_000, 2, True)),
        ("local", {}, Rotation(LOCAL_MAX_BYTES, LOCAL_MAX_FILES, True)),
        ("local", {"max-size": "2kb", "max-file": "2"}, Rotation(2000, 2, True)),
        ("local", {"max-file": "1"}, Rotation(LOCAL_MAX_BYTES, 1, False)),
        ("local", {"compress": "false"}, Rotation(LOCAL_MAX_BYTES, LOCAL_MAX_FILES, False)),
        ("syslog", {}, Rotation(LOCAL_MAX_BYTES, LOCAL_MAX_FILES, True)),
        ("journald", {"cache-max-size": "1m", "cache-max-file": "2"}, Rotation(1_000_000, 2, True)),
    ],
)
def test_limits_are_docker_s(driver: str, options: dict[str, str], rotation: Rotation | None) -> None:
    assert rotation_of(driver, options) == rotation


def contents(folder: Path) -> dict[str, str]:
    """Return the files of a folder."""
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_move_on_and_the_oldest_goes(tmp_path: Path) -> None:
    log = tmp_path / "container.log"
    for text in "abcde":
        log.write_text(text)
        rotate(log, 3)
    assert contents(tmp_path) == {"container.log.1": "e", "container.log.2": "d"}


def test_one_file_alone_loses_what_it_held(tmp_path: Path) -> None:
    log = tmp_path / "container.log"
    log.write_text("a")
    rotate(log, 1)
    assert contents(tmp_path) == {}


def test_compressed_files_move_on_too(tmp_path: Path) -> None:
    log = tmp_path / "container.log"
    for text in "abcd":
        log.write_text(text)
        rotate(log, 3)
        compress(tmp_path / "container.log.1")
    assert {path.name: gzip.decompress(path.read_bytes()) for path in tmp_path.iterdir()} == {
        "container.log.1.gz": b"d",
        "container.log.2.gz": b"c",
    }


def test_a_compressed_file_keeps_its_time(tmp_path: Path) -> None:
    old = tmp_path / "container.log.1"
    old.write_text("x")
    os.utime(old, ns=(5, 7_000_000_001))
    compress(old)
    assert (tmp_path / "container.log.1.gz").stat().st_mtime_ns == 7_000_000_001


def test_files_of_a_log_are_read_oldest_first(tmp_path: Path) -> None:
    for name in ("container.log", "container.log.1", "container.log.2", "container.log.10", "container.log.tmp"):
        (tmp_path / name).touch()
    assert [path.name for path in log_files(tmp_path / "container.log")] == [
        "container.log.10",
        "container.log.2",
        "container.log.1",
        "container.log",
    ]
