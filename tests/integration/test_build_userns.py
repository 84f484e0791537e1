"""Steps of builds in user namespaces (``userns-remap``)."""

from __future__ import annotations

from tests.engine_process import EngineProcess
from tests.integration.test_build import built
from tests.integration.test_userns import machine

__all__ = ["machine"]


def test_steps_are_remapped_and_images_are_not(machine: EngineProcess) -> None:
    """A step is root in its own namespace only; what it writes has in the image the owners that it saw."""
    text = (
        "FROM busybox\nRUN head -1 /proc/self/uid_map; mkdir /d && chown 5:6 /d && id -u > /id\nCOPY f /f\n"
        "RUN cat /f && stat -c '%u' /f /id\n"
    )
    printed = built(machine, text, {"f": "copied\n"}, "t=x&networkmode=none")
    assert "copied" in printed
    assert "         0          0 4294967295" not in printed
    shown = machine.docker("run", "--rm", "--network", "none", "x", "stat", "-c", "%u %g", "/d", "/id", "/f").stdout
    assert shown.splitlines() == ["5 6", "0 0", "0 0"]
    plain = machine.docker("run", "--rm", "--network", "none", "--userns", "host", "x", "stat", "-c", "%u %g", "/d")
    assert plain.stdout == "5 6\n"
