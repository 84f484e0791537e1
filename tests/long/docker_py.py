"""docker-py's own integration tests against a Portside engine, and against Docker's engine beside it.

``python -m tests.long.docker_py FOLDER [--on dockerd] [--only EXPRESSION]`` as root. FOLDER is a
checkout of docker-py's repository at tag 7.2.0; the package on PyPI comes without the tests. Takes about five
minutes. What needs a swarm or the builder is listed in ``docker_py_excluded.txt``; any other test that fails ends
the run with 1. ``--on dockerd`` runs all of them against dockerd to see what it passes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engine_process import EngineProcess
from tests.long.mirror import Mirror, fill, run_registry, small_image
from tests.oracle import Dockerd, oracle_root

EXCLUDED = Path(__file__).with_name("docker_py_excluded.txt")
IMAGES = ("alpine:3.10", "alpine:latest", "busybox:latest", "hello-world:latest")
TIMEOUT_S = 60
_REQUIREMENTS = ("docker==7.2.0", "pytest>=9,<10", "pytest-timeout>=2.4,<3", "paramiko>=3", "websocket-client>=1.3")


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def excluded() -> dict[str, str]:
    """Return the tests that are not expected to pass, each with its reason."""
    reasons: dict[str, str] = {}
    for line in EXCLUDED.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, reason = line.partition(" ")
            reasons[name] = reason.strip()
    return reasons


def make_python(folder: Path) -> Path:
    """Return a Python with what the tests import."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin/pip"), "install", "-qq", *_REQUIREMENTS], check=True)
    return folder / "bin/python"


@contextmanager
def running(kind: str, folder: Path) -> Iterator[EngineProcess]:
    """Run an engine with a mirror of its own and the images that the tests expect."""
    with run_registry(folder / "registry") as mirror:
        fill(mirror, folder, IMAGES)
        engine_folder = folder / "engine"
        engine_folder.mkdir()
        engine = make_engine(kind, engine_folder, mirror)
        with engine:
            for name in ("alpine:3.10", "busybox:latest"):
                archive = folder / "image.tar"
                archive.write_bytes(small_image(name, ["/bin/sh"]))
                engine.docker("load", "-i", str(archive))
            if isinstance(engine, Dockerd):  # its network is not the host's: it needs a registry of its own in there
                port = int(mirror.host.partition(":")[2])
                with run_registry(folder / "registry", namespaces_of=engine.inner_pid, port=port):
                    yield engine
            else:
                yield engine


def make_engine(kind: str, folder: Path, mirror: Mirror) -> EngineProcess:
    """Return an engine of this kind that is not started."""
    if kind == "dockerd":
        return Dockerd(folder, settings=mirror.settings, root=oracle_root())
    return EngineProcess(folder, settings=mirror.settings)


def run_tests(python: Path, checkout: Path, engine: EngineProcess, report: Path, chosen: str) -> dict[str, str]:
    """Run the tests; return each one's outcome: passed, skipped, or why it failed."""
    environment = {**os.environ, "DOCKER_HOST": engine.url, "HOME": str(report.parent / "home")}
    environment.pop("DOCKER_CONFIG", None)
    (report.parent / "home").mkdir()
    environment |= {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={TIMEOUT_S}"]
    command += [f"--junitxml={report}", *(["-k", chosen] if chosen else [])]
    # Not those of credentials: they test helper programs, and no engine.
    command += sorted(str(path) for path in (checkout / "tests/integration").glob("*_test.py"))
    subprocess.run(command, cwd=checkout, env=environment, check=False, stdout=subprocess.DEVNULL)
    outcomes: dict[str, str] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        module = case.get("classname", "").removeprefix("tests.integration.")
        bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        outcome = "passed"
        if bad is not None:
            outcome = "skipped" if bad.tag == "skipped" else f"{bad.get('message', '')}\n{bad.text or ''}"
        outcomes[f"{module}::{case.get('name')}"] = outcome
    return outcomes


def main(arguments: list[str]) -> int:
    """Run them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="docker_py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", type=Path, help="docker-py's repository at tag 7.2.0")
    parser.add_argument("--on", choices=("portside", "dockerd"), default="portside", help="the engine")
    parser.add_argument("--only", default="", help="an expression for pytest -k")
    parser.add_argument("--details", type=Path, help="a file for what failed, with tracebacks")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="portside-dpy-") as temporary:
        folder = Path(temporary)
        python = make_python(folder / "venv")
        with running(chosen.on, folder) as engine:
            report = folder / "report.xml"
            try:
                outcomes = run_tests(python, chosen.checkout.resolve(), engine, report, chosen.only)
            finally:
                if chosen.details is not None:
                    shutil.copy(engine.log, chosen.details.with_suffix(".engine.log"))
    return judge(outcomes, chosen.details, {} if chosen.on == "dockerd" else excluded())


def judge(outcomes: dict[str, str], details: Path | None, reasons: dict[str, str]) -> int:
    """Say what passed; returns 1 when a test failed that is not excluded."""
    passed = {name for name, outcome in outcomes.items() if outcome == "passed"}
    skipped = {name for name, outcome in outcomes.items() if outcome == "skipped"}
    failed = {name: outcome for name, outcome in outcomes.items() if name not in passed | skipped}
    lost = sorted(set(failed) - set(reasons))
    if details is not None:
        details.write_text("\n\n".join(f"## {name}\n{outcome}" for name, outcome in sorted(failed.items())))
    for name in lost:
        say(f"FAILED {name}: {failed[name].partition(chr(10))[0][:200]}")
    for name in sorted(passed & set(reasons)):
        say(f"passes although it is excluded ({reasons[name]}): {name}")
    expected = len(set(failed) & set(reasons))
    say(f"{len(outcomes)} tests: {len(passed)} passed, {len(skipped)} skipped, {expected} excluded, {len(lost)} failed")
    return 1 if lost or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
