"""The answers of dockerd 28 to the sessions, in this folder: ``recorded_1.51.jsonl`` and ``recorded_1.41.jsonl``.

``python -m tests.contract.recording ROOT`` as root makes them anew; ROOT is a root file system with dockerd 28 (see
``tests/oracle.py``). ``--show`` prints where our engine differs from it now, grouped; with ``--on 20`` from Debian's
dockerd 20.10. Take what it shows into ``differences.txt`` with a reason, or mend it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.contract.player import BRIDGE, Answer, Player
from tests.contract.sameness import Difference, compare, load_allowances
from tests.contract.transcript import Step, load_sessions
from tests.engine_process import EngineProcess
from tests.oracle import Dockerd, oracle_root

VERSIONS = ("1.51", "1.41")
OLD_VERSION = "1.41"
"""What dockerd 20.10 speaks."""

Played = list[tuple[Answer, Any]]


def recorded(version: str) -> dict[str, dict[str, Any]]:
    """Return dockerd 28's answers by the names of their steps."""
    lines = _file(version).read_text(encoding="utf-8").splitlines()
    return {item["step"]: item for item in map(json.loads, lines)}


def play_ours(version: str, steps: list[Step]) -> Played:
    """Play the steps to an engine of ours."""
    return _play(lambda folder: EngineProcess(folder, settings={"bip": BRIDGE}), version, steps)


def play_dockerd(version: str, steps: list[Step], root: Path | None = None) -> Played:
    """Play the steps to a dockerd, this Debian's or the one in ``root``."""
    return _play(lambda folder: Dockerd(folder, settings={"bip": BRIDGE}, root=root), version, steps)


def _play(make: Any, version: str, steps: list[Step]) -> Played:
    with tempfile.TemporaryDirectory(prefix="portside-same-") as temporary:
        folder = Path(temporary)
        with make(folder) as engine:
            engine.load_busybox()
            return Player(engine, version).play(steps)


def differences(theirs: dict[str, dict[str, Any]], ours: Played) -> list[Difference]:
    """Return where our answers differ from theirs; a step that they lack counts as no difference."""
    found: list[Difference] = []
    for answer, _ in ours:
        if answer.step in theirs:
            found += compare(theirs[answer.step], answer.as_json(), answer.operation)
    return found


def as_recording(played: Played) -> dict[str, dict[str, Any]]:
    """Return answers in the form of a recording."""
    return {answer.step: answer.as_json() for answer, _ in played}


def unexcused(found: Iterable[Difference], newer: dict[str, dict[str, Any]], ours: Played) -> list[Difference]:
    """Return the differences from an old dockerd in which we do not answer as the newer one does, or may."""
    allowances = load_allowances()
    answers = {answer.step: answer for answer, _ in ours}
    left = []
    for difference in found:
        answer = answers[difference.step]
        kept = newer.get(difference.step)
        if kept is None or any(
            other.place.startswith(difference.place) or difference.place.startswith(other.place)
            for other in compare(kept, answer.as_json(), answer.operation)
            if not any(allowance.covers(other, "28") for allowance in allowances)
        ):
            left.append(difference)
    return left


def _file(version: str) -> Path:
    return Path(__file__).with_name(f"recorded_{version}.jsonl")


def record(root: Path) -> None:
    """Write the files anew."""
    steps = load_sessions()
    for version in VERSIONS:
        played = play_dockerd(version, steps, root)
        lines = [json.dumps(answer.as_json(), ensure_ascii=False) for answer, _ in played]
        _file(version).write_text("\n".join(lines) + "\n", encoding="utf-8")
        sys.stdout.write(f"{_file(version).name}: {len(lines)} answers\n")


def show(which: str, only: str) -> int:
    """Print what differs and is not allowed; returns how many groups."""
    steps = [step for step in load_sessions() if only in step.section]
    version = OLD_VERSION if which == "20" else "1.51"
    with ThreadPoolExecutor() as pool:
        playing = pool.submit(play_dockerd, version, steps) if which == "20" else None
        ours = play_ours(version, steps)
        theirs = as_recording(playing.result()) if playing else recorded(version)
    found = differences(theirs, ours)
    if which == "20":
        found = unexcused(found, recorded(version), ours)
    allowances = load_allowances()
    groups: dict[tuple[str, str, str], list[Difference]] = {}
    for difference in found:
        if not any(allowance.covers(difference, which) for allowance in allowances):
            is_named = difference.place.startswith("status") or difference.place.endswith(".message")
            key = difference.step if is_named else difference.operation.split("/")[1]
            groups.setdefault((key, difference.place, f"{difference.theirs}{difference.ours}"), []).append(difference)
    for same in groups.values():
        sys.stdout.write(f"[{len(same)}] {same[0]}\n")
    return len(groups)


def main(arguments: list[str]) -> int:
    """Record or show; returns the exit code."""
    parser = argparse.ArgumentParser(prog="recording", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("root", type=Path, nargs="?", default=oracle_root(), help="a root with dockerd 28")
    parser.add_argument("--show", action="store_true", help="print how our engine differs")
    parser.add_argument("--on", choices=("28", "20"), default="28", help="the dockerd to compare with")
    parser.add_argument("--only", default="", help="sections with this in their title")
    chosen = parser.parse_args(arguments)
    if chosen.show:
        return 1 if show(chosen.on, chosen.only) else 0
    record(chosen.root)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
