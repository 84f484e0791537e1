"""Concatenated JSON objects, however the network cuts them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.jsonstream import JsonSplitter, JsonStreamError

leaves = st.none() | st.booleans() | st.integers() | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
objects = st.dictionaries(st.text(), values) | st.lists(values)


@given(st.lists(objects, max_size=5), st.sampled_from(["", "\n", "\r\n", " \t\n"]), st.integers(1, 40))
def test_objects_come_out_as_they_went_in(items: list[Any], separator: str, size: int) -> None:
    data = "".join(json.dumps(item, ensure_ascii=False) + separator for item in items).encode("utf-8", "surrogatepass")
    splitter = JsonSplitter()
    found = [value for start in range(0, len(data), size) for value in splitter.feed(data[start : start + size])]
    splitter.finish()
    assert [json.loads(value.decode("utf-8", "surrogatepass")) for value in found] == items


def test_brackets_and_escapes_in_strings_do_not_count() -> None:
    splitter = JsonSplitter()
    assert splitter.feed(b'{"a":"}{[\\"\\\\"}{"b":1}') == [b'{"a":"}{[\\"\\\\"}', b'{"b":1}']


@pytest.mark.parametrize("data", [b"hello", b"}", b'{"a":1} x', b"404 page not found"])
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(JsonStreamError):
        JsonSplitter().feed(data)


def test_an_end_in_the_middle_is_an_error() -> None:
    splitter = JsonSplitter()
    assert splitter.feed(b'{"a":') == []
    with pytest.raises(JsonStreamError, match="middle"):
        splitter.finish()
