"""From lines to instructions and stages, with every check that needs nothing but the Dockerfile.

Source: BuildKit's frontend/dockerfile/instructions; its error texts are used as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from engine.build.dockerfile.errors import DockerfileError, suggest
from engine.build.dockerfile.flags import Flags, Kinds
from engine.build.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Health,
    Healthcheck,
    InlineFile,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    Stage,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from engine.build.dockerfile.lines import INSTRUCTIONS, Heredoc, Line, Notice, chomp, parse_heredoc, read_lines
from engine.build.dockerfile.mounts import check_mount
from engine.build.dockerfile.words import go_quote
from engine.errors import InvalidArgument
from engine.wire.times import parse_duration

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_ONBUILD = re.compile(r"\A\s*ONBUILD\s*", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?\d{1,10}", re.ASCII)
_MILLISECOND_NS = 1_000_000
_MAX_INT32 = 2**31


@dataclass
class Dockerfile:
    """A Dockerfile that was read. ``arguments`` are the ARGs before the first FROM."""

    stages: list[Stage] = field(default_factory=list)
    arguments: list[Arg] = field(default_factory=list)
    escape: str = "\\"
    directives: dict[str, str] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)


def parse_dockerfile(text: str, name: str = "") -> Dockerfile:
    """Read a Dockerfile; raises DockerfileError with a line and BuildKit's text, and ``name`` where moby names it."""
    try:
        read = read_lines(text)
    except DockerfileError as error:
        if not name:
            raise
        raise DockerfileError(f"failed to parse {name}: {error.message}", error.start_line, error.end_line) from error
    found = Dockerfile(escape=read.escape, directives=read.directives, notices=read.warnings)
    for line in read.lines:
        try:
            item = parse_line(line)
        except DockerfileError as error:
            message = f"dockerfile parse error on line {line.start_line}: {error.message}"
            raise DockerfileError(message, line.start_line, line.end_line) from error
        if isinstance(item, Arg) and not found.stages:
            found.arguments.append(item)
        elif isinstance(item, Stage):
            found.stages.append(item)
        elif found.stages:
            found.stages[-1].instructions.append(item)
        else:
            raise DockerfileError("no build stage in current context", line.start_line, line.end_line)
    return found


def parse_trigger(text: str) -> Instruction:
    """Read the instruction that an ONBUILD kept; raises DockerfileError."""
    lines = read_lines(text).lines
    if len(lines) != 1:
        raise DockerfileError("onbuild trigger should be a single expression")
    item = parse_line(lines[0])
    if isinstance(item, Stage):
        raise DockerfileError("FROM isn't allowed as an ONBUILD trigger")
    return replace(item, start_line=0, end_line=0)


def parse_line(line: Line) -> Instruction:
    """Return the instruction of a line; raises DockerfileError, without the line's number."""
    parser = _PARSERS.get(line.keyword.lower())
    if parser is None:
        near = suggest(line.keyword, INSTRUCTIONS, fold=True)
        raise DockerfileError(f"unknown instruction: {line.keyword}{near}")
    item = parser(line)
    return replace(
        item, keyword=line.keyword, code=line.original.strip(), start_line=line.start_line, end_line=line.end_line
    )


def _no_flags(line: Line) -> None:
    Flags(line.flags, {})


def _pairs(line: Line, keyword: str) -> list[tuple[str, str]]:
    _no_flags(line)
    words = line.arguments
    if not words:
        raise DockerfileError(f"{keyword} requires at least one argument")
    if not all(words[::3]):
        raise DockerfileError(f"{keyword} names can not be blank")
    return list(zip(words[::3], words[1::3], strict=True))


def _one(line: Line, keyword: str) -> str:
    if len(line.arguments) != 1:
        raise DockerfileError(f"{keyword} requires exactly one argument")
    _no_flags(line)
    return line.arguments[0]


def _some(line: Line, keyword: str) -> list[str]:
    if not line.arguments:
        raise DockerfileError(f"{keyword} requires at least one argument")
    _no_flags(line)
    return line.arguments


def _from(line: Line) -> Stage:
    words = line.arguments
    name = ""
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if _STAGE_NAME.fullmatch(name) is None:
            reason = "name can't start with a number or contain symbols"
            raise DockerfileError(f"invalid name for build stage: {go_quote(words[2])}, {reason}")
    elif len(words) != 1:
        raise DockerfileError("FROM requires either one or three arguments")
    flags = Flags(line.flags, {"platform": "string"})
    return Stage(base=words[0], name=name, platform=flags.text("platform"))


def _arg(line: Line) -> Arg:
    if not line.arguments:
        raise DockerfileError("ARG requires at least one argument")
    pairs: list[tuple[str, str | None]] = []
    for word in line.arguments:
        name, equals, value = word.partition("=")
        if equals and not name:
            raise DockerfileError("ARG names can not be blank")
        pairs.append((name, value if equals else None))
    return Arg(pairs=pairs)


def _run(line: Line) -> Run:
    flags = Flags(line.flags, {"mount": "strings", "network": "string", "security": "string", "device": "strings"})
    if flags.items("device"):
        raise DockerfileError("--device of RUN is not supported by Portside")
    for value in flags.items("mount"):
        check_mount(value)
    network, security = flags.text("network", "default"), flags.text("security", "sandbox")
    if network not in ("default", "none", "host"):
        raise DockerfileError(f"invalid network mode {go_quote(network)}")
    if security not in ("insecure", "sandbox"):
        raise DockerfileError(f"security {go_quote(security)} is not valid")
    files = [
        InlineFile(name=item.name, data=item.content, expand=item.expand, chomp=item.chomp) for item in line.heredocs
    ]
    return Run(
        words=line.arguments,
        is_shell=not line.is_json,
        files=files,
        mounts=flags.items("mount"),
        network=network,
        security=security,
    )


def _cmd(line: Line) -> Cmd:
    _no_flags(line)
    return Cmd(words=line.arguments, is_shell=not line.is_json)


def _entrypoint(line: Line) -> Entrypoint:
    _no_flags(line)
    return Entrypoint(words=line.arguments, is_shell=not line.is_json)


def _shell(line: Line) -> Shell:
    words = _some(line, "SHELL")
    if not line.is_json:
        raise DockerfileError("SHELL requires the arguments to be in JSON form")
    return Shell(words=words)


_TRANSFER: Kinds = {"chown": "string", "chmod": "string", "link": "bool", "exclude": "strings"}


def _places(line: Line, keyword: str) -> tuple[list[str], list[InlineFile], str]:
    """Return the sources, the files within the Dockerfile and the destination of COPY or ADD."""
    *words, destination = line.arguments
    if _heredoc(destination) is not None:
        raise DockerfileError(f"{keyword} cannot accept a heredoc as a destination")
    documents = {item.name: item for item in line.heredocs}
    sources: list[str] = []
    files: list[InlineFile] = []
    for word in words:
        heredoc = None if line.is_json else _heredoc(word)
        if heredoc is None:
            sources.append(word)
            continue
        content = documents[heredoc.name].content if heredoc.name in documents else ""
        data = chomp(content) if heredoc.chomp else content
        files.append(InlineFile(name=heredoc.name, data=data, expand=heredoc.expand))
    return sources, files, destination


def _heredoc(word: str) -> Heredoc | None:
    try:
        return parse_heredoc(word)
    except DockerfileError:  # a quote that does not end: then it is a path like any other
        return None


def _check_destination(line: Line, keyword: str) -> None:
    if len(line.arguments) < 2:
        reason = "requires at least two arguments, but only one was provided. Destination could not be determined"
        raise DockerfileError(f"{keyword} {reason}")


def _copy(line: Line) -> Copy:
    _check_destination(line, "COPY")
    flags = Flags(line.flags, {**_TRANSFER, "from": "string", "parents": "bool"})
    sources, files, destination = _places(line, "COPY")
    return Copy(
        sources=sources,
        files=files,
        destination=destination,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.on("link"),
        excludes=flags.items("exclude"),
        origin=flags.text("from"),
        parents=flags.on("parents"),
    )


def _add(line: Line) -> Add:
    _check_destination(line, "ADD")
    kinds = {**_TRANSFER, "keep-git-dir": "bool", "checksum": "string", "unpack": "bool"}
    flags = Flags(line.flags, kinds)
    sources, files, destination = _places(line, "ADD")
    return Add(
        sources=sources,
        files=files,
        destination=destination,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.on("link"),
        excludes=flags.items("exclude"),
        checksum=flags.text("checksum"),
        unpack=flags.maybe("unpack"),
        keep_git_dir=flags.maybe("keep-git-dir"),
    )


def _onbuild(line: Line) -> OnBuild:
    if not line.arguments:
        raise DockerfileError("ONBUILD requires at least one argument")
    _no_flags(line)
    trigger = line.arguments[0].strip().upper()
    if trigger == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise DockerfileError(f"{trigger} isn't allowed as an ONBUILD trigger")
    text = _ONBUILD.sub("", line.original)
    for item in line.heredocs:
        text += f"\n{item.content}{item.name}"
    return OnBuild(value=text)


def _volume(line: Line) -> Volume:
    places = [word.strip() for word in _some(line, "VOLUME")]
    if not all(places):
        raise DockerfileError("VOLUME specified can not be an empty string")
    return Volume(places=places)


def _stop_signal(line: Line) -> StopSignal:
    if len(line.arguments) != 1:
        raise DockerfileError("STOPSIGNAL requires exactly one argument")
    return StopSignal(value=line.arguments[0])


_HEALTH = ("interval", "timeout", "start-period", "start-interval", "retries")


def _healthcheck(line: Line) -> Healthcheck:
    if not line.arguments:
        raise DockerfileError("HEALTHCHECK requires at least one argument")
    kind, words = line.arguments[0].upper(), line.arguments[1:]
    if kind == "NONE":
        if words:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(health=Health(test=["NONE"]))
    flags = Flags(line.flags, dict.fromkeys(_HEALTH, "string"))
    if kind != "CMD":
        raise DockerfileError(f"Unknown type {go_quote(kind)} in HEALTHCHECK (try CMD)")
    if not words:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    return Healthcheck(
        health=Health(
            test=["CMD" if line.is_json else "CMD-SHELL", *words],
            interval=_interval(flags, "interval"),
            timeout=_interval(flags, "timeout"),
            start_period=_interval(flags, "start-period"),
            start_interval=_interval(flags, "start-interval"),
            retries=_retries(flags.text("retries")),
        )
    )


def _interval(flags: Flags, name: str) -> int:
    text = flags.text(name)
    if not text:
        return 0
    try:
        duration = parse_duration(text)
    except (InvalidArgument, OverflowError) as error:
        raise DockerfileError(f'time: invalid duration "{text}"') from error
    if duration and duration < _MILLISECOND_NS:
        raise DockerfileError(f'Interval "{name}" cannot be less than 1ms')
    return duration


def _retries(text: str) -> int:
    if not text:
        return 0
    if _INTEGER.fullmatch(text) is None:
        raise DockerfileError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    number = int(text)
    if not -_MAX_INT32 <= number < _MAX_INT32:
        raise DockerfileError(f'strconv.ParseInt: parsing "{text}": value out of range')
    if number < 0:
        raise DockerfileError(f"--retries cannot be negative ({number})")
    return number


_PARSERS: dict[str, Callable[[Line], Instruction]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": lambda line: Env(pairs=_pairs(line, "ENV")),
    "expose": lambda line: Expose(ports=sorted(_some(line, "EXPOSE"))),
    "from": _from,
    "healthcheck": _healthcheck,
    "label": lambda line: Label(pairs=_pairs(line, "LABEL")),
    "maintainer": lambda line: Maintainer(value=_one(line, "MAINTAINER")),
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stop_signal,
    "user": lambda line: User(value=_one(line, "USER")),
    "volume": _volume,
    "workdir": lambda line: Workdir(value=_one(line, "WORKDIR")),
}
