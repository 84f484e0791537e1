"""What a search refuses before it asks anybody."""

from __future__ import annotations

import pytest

from engine.errors import InvalidArgument
from engine.registry.hosts import RegistrySettings
from engine.registry.search import search


@pytest.mark.parametrize(
    ("term", "limit", "filters", "message"),
    [
        ("x", 101, {}, "limit 101 is outside the range of [1, 100]"),
        ("x", -1, {}, "limit -1 is outside the range of [1, 100]"),
        ("https://a.example/x", 0, {}, "invalid repository name: repository name (https://a.example/x) should not"),
        ("x", 0, {"stars": ["3", "many"]}, "invalid filter 'stars=many'"),
        ("x", 0, {"is-official": ["perhaps"]}, "invalid filter 'is-official=[perhaps]'"),
        ("x", 0, {"is-automated": ["true", "false"]}, "invalid filter 'is-automated=[true false]'"),
    ],
)
async def test_what_cannot_be_searched(term: str, limit: int, filters: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await search(RegistrySettings(), term, limit, filters, None)
    assert caught.value.message.startswith(message)


async def test_nothing_is_automated_any_more() -> None:
    assert await search(RegistrySettings(), "x", 0, {"is-automated": ["true"]}, None) == []
