"""The build checks: each rule on what it is for, and nothing on a Dockerfile without fault."""

from __future__ import annotations

import pytest

from engine.build.dockerfile.checks import check, parse_options
from engine.build.dockerfile.errors import DockerfileError
from engine.build.dockerfile.parse import parse_dockerfile


def found(text: str, ignored: tuple[str, ...] = ()) -> list[tuple[str, int]]:
    """Return the rules that a Dockerfile breaks, with the lines."""
    return [(item.rule, item.line) for item in check(text, parse_dockerfile(text), ignored)]


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        ("FROM a AS Big", "StageNameCasing", 1),
        ("FROM a as b", "FromAsCasing", 1),
        ("FROM a\nRUN x \\\n\n y", "NoEmptyContinuation", 4),
        ("FROM a\nrun x\nRUN y", "ConsistentInstructionCasing", 2),
        ("FROM a AS x\nFROM b AS x", "DuplicateStageName", 2),
        ("FROM a AS context", "ReservedStageName", 1),
        ("FROM a\nCMD x y", "JSONArgsRecommended", 2),
        ("FROM a\nMAINTAINER me", "MaintainerDeprecated", 2),
        ("ARG VERSION=1\nFROM a:${VERSON}", "UndefinedArgInFrom", 2),
        ("FROM a\nWORKDIR b", "WorkdirRelativePath", 2),
        ('FROM a\nCMD ["x"]\nCMD ["y"]', "MultipleInstructionsDisallowed", 2),
        ("FROM a\nENV A b", "LegacyKeyValueFormat", 2),
        ("FROM --platform=$TARGETPLATFORM a", "RedundantTargetPlatform", 1),
        ("FROM --platform=linux/amd64 a", "FromPlatformFlagConstDisallowed", 1),
        ("FROM a\nENV AWS_SECRET_KEY=x", "SecretsUsedInArgOrEnv", 2),
        ("ARG B\nFROM ${B}", "InvalidDefaultArgInFrom", 2),
        ("FROM a\nEXPOSE 80/TCP", "ExposeProtoCasing", 2),
        ("FROM a\nEXPOSE 80:80", "ExposeInvalidFormat", 2),
    ],
)
def test_rules(text: str, rule: str, line: int) -> None:
    """One fault each."""
    assert found(text) == [(rule, line)]


def test_copied_files_that_are_ignored() -> None:
    """A source that .dockerignore leaves out is named, unless an exception makes that hard to say."""
    text = "FROM a\nCOPY node_modules/x /x\nCOPY src /src\n"
    assert found(text, ("node_modules",)) == [("CopyIgnoredFile", 2)]
    assert found(text, ("node_modules", "!node_modules/x")) == []


def test_without_fault() -> None:
    """Nothing is found where nothing is wrong."""
    text = (
        "ARG V=1\nFROM a:$V AS build\nWORKDIR /src\nWORKDIR sub\nENV PUBLIC_KEY=x\nCOPY . .\nRUN make\n"
        'FROM scratch\nCOPY --from=build /src/x /x\nEXPOSE 80/tcp\nENTRYPOINT ["/x"]\nCMD ["y"]\n'
    )
    assert found(text) == []


def test_the_directive() -> None:
    """Rules can be skipped, and be errors."""
    assert found("# check=skip=JSONArgsRecommended\nFROM a\nCMD x") == []
    assert found("# check=skip=all\nFROM a\nCMD x") == []
    with pytest.raises(DockerfileError, match="lint violation found for rules: JSONArgsRecommended"):
        found("# check=error=true\nFROM a\nCMD x")
    for text in ("nothing", "error=maybe", "other=1"):
        with pytest.raises(DockerfileError):
            parse_options(text)
