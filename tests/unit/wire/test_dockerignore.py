"""Which files a .dockerignore leaves out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InvalidArgument
from engine.wire.dockerignore import IgnoreRules, read_patterns


@pytest.mark.parametrize(
    ("patterns", "path", "ignored"),
    [
        (["*.md"], "a.md", True),
        (["*.md"], "d/a.md", False),
        (["**/*.md"], "d/e/a.md", True),
        (["**/*.md"], "a.md", True),
        (["**"], "a/b", True),
        (["a"], "a/b/c", True),
        (["a/b"], "a/c", False),
        (["a/**"], "a/b/c", True),
        (["a/**/z"], "a/z", True),
        (["a/**/z"], "a/b/c/z", True),
        (["a/**/z"], "az", False),
        (["*/temp*"], "x/tempfile", True),
        (["*/*/temp*"], "x/y/temp", True),
        (["temp?"], "tempa", True),
        (["temp?"], "temp", False),
        (["temp?"], "temp/", False),
        (["*", "!keep"], "keep", False),
        (["*", "!keep"], "other", True),
        (["*.md", "!README*.md", "README-secret.md"], "README-secret.md", True),
        (["*.md", "README-secret.md", "!README*.md"], "README-secret.md", False),
        (["a", "!a/b"], "a/b", False),
        (["a", "!a/b"], "a/b/c", False),
        (["a", "!a/b"], "a/c", True),
        (["[a-c].txt"], "b.txt", True),
        (["[^a-c].txt"], "b.txt", False),
        (["a[!]b"], "a!b", True),
        (["\\*"], "*", True),
        (["\\*"], "x", False),
        (["./a"], "a", True),
        (["a/"], "a/b", True),
        (["a/../b"], "b", True),
        (["foo**"], "foo/bar", True),
        (["**foo"], "barfoo", True),
        (["**/foo"], "foo", True),
        (["a.b"], "axb", False),
        (["ü*"], "über", True),
        (["*a*b*c*d*"], "1a2b3c4d5", True),
        (["*a*b*c*d*"], "1a2b3c/4d5", False),
        (["**/a/**/b/**/c/**/d"], "x/a/b/y/c/d", True),
        (["**/a/**/b/**/c/**/d"], "x/a/b/y/cd", False),
    ],
)
def test_rules(patterns: list[str], path: str, ignored: bool) -> None:
    """The last pattern that fits decides; folders count for what is in them."""
    assert IgnoreRules(patterns).ignores(path) is ignored


def test_reading() -> None:
    """Comments and spaces go, paths are cleaned."""
    text = "\ufeff# comment\n\n  a/./b  \n! c\n/d\n #e\n"
    assert read_patterns(text) == ["a/b", "!c", "d", "#e"]


@pytest.mark.parametrize("pattern", ["!", "[", "[]", "a\\"])
def test_broken_patterns(pattern: str) -> None:
    """They are refused, with a text."""
    with pytest.raises(InvalidArgument):
        IgnoreRules([pattern])


def test_why_and_skipping() -> None:
    """The pattern that hid a file can be named; a folder is walked when something in it is excepted."""
    rules = IgnoreRules(["*.log", "node_modules", "build", "!build/keep"])
    assert rules.why("a.log") == "*.log"
    assert rules.why("node_modules/x/y") == "node_modules"
    assert rules.why("src") == ""
    assert rules.may_skip("node_modules")
    assert not rules.may_skip("build")
    assert not rules.may_skip("src")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["*", "**", "/", "?", "a", "b", "**/"]), min_size=1, max_size=12).map("".join),
    st.lists(st.sampled_from(["a", "b", "/"]), max_size=14).map("".join),
)
def test_both_ways_of_matching_agree(pattern: str, path: str) -> None:
    """The expression of few stars and the simulation of many mean the same."""
    from engine.wire import dockerignore

    path = "/".join(part for part in path.split("/") if part)
    tokens = dockerignore._tokens(pattern)
    import re

    expected = re.compile(dockerignore._expression(tokens), re.DOTALL).fullmatch(path) is not None
    assert dockerignore._simulate(tokens, path) is expected


def test_many_stars_take_little_time() -> None:
    """A pattern that could be tried in endless ways is not."""
    assert not IgnoreRules(["*a" * 60 + "b"]).ignores("a" * 250 + "c")
