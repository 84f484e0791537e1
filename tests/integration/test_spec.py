"""Every option of create, as a process in a container sees it, with crun and with runc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.bundles import Bundles


@pytest.fixture(params=["crun", "runc"])
def bundles(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bundles]:
    found = Bundles(request.param, tmp_path)
    yield found
    found.close()


def test_defaults_run_busybox(bundles: Bundles) -> None:
    outcome = bundles.run("echo hello; id -u; hostname; pwd; env | sort")
    assert outcome.code == 0, outcome.output
    lines = outcome.output.splitlines()
    assert lines[:2] == ["hello", "0"]
    assert lines[2] == outcome.spec["hostname"]
    assert lines[3] == "/"
    assert set(lines[4:]) >= {
        "HOME=/root",
        f"HOSTNAME={outcome.spec['hostname']}",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
