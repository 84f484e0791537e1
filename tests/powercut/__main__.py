"""Cut the power of a guest in the middle of work, start it again, compare; twenty times by default.

``python -m tests.powercut --work DIR [--rounds N] [--kernel DIR]``. Needs qemu-system-x86, busybox-static,
docker-registry, skopeo, and root; without ``--kernel`` it fetches and unpacks Debian's linux-image. It takes
under a minute a round and is not part of tests/run.sh.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from tests.powercut.guest import Guest
from tests.powercut.payload import fill_registry

_KINDS = ("volume", "container", "image", "write", "no-volume", "no-container", "no-image")
_TREE = Path(__file__).resolve().parents[2]


@dataclass
class Ledger:
    """What was acknowledged over all lives, and the faults."""

    names: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in _KINDS})
    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def acknowledged(self) -> int:
        """How many operations were acknowledged."""
        return self.counts.total()

    def note(self, line: str) -> None:
        """Take in a line of the guest."""
        word, _, rest = line.partition(" ")
        kind, _, name = rest.partition(" ")
        if word == "FAULT":
            self.faults.append(rest)
        elif word == "BEGIN":
            # From here to its acknowledgement it may be there or not.
            self._forget(kind.removeprefix("no-"), name)
        elif word == "ACK":
            self.counts[kind] += 1
            self.names[kind].append(name)

    def _forget(self, kind: str, name: str) -> None:
        if name in self.names[kind]:
            self.names[kind].remove(name)


def get_kernel(work: Path) -> Path:
    """Fetch and unpack Debian's kernel; return its folder."""
    folder = work / "kernel"
    if not folder.exists():
        shown = subprocess.run(
            ["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=True
        )
        found = re.search(r"linux-image-\d\S+", shown.stdout)
        if found is None:
            raise SystemExit("apt knows no linux-image-amd64")
        subprocess.run(["apt-get", "download", found[0]], cwd=work, check=True)
        (package,) = work.glob("linux-image-*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
    return folder


def one_round(guest: Guest, ledger: Ledger, work: Path, number: int, *, last: bool) -> str:
    """Run one life and cut its power; return a line about it."""
    expected = work / "expected.json"
    expected.write_text(json.dumps(ledger.names))
    before, faults = ledger.acknowledged, len(ledger.faults)
    registry = "" if last else f" {work / 'registry'}"
    guest.start(f"{sys.executable} -B -m tests.powercut.worker {expected} {number}{registry} 2>&1")
    ready = ""
    delay_s = random.uniform(2, 20)
    seen: deque[str] = deque(maxlen=40)
    for line in guest.lines(240):
        ledger.note(line)
        seen.append(line)
        if line.startswith("READY"):
            ready = line
        if line == "WORKING" or (last and line == "CHECKED"):
            break
    else:
        ledger.faults.append("\n    ".join([f"round {number}: the guest did not get to work:", *seen]))
    if not last:
        for line in guest.lines(delay_s):
            ledger.note(line)
    guest.kill()
    return (
        f"round {number}: {ready.lower() or 'not ready'}, cut after {0 if last else delay_s:.1f} s, "
        f"{ledger.acknowledged - before} acknowledged, {len(ledger.faults) - faults} faults"
    )


def main() -> int:
    """Run the rounds; returns 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.powercut")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--kernel", type=Path)
    options = parser.parse_args()
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    disk = work / "disk.img"
    disk.unlink(missing_ok=True)
    with disk.open("wb") as file:
        file.truncate(8 << 30)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True)
    fill_registry(work / "registry", options.rounds)
    guest = Guest(work / "guest", options.kernel or get_kernel(work), _TREE, disk)
    ledger = Ledger()
    try:
        for number in range(options.rounds + 1):
            print(one_round(guest, ledger, work, number, last=number == options.rounds), flush=True)
            for fault in ledger.faults:
                print(f"  {fault}", flush=True)
            if ledger.faults:
                return 1
    finally:
        guest.kill()
    print(", ".join(f"{count} of {kind}" for kind, count in ledger.counts.items()))
    print(f"{options.rounds} power cuts, {ledger.acknowledged} acknowledged operations, nothing lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
