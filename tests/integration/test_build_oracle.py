"""Builds compared with dockerd's classic builder: output, configuration, history and every layer.

All Dockerfiles of ``tests/build_cases.py`` are compared with PORTSIDE_ALL_BUILDS=1, else the first of them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import build_comparison as compare
from tests.build_cases import CASES, IN_CI, Case
from tests.engine_process import EngineProcess
from tests.oracle import Dockerd, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "dockerd can run")
_CHOSEN = CASES if os.environ.get("PORTSIDE_ALL_BUILDS") else CASES[:IN_CI]


@pytest.fixture(scope="module")
def pair(engine: EngineProcess) -> Iterator[tuple[EngineProcess, EngineProcess]]:
    """Our engine and a dockerd, both with the image ``base``."""
    folder = Path(tempfile.mkdtemp(prefix="portside-oracle-"))
    dockerd = Dockerd(folder, "--bridge=none", "--iptables=false")
    try:
        dockerd.start()
        dockerd.load_busybox()
        for number, side in enumerate((engine, dockerd)):
            compare.build_base(side, folder / f"base-{number}")
        yield engine, dockerd
        dockerd.stop()
    finally:
        dockerd.remove_leftovers()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("case", _CHOSEN, ids=[case.name for case in _CHOSEN])
def test_same_as_dockerd(case: Case, pair: tuple[EngineProcess, EngineProcess], tmp_path: Path) -> None:
    """Both print the same, and make the same image."""
    context = tmp_path / "context"
    compare.write_context(context, case)
    words = [str(context / word) if word.startswith("sub/") else word for word in case.words]
    tag = case.name
    ours, theirs = (compare.build(side, context, "-t", tag, "--network", "none", *words) for side in pair)
    if case.has_own_words:  # 28 says it otherwise than 20.10
        assert ours.returncode == theirs.returncode
    else:
        assert compare.shown(ours) == compare.shown(theirs)
    assert (ours.returncode != 0) is case.fails
    if case.fails:
        return
    engine, dockerd = pair
    assert compare.configuration(engine, tag) == compare.configuration(dockerd, tag)
    if "--from" not in case.text:  # the digests of files of an image count their types with 20.10, not with 28
        assert compare.history(engine, tag) == compare.history(dockerd, tag)
    assert compare.differing(compare.layers(engine, tag), compare.layers(dockerd, tag)) == []
