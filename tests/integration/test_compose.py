"""Compose, the real programs, with an application of five services made of busybox: v5 and, where it is, 1.29.2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.composeapp import write
from tests.composeapp.drive import Compose, drive
from tests.engine_process import EngineProcess

PROGRAMS = {"v5": Path(sys.executable).with_name("docker-compose"), "v1": Path("/usr/bin/docker-compose")}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_an_application_of_five_services(name: str, own_engine: EngineProcess, tmp_path: Path) -> None:
    if not PROGRAMS[name].exists():
        pytest.skip(f"{PROGRAMS[name]} is not installed")
    write(tmp_path, "busybox", is_real=False, is_modern=name == "v5")
    seen: list[str] = []
    drive(Compose(PROGRAMS[name], own_engine, tmp_path), seen.append, path="/cgi-bin/index", is_modern=name == "v5")
    assert seen[-1] == "down -v: nothing is left"
