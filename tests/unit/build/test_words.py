"""Words of a Dockerfile: quotes, escapes, variables with their modifiers."""

from __future__ import annotations

import pytest

from engine.build.dockerfile.errors import DockerfileError
from engine.build.dockerfile.words import MAX_WORD, Lexer, go_quote

_VARIABLES = {"A": "hello", "E": "", "P": "/usr/local/lib.tar.gz", "S": "a b", "N1": "x", "ü": "umlaut"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$A", "hello"),
        ("${A}", "hello"),
        ("he$A", "hehello"),
        ("'$A'", "$A"),
        ('"$A"', "hello"),
        ('"\\$A"', "$A"),
        ("\\$A", "$A"),
        ("$A.txt", "hello.txt"),
        ("$U", ""),
        ("${U}x", "x"),
        ("$", "$"),
        ("a$", "a$"),
        ("$ü", "umlaut"),
        ("${U:-x}", "x"),
        ("${E:-x}", "x"),
        ("${E-x}", ""),
        ("${U-x}", "x"),
        ("${A:-x}", "hello"),
        ("${A:+x}", "x"),
        ("${E:+x}", ""),
        ("${E+x}", "x"),
        ("${U+x}", ""),
        ("${U:-$A}", "hello"),
        ("${U:-${A}}", "hello"),
        ("${U:-'a}b'}", "a}b"),
        ("${A:?gone}", "hello"),
        ("${A?gone}", "hello"),
        ("${P#*/}", "usr/local/lib.tar.gz"),
        ("${P##*/}", "lib.tar.gz"),
        ("${P%.*}", "/usr/local/lib.tar"),
        ("${P%%.*}", "/usr/local/lib"),
        ("${A#h?}", "llo"),
        ("${A%l?}", "hel"),
        ("${A##*}", ""),
        ("${A/l/L}", "heLlo"),
        ("${A//l/L}", "heLLo"),
        ("${A/l*/X}", "heX"),
        ("${A//?/x}", "xxxxx"),
        ("${A/zz/x}", "hello"),
        ("${P//\\//-}", "-usr-local-lib.tar.gz"),
        ("a\\", "a"),
        ("a<b", "a<b"),
        ("$1", ""),
        ('"it\'s"', "it's"),
        ("'a\"b'", 'a"b'),
        ('"a\\b"', "a\\b"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    """Variables and quotes are read as a shell reads them."""
    assert Lexer().expand(text, _VARIABLES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b  c", ["a", "b", "c"]),
        ("'a b' c", ["a b", "c"]),
        ("$S c", ["a", "b", "c"]),
        ('"$S" c', ["a b", "c"]),
        ("a\\ b c", ["a b", "c"]),
        ("", []),
        ("<< EOF x", ["<< EOF", "x"]),
    ],
)
def test_splitting(text: str, expected: list[str]) -> None:
    """Spaces part words unless they are quoted."""
    assert Lexer().split(text, _VARIABLES) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
        ("${", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${:x}", "syntax error: bad substitution"),
        ("${A:-x", "syntax error: missing '}'"),
        ("${A^}", "unsupported modifier (^) in substitution"),
        ("${A:#x}", "unsupported modifier (:#) in substitution"),
        ("${U?}", "U: is not allowed to be unset"),
        ("${U:?no value}", "U: no value"),
        ("${E:?}", "E: is not allowed to be empty"),
        ("${A/x}", "syntax error: missing '/' in ${}"),
        ("${A#\\x}", "invalid pattern (\\x) in substitution: invalid escape '\\x'"),
    ],
)
def test_errors(text: str, reason: str) -> None:
    """What is wrong is told in BuildKit's words."""
    with pytest.raises(DockerfileError) as caught:
        Lexer().expand(text, _VARIABLES)
    assert caught.value.message == f"failed to process {go_quote(text)}: {reason}"


def test_another_escape_character() -> None:
    """With a backtick as escape a backslash is a character like any other."""
    assert Lexer(escape="`").expand("C:\\dir\\$A `$A", _VARIABLES) == "C:\\dir\\hello $A"


def test_unset_names_are_told() -> None:
    """Who asks learns which names had no value."""
    unset: set[str] = set()
    Lexer().expand("$A $U ${V:-x}", _VARIABLES, unset)
    assert unset == {"U", "V"}


def test_unset_variables_can_stay() -> None:
    """A heredoc's words are read before there are variables."""
    assert Lexer(keep_unset=True).expand("$U ${U:-x} ${U/a/b} $A", _VARIABLES) == "$U ${U:-x} ${U/a/b} hello"


def test_nothing_grows_without_bound() -> None:
    """An expansion that would eat the memory is an error, and so is endless nesting."""
    with pytest.raises(DockerfileError, match="longer than"):
        Lexer().expand("$X" * 200, {"X": "x" * (MAX_WORD // 100)})
    with pytest.raises(DockerfileError, match="nested too deeply"):
        Lexer().expand("${a:-" * 5000, {})
    with pytest.raises(DockerfileError, match="longer than"):
        Lexer().expand("${X//x/" + "y" * 1000 + "}", {"X": "x" * 10000})
