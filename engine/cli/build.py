"""``build`` and ``builder prune``: a folder becomes an image."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.cli.build_context import LocalContext, is_archive, only_dockerfile, open_context
from engine.cli.build_memory import BuildMemory, Sent
from engine.cli.build_progress import Display, choose_display, excerpt
from engine.cli.build_request import build_query, check_flags, find_agents, read_secrets
from engine.cli.command import Command
from engine.cli.console import STDIN
from engine.cli.failures import CommandError, hint_of, sentence
from engine.cli.filters import parse_filters
from engine.cli.flags import Flag, Parsed
from engine.cli.limit_values import parse_memory_swap, parse_ulimit
from engine.cli.quantities import human_size
from engine.client.build import BuildDebug, BuildError, BuildMessage, BuildWarning, StepEvent
from engine.errors import Conflict, PortsideError
from engine.wire.references import parse_reference

if TYPE_CHECKING:
    from engine.cli.session import Session
    from engine.client import Stream

_TICK_S = 0.1
_MAX_STDIN = 512 << 20


async def run_build(session: Session, parsed: Parsed) -> int:
    """Build an image of a folder, of an archive on standard input, or of what a URL names."""
    check_flags(parsed)
    source = _Source(session, parsed)
    await source.open()
    query, repeated = build_query(parsed, source.dockerfile, source.remote)
    display = choose_display(
        session.console,
        parsed.text("progress") or session.environ.get("BUILDKIT_PROGRESS", "") or "auto",
        quiet=parsed.on("quiet"),
        explains=parsed.on("explain"),
    )
    secrets, agents = read_secrets(parsed.items("secret")), find_agents(parsed.items("ssh"))
    memory = None
    if source.local is not None and not source.local.extra:
        memory = BuildMemory(session.environ, str(session.endpoint), source.local.folder)
    result = _Result()

    def start(base: str) -> Stream[BuildMessage]:
        return session.client.build.build(
            source.blocks(),
            query,
            repeated=repeated,
            credentials=session.config.all_credentials(),
            secrets=secrets,
            agents=agents,
            context_key=memory.key if memory else "",
            context_base=base,
            mode="check" if parsed.on("check") else "debug" if parsed.on("debug") else "1",
        )

    try:
        await _show(await _opened(start, memory, source.local), display, result)
        _remember(memory, source.local, result)
    except BaseException:
        display.finish(failed=True)
        raise
    display.finish(failed=result.error is not None)
    _show_warnings(session, parsed, result)
    if result.error is not None:
        failure = _failure(result.error, source, parsed, display.steps.failed.event if display.steps.failed else None)
        if result.debug is not None:
            _enter(session, result.debug, failure)
        raise failure
    if parsed.on("check"):
        if not result.warnings:
            session.out("Check complete, no warnings found.")
        return 1 if result.warnings else 0
    _write_results(session, parsed, result)
    return 0


def _show_warnings(session: Session, parsed: Parsed, result: _Result) -> None:
    """Show what the build checks have found, each with its line."""
    if not result.warnings or (parsed.on("quiet") and not parsed.on("check")):
        return
    count = len(result.warnings)
    session.err(f"\n{count} warning{'s' if count > 1 else ''} found:")
    for item in result.warnings:
        session.err(f" - {item.rule}: {item.message} (line {item.line})")


async def _opened(
    start: Callable[[str], Stream[BuildMessage]], memory: BuildMemory | None, local: LocalContext | None
) -> Stream[BuildMessage]:
    """Return the build's stream, its context sent: what has changed, or everything when nobody remembers."""
    sent = memory.read() if memory is not None else Sent()
    if memory is not None and local is not None and sent.context:
        local.base = sent.entries
        memory.forget()
        stream = start(sent.context)
        try:
            await stream.open()
        except Conflict:
            local.base = None
        else:
            return stream
    stream = start("")
    await stream.open()
    return stream


def _remember(memory: BuildMemory | None, local: LocalContext | None, result: _Result) -> None:
    if memory is not None and local is not None and result.context:
        memory.write(Sent(result.context, local.settled()))


class _Result:
    """What a build's output says about its outcome."""

    def __init__(self) -> None:
        self.image_id = ""
        self.context = ""
        self.error: BuildError | None = None
        self.warnings: list[BuildWarning] = []
        self.debug: BuildDebug | None = None

    def take(self, message: BuildMessage) -> None:
        self.context = message.context or self.context
        self.debug = message.debug or self.debug
        if message.warning is not None:
            self.warnings.append(message.warning)
        if message.aux and isinstance(message.aux.get("ID"), str):
            self.image_id = message.aux["ID"]
        elif message.stream.startswith("sha256:"):
            self.image_id = message.stream.strip()
        if message.error or message.error_detail is not None:
            self.error = message.error_detail or BuildError(message=message.error)


async def _show(stream: Stream[BuildMessage], display: Display, result: _Result) -> None:
    async def ticking() -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            display.tick()

    ticker = asyncio.ensure_future(ticking())
    try:
        async with stream:
            async for message in stream:
                result.take(message)
                if result.error is None:
                    display.add(message)
    finally:
        ticker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticker


class _Source:
    """Where the context comes from."""

    def __init__(self, session: Session, parsed: Parsed) -> None:
        self._session = session
        self._path = parsed.args[0] if parsed.args else "."
        self._file = parsed.text("file")
        self.local: LocalContext | None = None
        self.remote = ""
        self.dockerfile = self._file
        self._stdin = b""

    async def open(self) -> None:
        """Look what the argument means; raises CommandError when it is nothing."""
        if self._path == "-":
            self._stdin = await self._read_stdin()
            if not is_archive(self._stdin):
                self.dockerfile = ""
        elif "://" in self._path or self._path.startswith(("git@", "github.com/")):
            self.remote = self._path
        else:
            stdin = await self._read_stdin() if self._file == "-" else None
            self.local = open_context(Path(self._path), self._file if stdin is None else "", stdin)
            self.dockerfile = self.local.dockerfile

    async def _read_stdin(self) -> bytes:
        if self._session.console.is_terminal(STDIN):
            raise CommandError("stdin is a terminal: nothing to build from", hint="portside build - < Dockerfile")
        data = bytearray()
        async for block in self._session.console.read_stdin():
            data += block
            if len(data) > _MAX_STDIN:
                raise CommandError("the context on standard input is larger than 512 MiB", hint="build from a folder")
        if not data:
            raise CommandError("invalid argument: can't use stdin for both build context and dockerfile: it is empty")
        return bytes(data)

    def blocks(self) -> AsyncIterator[bytes] | None:
        """Return the context's bytes, None for one that the engine fetches."""
        if self.local is not None:
            return self.local.blocks()
        if self._stdin:
            return _one(self._stdin) if is_archive(self._stdin) else only_dockerfile(self._stdin)
        return None

    @property
    def text(self) -> str:
        """The Dockerfile's text as far as it is known here."""
        if self.local is not None:
            return self.local.text
        return "" if is_archive(self._stdin) else self._stdin.decode("utf-8", "replace")


async def _one(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 20):
        yield data[start : start + (1 << 20)]


def _failure(error: BuildError, source: _Source, parsed: Parsed, step: StepEvent | None) -> CommandError:
    """Return what failed: the place in the Dockerfile, the text, the way out; exit code 1."""
    start, end = error.start_line, error.end_line
    if step is not None and not start:
        start, end = step.line, step.end_line
    shown = ""
    if start and source.text:
        shown = excerpt(source.text, parsed.text("file") or "Dockerfile", start, max(start, end))
    hint = error.hint
    if "excluded by .dockerignore" in error.message and source.local is not None:
        hint = _missing(error.message, source.local)
    return CommandError(f"{shown}ERROR: failed to build: {error.message}", 1, hint=hint)


def _enter(session: Session, debug: BuildDebug, failure: CommandError) -> None:
    """Open a shell in the state before the step that failed; without a terminal say how. Does not come back then."""
    words = ["run", "--rm", "-it", debug.image.removeprefix("sha256:")[:12], *debug.shell]
    if not (session.console.is_terminal(STDIN) and session.console.is_terminal(1)):
        session.err(f"The state before the step: portside {' '.join(words)}")
        return
    session.err(f"{failure.message}\nThis is the state before the step; exit ends it.")
    host = ["--host", str(session.endpoint)]
    os.execv(sys.executable, [sys.executable, "-m", "engine.cli", *host, *words])


def _missing(message: str, local: LocalContext) -> str:
    path = message.rpartition("stat ")[2].partition(": file does not exist")[0]
    pattern = local.why_ignored(path)
    if pattern and (local.folder / path.strip("/")).exists():
        return f"{path} is there, but .dockerignore leaves it out: {pattern}"
    import difflib

    names = [entry.name for entry in (local.folder / path.strip("/")).parent.glob("*")]
    near = difflib.get_close_matches(Path(path).name, names, n=1)
    return f"{path} is not in {local.folder}" + (f"; did you mean {near[0]}?" if near else "")


def _write_results(session: Session, parsed: Parsed, result: _Result) -> None:
    identifier = result.image_id
    try:
        if parsed.text("iidfile"):
            Path(parsed.text("iidfile")).write_text(identifier)
        if parsed.text("metadata-file"):
            metadata = {"containerimage.config.digest": identifier, "containerimage.digest": identifier}
            if parsed.items("tag"):
                metadata["image.name"] = ",".join(
                    parse_reference(name).with_default_tag().full for name in parsed.items("tag")
                )
            Path(parsed.text("metadata-file")).write_bytes(msgspec.json.format(msgspec.json.encode(metadata)))
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from error
    if parsed.on("quiet") or not session.console.is_terminal(1):
        session.out(identifier)


async def run_prune(session: Session, parsed: Parsed) -> int:
    """Delete what is in the build cache."""
    if not parsed.on("force"):
        what = "all build cache" if parsed.on("all") else "all build cache that no image uses"
        if not session.console.confirm(f"WARNING! This will remove {what}. Are you sure you want to continue?"):
            return 0
    report = await session.client.build.prune(
        every=parsed.on("all"), keep=parsed.number("keep-storage"), filters=parse_filters(parsed.items("filter"))
    )
    for name in report.caches_deleted or []:
        session.out(name)
    session.out(f"Total reclaimed space: {human_size(report.space_reclaimed)}")
    return 0


async def run_history(session: Session, parsed: Parsed) -> int:
    """List the builds of the past."""
    from engine.cli.table import columns

    rows: list[list[str]] = []
    for item in await session.client.build.records():
        name = ", ".join(item["Tags"]) or item["Dockerfile"] or "Dockerfile"
        steps = [str(item["Steps"]), str(item["CachedSteps"])]
        rows.append([item["Id"], name, item["Status"], *steps, item["Started"].partition(".")[0].rstrip("Z")])
    session.console.out(columns(("BUILD ID", "NAME", "STATUS", "STEPS", "CACHED", "STARTED"), rows))
    return 0


async def run_logs(session: Session, parsed: Parsed) -> int:
    """Show what a build of the past has written."""
    try:
        record = await session.client.build.record(parsed.args[0])
    except PortsideError as error:
        raise CommandError(sentence(error), hint=hint_of(error)) from error
    session.console.out(str(record["Log"]))
    return 0


_FLAGS = (
    Flag("add-host", kind="list", usage="Add a host name and its address (host:ip)"),
    Flag("build-arg", kind="list", usage="Set a build argument; without a value it is taken from the environment"),
    Flag("cache-from", kind="strings", usage="Take cached steps from these images alone"),
    Flag("cgroup-parent", kind="string", usage="Control group above those of the steps"),
    Flag("check", usage="Say what is probably not meant in the Dockerfile, and build nothing"),
    Flag("cpu-period", kind="int", usage="Period of the CPU quota, microseconds"),
    Flag("cpu-quota", kind="int", usage="CPU quota, microseconds"),
    Flag("cpu-shares", "c", "int", "Weight among all that want the CPU"),
    Flag("cpuset-cpus", kind="string", usage="CPUs to run on (0-3, 0,1)"),
    Flag("cpuset-mems", kind="string", usage="Memory nodes to use (0-3, 0,1)"),
    Flag("debug", usage="Open a shell in the state before a step that fails"),
    Flag("explain", usage="Say of each step why it was built anew"),
    Flag("file", "f", "string", "The Dockerfile (PATH/Dockerfile), - for standard input"),
    Flag("force-rm", usage="Always remove intermediate containers"),
    Flag("iidfile", kind="string", usage="Write the image's ID to this file"),
    Flag("label", kind="list", usage="Set labels of the image"),
    Flag("memory", "m", "bytes", "Memory limit of the steps"),
    Flag("memory-swap", kind="bytes", usage="Limit of memory and swap together, -1 for none", check=parse_memory_swap),
    Flag("metadata-file", kind="string", usage="Write what is known of the result to this file"),
    Flag("network", kind="string", usage="Network of the steps", default="default"),
    Flag("no-cache", usage="Use no cached step"),
    Flag("output", "o", "stringArray", "What is made: an image (type=docker)", is_hidden=True),
    Flag("platform", kind="string", usage="Platform of the image (linux/arm64)"),
    Flag("progress", kind="string", usage="How progress is shown: auto, plain, tty, json, quiet"),
    Flag("pull", usage="Always ask the registry for newer base images"),
    Flag("quiet", "q", usage="Print the image's ID and nothing else"),
    Flag("rm", usage="Remove intermediate containers", default=True, is_hidden=True),
    Flag("secret", kind="stringArray", usage="A secret for RUN --mount=type=secret (id=NAME,src=FILE)"),
    Flag("shm-size", kind="bytes", usage="Size of /dev/shm in the steps"),
    Flag("squash", usage="", is_hidden=True),
    Flag("ssh", kind="stringArray", usage="An SSH agent for RUN --mount=type=ssh (default or NAME=SOCKET)"),
    Flag("tag", "t", "list", "Name of the image (name:tag)"),
    Flag("target", kind="string", usage="Build this stage"),
    Flag("ulimit", kind="ulimit", usage="Resource limits of the steps", check=parse_ulimit),
)

COMMANDS = {
    "image build": Command(
        "[OPTIONS] PATH | URL | -",
        "Build an image from a Dockerfile",
        run_build,
        _FLAGS,
        min_args=1,
        max_args=1,
        aliases=("image build", "build", "builder build"),
    ),
    "builder prune": Command(
        "[OPTIONS]",
        "Remove build cache",
        run_prune,
        (
            Flag("all", "a", usage="Also what images use"),
            Flag("filter", kind="filter", usage="Only what fits (until=24h)"),
            Flag("force", "f", usage="Ask nothing"),
            Flag("keep-storage", kind="bytes", usage="Keep this much"),
        ),
        max_args=0,
    ),
    "builder history": Command("[OPTIONS]", "List the builds of the past", run_history, max_args=0),
    "builder logs": Command("BUILD", "Show what a build has written", run_logs, min_args=1, max_args=1),
}
