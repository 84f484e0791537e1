"""Filters of queries: both forms, moby's texts, labels and patterns."""

from __future__ import annotations

import pytest

from engine.errors import InvalidArgument
from engine.wire.filters import encode_filters, match_labels, match_pattern, parse_filters, single_bool

ALLOWED = ("label", "name", "dangling")


def test_lists_and_objects_of_booleans_mean_the_same() -> None:
    assert parse_filters('{"label":["a","b=c"]}', ALLOWED) == {"label": ["a", "b=c"]}
    assert parse_filters('{"label":{"a":true,"b=c":false}}', ALLOWED) == {"label": ["a", "b=c"]}
    assert parse_filters("", ALLOWED) == {}
    assert parse_filters("{}", ALLOWED) == parse_filters("null", ALLOWED) == {}


def test_what_is_encoded_is_read_again() -> None:
    filters = {"label": ["ä=ö"], "name": ["x"]}
    assert parse_filters(encode_filters(filters), ALLOWED) == filters


@pytest.mark.parametrize(
    "text", ["{", "[]", '"x"', '{"label":"a"}', '{"label":[1]}', '{"label":{"a":1}}', "[" * 5000, "\x00"]
)
def test_broken_filters_have_mobys_text(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_filters(text, ALLOWED)
    assert caught.value.message == "invalid filter"


def test_an_unknown_filter_is_named() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_filters('{"colour":["red"]}', ALLOWED)
    assert caught.value.message == "invalid filter 'colour'"


@pytest.mark.parametrize(("values", "wanted"), [(["1"], True), (["true"], True), (["0"], False), (["false"], False)])
def test_a_boolean_filter(values: list[str], wanted: bool) -> None:
    assert single_bool({"dangling": values}, "dangling") is wanted


def test_a_boolean_filter_that_is_absent_is_the_default() -> None:
    assert single_bool({}, "dangling") is None
    assert single_bool({}, "dangling", default=True) is True


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "invalid filter 'dangling'"),
        (["maybe"], "invalid filter 'dangling=[maybe]'"),
        (["true", "0"], "invalid filter 'dangling=[true 0]'"),
    ],
)
def test_a_boolean_filter_that_is_none_has_mobys_text(values: list[str], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        single_bool({"dangling": values}, "dangling")
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("wanted", "labels", "fits"),
    [
        ([], None, True),
        (["a"], None, False),
        (["a"], {"a": "1"}, True),
        (["a=1"], {"a": "1"}, True),
        (["a=2"], {"a": "1"}, False),
        (["a="], {"a": ""}, True),
        (["a="], {"a": "1"}, False),
        (["a", "b"], {"a": "1"}, False),
        (["a=x=y"], {"a": "x=y"}, True),
    ],
)
def test_labels_must_all_be_there(wanted: list[str], labels: dict[str, str] | None, fits: bool) -> None:
    assert match_labels(wanted, labels) is fits


@pytest.mark.parametrize(
    ("patterns", "value", "fits"),
    [
        (["web"], "web", True),
        (["we"], "my-web-1", True),
        (["^web$"], "my-web", False),
        (["(", "web"], "web", True),
        (["("], "web", False),
        (["("], "(", True),
    ],
)
def test_patterns_match_anywhere_and_broken_ones_only_themselves(patterns: list[str], value: str, fits: bool) -> None:
    assert match_pattern(patterns, value) is fits
