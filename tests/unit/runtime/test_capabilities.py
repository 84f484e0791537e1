"""Capabilities as they are asked for and what a container ends up with."""

from __future__ import annotations

import pytest

from engine.errors import InvalidArgument
from engine.runtime.capabilities import DEFAULT, NAMES, effective, names_in, normalize


def test_names_by_number() -> None:
    assert len(NAMES) == 41
    assert names_in(0b101) == ("CAP_CHOWN", "CAP_DAC_READ_SEARCH")
    assert sum(1 << NAMES.index(name) for name in DEFAULT) == 0xA80425FB


def test_default_add_and_drop() -> None:
    assert effective([], [], NAMES) == list(DEFAULT)
    assert "CAP_NET_ADMIN" in effective(["net_admin"], [], NAMES)
    assert effective(["chown", "CAP_CHOWN"], [], NAMES) == list(DEFAULT)
    assert "CAP_KILL" not in effective([], ["Kill"], NAMES)
    assert effective(["CAP_BPF"], ["ALL"], NAMES) == ["CAP_BPF"]
    assert effective([], ["all"], NAMES) == []
    assert effective(["ALL"], ["CAP_BPF"], NAMES) == [name for name in NAMES if name != "CAP_BPF"]
    assert effective([], ["ALL"], NAMES, privileged=True) == list(NAMES)


def test_what_the_host_does_not_give() -> None:
    some = ("CAP_CHOWN", "CAP_KILL")
    assert effective([], [], some) == ["CAP_CHOWN", "CAP_KILL"]
    assert effective([], [], some, privileged=True) == list(some)
    with pytest.raises(InvalidArgument, match="not supported by your kernel or not available in the current"):
        normalize(["BPF"], some)
    with pytest.raises(InvalidArgument, match='unknown capability: "CAP_FLY"'):
        normalize(["fly"], some)
