"""The build checks: what is allowed in a Dockerfile and probably not meant. Without I/O.

Rules and texts are those of Docker (BuildKit's frontend/dockerfile/linter). What needs the base image to be known
(UndefinedVar, InvalidBaseImagePlatform) is not checked here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from engine.build.dockerfile import instructions as ins
from engine.build.dockerfile.arguments import PLATFORMS, BuildArguments, platform_arguments
from engine.build.dockerfile.errors import DockerfileError, suggest
from engine.build.dockerfile.lines import INSTRUCTIONS, Line, Notice, read_lines
from engine.build.dockerfile.parse import Dockerfile
from engine.build.dockerfile.words import Lexer, go_quote
from engine.errors import InvalidArgument
from engine.wire.dockerignore import IgnoreRules
from engine.wire.references import parse_reference

_RESERVED = ("context", "scratch")
_ONCE = ("CMD", "ENTRYPOINT", "HEALTHCHECK")
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


@dataclass
class CheckOptions:
    """The directive ``check``: rules that are skipped, and whether what is found is an error."""

    skipped: list[str] = field(default_factory=list)
    skips_all: bool = False
    is_error: bool = False


def parse_options(text: str) -> CheckOptions:
    """Read the directive's value; raises DockerfileError with BuildKit's texts."""
    options = CheckOptions()
    for part in text.strip().split(";", 2) if text.strip() else ():
        name, equals, value = part.partition("=")
        name, value = name.strip(), value.strip()
        if not equals:
            raise DockerfileError(f'invalid check option "{part}"', 1, 1)
        if name == "skip":
            options.skips_all = value == "all"
            options.skipped = [rule.strip() for rule in value.split(",")]
        elif name == "error":
            if value not in _TRUE + _FALSE:
                raise DockerfileError(f'failed to parse check option "{part}"', 1, 1)
            options.is_error = value in _TRUE
        elif name != "experimental":
            raise DockerfileError(f'invalid check option "{name}"', 1, 1)
    return options


def check(text: str, dockerfile: Dockerfile, ignored: Sequence[str] = ()) -> list[Notice]:
    """Return what the rules find, by line; ``ignored`` are the patterns of .dockerignore.

    Raises DockerfileError when the Dockerfile says that a finding is an error.
    """
    options = parse_options(dockerfile.directives.get("check", ""))
    if options.skips_all:
        return []
    lines = read_lines(text).lines
    found = [Notice(item.rule, "Empty continuation line", item.line) for item in dockerfile.notices]
    found += _of_lines(lines)
    found += _of_arguments(dockerfile)
    found += _of_stages(dockerfile)
    for stage in dockerfile.stages:
        found += _of_stage(stage, ignored)
    found = sorted((item for item in found if item.rule not in options.skipped), key=lambda item: item.line)
    if found and options.is_error:
        rules = ", ".join(dict.fromkeys(item.rule for item in found))
        raise DockerfileError(f"lint violation found for rules: {rules}", found[0].line, found[0].line)
    return found


def _of_lines(lines: Sequence[Line]) -> Iterator[Notice]:
    keywords = [line.keyword for line in lines if line.keyword.lower() in INSTRUCTIONS]
    small = sum(word == word.lower() for word in keywords)
    majority = "lowercase" if small > len(keywords) - small else "uppercase"
    for line in lines:
        word, at = line.keyword, line.start_line
        expected = word.lower() if majority == "lowercase" else word.upper()
        if word != expected:
            message = f"Command '{word}' should match the case of the command majority ({majority})"
            yield Notice("ConsistentInstructionCasing", message, at)
        name = word.lower()
        if name == "maintainer":
            message = "Maintainer instruction is deprecated in favor of using label"
            yield Notice("MaintainerDeprecated", message, at)
        elif name == "from" and len(line.arguments) == 3:
            yield from _of_from(line)
        elif name in ("cmd", "entrypoint") and not line.is_json and line.arguments:
            message = (
                f"JSON arguments recommended for {name.upper()} to prevent unintended behavior related to OS signals"
            )
            yield Notice("JSONArgsRecommended", message, at)
        elif name in ("env", "label") and line.arguments and not line.arguments[2]:
            key = name.upper()
            message = f'"{key} key=value" should be used instead of legacy "{key} key value" format'
            yield Notice("LegacyKeyValueFormat", message, at)
        elif name == "expose":
            yield from _of_expose(line)


def _of_from(line: Line) -> Iterator[Notice]:
    word, (_, keyword, name) = line.keyword, line.arguments
    if name != name.lower():
        yield Notice("StageNameCasing", f"Stage name '{name}' should be lowercase", line.start_line)
    is_small, is_large = word == word.lower(), word == word.upper()
    if (is_small and keyword != keyword.lower()) or (not is_small and is_large and keyword != keyword.upper()):
        yield Notice("FromAsCasing", f"'{keyword}' and '{word}' keywords' casing do not match", line.start_line)


def _of_expose(line: Line) -> Iterator[Notice]:
    for port in line.arguments:
        protocol = port.partition("/")[2]
        if protocol != protocol.lower():
            message = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
            yield Notice("ExposeProtoCasing", message, line.start_line)
        if ":" in port and "$" not in port:
            message = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
            yield Notice("ExposeInvalidFormat", message, line.start_line)


def _of_arguments(dockerfile: Dockerfile) -> Iterator[Notice]:
    for item in dockerfile.arguments:
        yield from _of_secrets("ARG", [name for name, _ in item.pairs], item.start_line)


def _of_secrets(instruction: str, names: Sequence[str], line: int) -> Iterator[Notice]:
    for name in names:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            message = f"Do not use ARG or ENV instructions for sensitive data ({instruction} {go_quote(name)})"
            yield Notice("SecretsUsedInArgOrEnv", message, line)


def _of_stages(dockerfile: Dockerfile) -> Iterator[Notice]:
    arguments = BuildArguments({}, platform_arguments("linux", "amd64"))
    lexer = Lexer(escape=dockerfile.escape)
    for item in dockerfile.arguments:
        for name, default in item.pairs:
            arguments.declare_global(name, default)
    known = [*arguments.globals, *PLATFORMS]
    seen: set[str] = set()
    for stage in dockerfile.stages:
        line = stage.start_line
        if stage.name in _RESERVED:
            message = f"Stage name should not use the same name as reserved stage {go_quote(stage.name)}"
            yield Notice("ReservedStageName", message, line)
        if stage.name and stage.name in seen:
            message = f"Duplicate stage name {go_quote(stage.name)}, stage names should be unique"
            yield Notice("DuplicateStageName", message, line)
        seen |= {stage.name} - {""}
        yield from _of_platform(stage)
        unset: set[str] = set()
        try:
            base = lexer.expand(stage.base, arguments.global_values(), unset)
        except DockerfileError:
            continue  # told when it is built
        undeclared = unset - set(arguments.globals)
        for name in sorted(undeclared):
            message = f"FROM argument '{name}' is not declared{suggest(name, known)}"
            yield Notice("UndefinedArgInFrom", message, line)
        if "$" in stage.base and not undeclared and base not in seen and not _is_reference(base):
            message = f"Default value for ARG {stage.base} results in empty or invalid base image name"
            yield Notice("InvalidDefaultArgInFrom", message, line)


def _is_reference(name: str) -> bool:
    try:
        parse_reference(name)
    except InvalidArgument:
        return False
    return True


def _of_platform(stage: ins.Stage) -> Iterator[Notice]:
    if stage.platform in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
        message = (
            f"Setting platform to predefined {stage.platform} in FROM is redundant as this is the default behavior"
        )
        yield Notice("RedundantTargetPlatform", message, stage.start_line)
    elif stage.platform and "$" not in stage.platform and stage.name not in stage.platform.split("/"):
        message = f"FROM --platform flag should not use constant value {go_quote(stage.platform)}"
        yield Notice("FromPlatformFlagConstDisallowed", message, stage.start_line)


def _of_stage(stage: ins.Stage, ignored: Sequence[str]) -> Iterator[Notice]:
    last: dict[str, int] = {}
    has_workdir = False
    rules = IgnoreRules(ignored) if ignored and not any(item.startswith("!") for item in ignored) else None
    for item in stage.instructions:
        keyword, line = item.keyword.upper(), item.start_line
        if keyword in _ONCE:
            if keyword in last:
                message = (
                    f"Multiple {keyword} instructions should not be used in the same stage because only the last one "
                    "will be used"
                )
                yield Notice("MultipleInstructionsDisallowed", message, last[keyword])
            last[keyword] = line
        if isinstance(item, ins.Workdir):
            if not has_workdir and not item.value.startswith(("/", "$")):
                message = (
                    f"Relative workdir {go_quote(item.value)} can have unexpected results if the base image changes"
                )
                yield Notice("WorkdirRelativePath", message, line)
            has_workdir = has_workdir or item.value.startswith("/")
        elif isinstance(item, ins.Env):
            yield from _of_secrets("ENV", [name for name, _ in item.pairs], line)
        elif isinstance(item, ins.Arg):
            yield from _of_secrets("ARG", [name for name, _ in item.pairs], line)
        elif isinstance(item, ins.Transfer) and rules is not None and not getattr(item, "origin", ""):
            for source in item.sources:
                path = posixpath.normpath(source.lstrip("/"))
                if "://" not in source and "$" not in source and rules.ignores(path):
                    what = f"{keyword.capitalize()} file {go_quote(source)}"
                    message = f"Attempting to {what} that is excluded by .dockerignore"
                    yield Notice("CopyIgnoredFile", message, line)
