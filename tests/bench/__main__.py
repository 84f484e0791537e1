"""Runs the cases that are named and prints the table; exits 1 when a limit is missed. Use ``run.sh``."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench.cases import CASES, Result
from tests.bench.sides import Dockerd, Portside, Side
from tests.fakes.images import busybox_rootfs_tar


def passes(result: Result) -> bool:
    """Say whether a line keeps its limits."""
    ours, theirs = result.figures.get("portside"), result.baseline or result.figures.get("dockerd")
    if ours is None or theirs is None:
        return False
    return ours / theirs <= result.limit and (result.absolute is None or ours <= result.absolute)


def show(result: Result) -> str:
    """Return a line of the table."""
    ours, theirs = result.figures.get("portside"), result.baseline or result.figures.get("dockerd")
    ratio = f"{ours / theirs:.2f}" if ours and theirs else "-"
    limit = f"{result.limit:.2f}" + (f", {result.absolute:g} {result.unit}" if result.absolute is not None else "")
    cells = [f"{value:.3g}" if value is not None else "-" for value in (ours, theirs)]
    verdict = "" if ratio == "-" else "pass" if passes(result) else "MISSED"
    return f"{result.what:40} {result.unit:4} {cells[0]:>9} {cells[1]:>9} {ratio:>6}  {limit:12} {verdict}"


def measure(names: Sequence[str], sides: Sequence[Side]) -> list[Result]:
    """Run the cases; a line is printed as soon as it is known."""
    results: list[Result] = []
    for name in names:
        for result in CASES[name][0](sides):
            print(show(result), flush=True)
            results.append(result)
    return results


def main() -> int:
    """Parse the command line, start both sides, measure."""
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} (default all)")
    parser.add_argument("--quick", action="store_true", help="without the cases that take minutes")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--side", choices=["portside", "dockerd"], help="measure one side only")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    if options.list:
        for name, (case, is_long) in CASES.items():
            print(f"{name:8} {(case.__doc__ or '').splitlines()[0]}{' (long)' if is_long else ''}")
        return 0
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}; --list names them")
    names = options.cases or [name for name, (_, is_long) in CASES.items() if not (is_long and options.quick)]

    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    folder = Path(tempfile.mkdtemp(prefix="portside-bench-"))
    kinds = [kind for kind in (Portside, Dockerd) if options.side in (None, kind.name)]
    sides = [kind(folder / kind.name) for kind in kinds]
    try:
        for side in sides:
            side.start()
            wire = side.wire()
            wire.upload("/images/create?fromSrc=-&repo=busybox&tag=latest", busybox_rootfs_tar())
            wire.close()
        print(f"{'':40} {'':4} {'portside':>9} {'dockerd':>9} {'ratio':>6}  at most")
        results = measure(names, sides)
    finally:
        for side in sides:
            side.stop()
        remove(folder)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    missed = [result.what for result in results if (len(sides) > 1 or result.baseline) and not passes(result)]
    print(f"missed: {', '.join(missed)}" if missed else "every limit is kept")
    return 1 if missed else 0


def remove(folder: Path) -> None:
    """Unmount what is mounted beneath a folder and remove it; processes end with the namespace."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if line.split()[4].startswith(str(folder)):
            subprocess.run(["umount", "-l", line.split()[4]], check=False)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
