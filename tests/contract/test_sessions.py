"""The recorded sessions, played to our engine and to dockerd: the same answers, the same state afterwards.

Three judges: what dockerd 28.5 answered (recorded here, API 1.51), Debian's dockerd 20.10 in the same run (API 1.41,
where it may be older than what 28.5 answers to that), and the API's own description. ``differences.txt`` has what may
differ and why. PORTSIDE_ORACLE_ROOT plays to a dockerd 28 in the same run as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.contract.recording import (
    OLD_VERSION,
    Played,
    as_recording,
    differences,
    play_dockerd,
    play_ours,
    recorded,
    unexcused,
)
from tests.contract.sameness import Difference, compare, load_allowances
from tests.contract.schema import Description, find_description
from tests.contract.transcript import load_sessions, parse
from tests.oracle import oracle_root, why_not

pytestmark = pytest.mark.timeout(600)
_SHOWN = 40
_NO_BODY = ("HEAD", "OPTIONS")


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as made:
        yield made


@pytest.fixture(scope="module")
def old_dockerd(pool: ThreadPoolExecutor) -> Future[Played] | None:
    """dockerd 20.10, which works while ours does."""
    return None if why_not() else pool.submit(play_dockerd, OLD_VERSION, load_sessions())


@pytest.fixture(scope="module")
def ours(old_dockerd: Future[Played] | None) -> Played:
    return play_ours("1.51", load_sessions())


def not_allowed(found: list[Difference], which: str) -> list[Difference]:
    allowances = load_allowances()
    return [item for item in found if not any(allowance.covers(item, which) for allowance in allowances)]


def shown(found: list[Difference]) -> str:
    return f"{len(found)} differences:\n" + "\n".join(str(item) for item in found[:_SHOWN])


def test_ours_answers_as_the_recorded_dockerd(ours: Played) -> None:
    theirs = recorded("1.51")
    missing = [answer.step for answer, _ in ours if answer.step not in theirs]
    assert not missing, f"not recorded: {missing[:5]}; python -m tests.contract.recording ROOT"
    left = not_allowed(differences(theirs, ours), "28")
    assert not left, shown(left)


def test_every_allowed_difference_is_one(ours: Played) -> None:
    found = differences(recorded("1.51"), ours)
    unused = [
        allowance
        for allowance in load_allowances()
        if allowance.which == "28" and not any(allowance.covers(item, "28") for item in found)
    ]
    assert not unused, f"no longer a difference: {unused}"


def test_ours_answers_as_the_dockerd_of_this_debian(old_dockerd: Future[Played] | None, ours: Played) -> None:
    if old_dockerd is None:
        pytest.skip(why_not())
    played = play_ours(OLD_VERSION, load_sessions())
    found = differences(as_recording(old_dockerd.result()), played)
    left = not_allowed(unexcused(found, recorded(OLD_VERSION), played), "20")
    assert not left, shown(left)


@pytest.mark.skipif(oracle_root() is None, reason="PORTSIDE_ORACLE_ROOT names no root with dockerd 28")
def test_ours_answers_as_a_dockerd_28_in_this_run(ours: Played) -> None:
    theirs = as_recording(play_dockerd("1.51", load_sessions(), oracle_root()))
    left = not_allowed(differences(theirs, ours), "28")
    assert not left, shown(left)


@pytest.fixture(scope="module")
def description() -> Description:
    path = find_description()
    if path is None:
        pytest.skip("the API's description is not beside the checkout; PORTSIDE_API_YAML names it")
    return Description(path)


def test_every_answer_is_what_the_description_says(ours: Played, description: Description) -> None:
    allowances = [item for item in load_allowances() if item.which == "yaml"]
    faults = []
    theirs = recorded("1.51")
    for answer, body in ours:
        method, path = answer.operation.split(" ", 1)
        operation = description.find(method, path)
        if operation is None or method in _NO_BODY:
            continue
        for item in description.items(operation, answer.status, body):
            # What the description lacks and dockerd sends is the description's fault.
            sent = _names_in(theirs[answer.step]["body"])
            for fault in description.check(operation, answer.status, item):
                if fault.endswith(": unknown property") and fault.partition(":")[0].rpartition(".")[2] in sent:
                    continue
                place = fault.partition(":")[0]
                difference = Difference(answer.step, answer.operation, place, "the description", fault)
                if not any(allowance.covers(difference, "yaml") for allowance in allowances):
                    faults.append(difference)
    assert not faults, shown(faults)


def _names_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(_names_in(item) for item in value.values()))
    return set().union(*(_names_in(item) for item in value)) if isinstance(value, list) else set()


def test_the_description_judges(description: Description) -> None:
    """The judge itself: what is wrong is found."""
    operation = description.find("GET", "/containers/json")
    assert operation is not None
    assert description.check(operation, 200, [{"Id": "x", "Names": ["/a"]}]) == []
    assert description.check(operation, 200, [{"Id": 5}]) == ["[].Id: 5 is no string"]
    assert description.check(operation, 200, [{"Nonsense": 1}]) == ["[].Nonsense: unknown property"]
    assert description.check(operation, 200, {}) == [".: {} is no array"]
    assert description.check(operation, 404, {"message": 1}) == [".message: 1 is no string"]
    assert description.check(operation, 418, {"error": "x"}) == [
        ".message: missing",
        ".error: unknown property",
    ]
    assert description.check(operation, 204, None) == ["status 204 is not described"]
    assert description.find("GET", "/images/a/b:c/json") is description.find("GET", "/images/x/json")
    assert description.find("GET", "/images/json") is not description.find("GET", "/images/x/json")
    assert description.find("GET", "/nothing") is None


def test_the_comparison_finds_what_differs() -> None:
    body: dict[str, Any] = {"A": [1, 2], "B": "x", "C": None}
    answer = {"step": "s", "status": 200, "headers": {"content-type": "a"}, "body": body}
    assert compare(answer, answer, "GET /x") == []
    other = {**answer, "headers": {}, "body": {"A": [1, 3], "B": 5, "D": True}}
    places = [(item.place, item.theirs, item.ours) for item in compare(answer, other, "GET /x")]
    assert places == [
        ("header content-type", "'a'", "None"),
        (".A[]", "2", "3"),
        (".B", "'x'", "5"),
        (".C", "None", "'(missing)'"),
        (".D", "'(missing)'", "True"),
    ]
    assert [item.place for item in compare(answer, {**answer, "status": 404}, "GET /x")] == ["status 200 404 alone"]
    assert [item.place for item in compare(answer, {**answer, "body": {**body, "A": [1]}}, "GET /x")] == [".A[]"]


def test_a_transcript_says_where_it_is_wrong() -> None:
    with pytest.raises(ValueError, match=re.escape("line 3 begins no request: FETCH /x")):
        parse("## Title\n\nFETCH /x\n")
    with pytest.raises(ValueError, match="line 1 begins no request"):
        parse("GET /x\n")
    step = parse('## T\n\nPOST /x?y=1\n@ A: b\n{"C":\n 5}\n-> z = Id\n')[0]
    assert (step.name, step.operation) == ("T / 1: POST /x?y=1", "POST /x")
    assert (step.body, step.headers, step.keeps) == (b'{"C":5}', {"A": "b"}, {"z": "Id"})


def test_an_allowance_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "differences.txt"
    path.write_text("28 | GET /x | status\n")
    with pytest.raises(ValueError, match="REASON"):
        load_allowances(path)
