"""The programs in examples/, as a user would run them: docker-py, aiodocker and Testcontainers with our engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXPECTED = {
    "docker_py_report.py": [
        "words: '3', exit code 0",
        "hash: '5891b5b522d5', exit code 0",
        "fails: 'about to fail', exit code 3",
    ],
    "aiodocker_service.py": [
        "client ended with 0: served from the volume",
        "server has ['index.html', '23'], exec ended with 0",
        "server runs 2 processes",
    ],
    "testcontainers_web.py": [
        "from outside: hello from a container",
        "by its alias: hello from a container, exit code 0",
        "its log: ready",
    ],
}


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", list(EXPECTED))
def test_an_example_does_what_it_says(name: str, engine: EngineProcess, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DOCKER_HOST": engine.url,
        "TESTCONTAINERS_RYUK_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], env=environment, cwd=tmp_path, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.splitlines() == EXPECTED[name]
    left = [engine.docker(*words).stdout for words in (("ps", "-aq"), ("volume", "ls", "-q"))]
    assert left == ["", ""]
    assert engine.docker("network", "ls", "-q", "--filter", "type=custom").stdout == ""
