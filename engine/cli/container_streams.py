"""``start``, ``attach``, ``exec`` and ``logs``: commands that show what a container writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.cli.attach_pump import check_terminal, follow_size, forward_signals, pump
from engine.cli.command import Command
from engine.cli.console import STDERR, STDOUT
from engine.cli.container_run import exit_code
from engine.cli.create_request import read_variables
from engine.cli.detach_keys import Detached
from engine.cli.failures import CommandError, join_errors
from engine.cli.flags import Flag, Parsed
from engine.cli.network_values import check_env
from engine.cli.quantities import format_timestamp
from engine.client import HijackedStream
from engine.errors import PortsideError, Unavailable
from engine.model.execution import ExecCreateRequest
from engine.model.inspect import ContainerInspect

if TYPE_CHECKING:
    from engine.cli.session import Session

DETACHED_TEXT = "read escape sequence"
LOST_ENGINE_CODE = 255


async def _joined(
    session: Session, stream: HijackedStream, ref: str, *, is_tty: bool, wants_input: bool, keys: str
) -> None:
    """Join the console to a container until its output ends; the size of its terminal follows ours."""

    async def resize(height: int, width: int) -> None:
        await session.client.containers.resize(ref, height=height, width=width)

    async with follow_size(session.console, resize, is_wanted=is_tty):
        await pump(session.console, stream, is_tty=is_tty, wants_input=wants_input, detach_keys=keys)


async def run_start(session: Session, parsed: Parsed) -> int:
    """Start containers; with ``-a`` or ``-i`` one of them, joined to the console."""
    for flag in ("checkpoint", "checkpoint-dir"):
        if parsed.text(flag):
            raise CommandError(f"--{flag} is not supported")
    if parsed.on("attach") or parsed.on("interactive"):
        if len(parsed.args) > 1:
            raise CommandError("you cannot start and attach multiple containers at once")
        return await _start_attached(session, parsed)
    failed: list[str] = []
    for ref in parsed.args:
        try:
            await session.client.containers.start(ref)
            session.out(ref)
        except PortsideError as error:
            report = join_errors([error])
            session.err(report.message + (f"\nHint: {report.hint}" if report.hint else ""))
            failed.append(ref)
    if failed:
        raise CommandError(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


async def _start_attached(session: Session, parsed: Parsed) -> int:
    containers = session.client.containers
    container = await containers.inspect(parsed.args[0])
    is_tty = container.config.tty
    wants_input = parsed.on("interactive") and container.config.open_stdin
    keys = parsed.text("detach-keys") or session.config.text("detachKeys")

    async def send_signal(name: str) -> None:
        await containers.kill(container.id, signal=name)

    async with (
        forward_signals(send_signal, is_wanted=not is_tty, is_tty=is_tty),
        await containers.attach(container.id, stdin=wants_input, detach_keys=keys, is_tty=is_tty) as stream,
    ):
        condition = "removed" if container.host_config.auto_remove else "next-exit"
        wait = await containers.start_wait(container.id, condition=condition)
        try:
            await containers.start(container.id)
            await _joined(session, stream, container.id, is_tty=is_tty, wants_input=wants_input, keys=keys)
            return await exit_code(session, wait)
        except Detached:
            return 0
        finally:
            wait.close()


def _check_running(container: ContainerInspect) -> None:
    """Raise CommandError with Docker's text for a container that cannot be attached to."""
    state = container.state
    if not state.running:
        raise CommandError("You cannot attach to a stopped container, start it first")
    if state.paused:
        raise CommandError("You cannot attach to a paused container, unpause it first")
    if state.restarting:
        raise CommandError("You cannot attach to a restarting container, wait until it is running")


async def run_attach(session: Session, parsed: Parsed) -> int:
    """Join the console to a running container; returns its exit code."""
    containers = session.client.containers
    ref = parsed.args[0]
    container = await containers.inspect(ref)
    _check_running(container)
    is_tty = container.config.tty
    check_terminal(session.console, wants_input=not parsed.on("no-stdin"), is_tty=is_tty)
    wants_input = not parsed.on("no-stdin") and container.config.open_stdin
    keys = parsed.text("detach-keys") or session.config.text("detachKeys")

    async def send_signal(name: str) -> None:
        await containers.kill(container.id, signal=name)

    wait = await containers.start_wait(container.id)
    try:
        async with (
            forward_signals(send_signal, is_wanted=parsed.on("sig-proxy") and not is_tty, is_tty=is_tty),
            await containers.attach(container.id, stdin=wants_input, detach_keys=keys, is_tty=is_tty) as stream,
        ):
            # It may have stopped between the two: attaching would then wait for ever.
            _check_running(await containers.inspect(ref))
            if is_tty and session.console.is_terminal(STDOUT):
                height, width = session.console.size()
                # A change of size is what makes a shell draw its prompt again.
                await containers.resize(container.id, height=height + 1, width=width + 1)
            await _joined(session, stream, container.id, is_tty=is_tty, wants_input=wants_input, keys=keys)
            return await exit_code(session, wait)
    except Detached:
        raise CommandError(DETACHED_TEXT) from None
    finally:
        wait.close()


async def run_exec(session: Session, parsed: Parsed) -> int:
    """Run a command in a running container; returns its exit code."""
    ref, is_tty, is_detached = parsed.args[0], parsed.on("tty"), parsed.on("detach")
    try:
        variables = read_variables(parsed.items("env-file"), parsed.items("env"), session.environ)
    except ValueError as error:
        raise CommandError(str(error)) from error
    keys = parsed.text("detach-keys") or session.config.text("detachKeys")
    request = ExecCreateRequest(
        user=parsed.text("user"),
        privileged=parsed.on("privileged"),
        tty=is_tty,
        attach_stdin=parsed.on("interactive") and not is_detached,
        attach_stdout=not is_detached,
        attach_stderr=not is_detached,
        detach_keys=keys,
        env=variables or None,
        working_dir=parsed.text("workdir"),
        cmd=parsed.args[1:],
    )
    await session.client.containers.inspect_raw(ref)  # that there is none is said before anything about terminals
    if not is_detached:
        check_terminal(session.console, wants_input=request.attach_stdin, is_tty=is_tty)
    size = session.console.size() if is_tty else None
    if size is not None and any(size):
        request.console_size = list(size)
    exec_id = await session.client.exec.create(ref, request)
    if is_detached:
        await session.client.exec.start_detached(exec_id, is_tty=is_tty, console_size=size)
        return 0

    async def resize(height: int, width: int) -> None:
        await session.client.exec.resize(exec_id, height=height, width=width)

    try:
        async with (
            await session.client.exec.start(exec_id, is_tty=is_tty, console_size=size) as stream,
            follow_size(session.console, resize, is_wanted=is_tty and request.attach_stdin),
        ):
            await pump(session.console, stream, is_tty=is_tty, wants_input=request.attach_stdin, detach_keys=keys)
    except Detached:
        raise CommandError(DETACHED_TEXT) from None
    try:
        return (await session.client.exec.inspect(exec_id)).exit_code or 0
    except Unavailable:
        return LOST_ENGINE_CODE


async def run_logs(session: Session, parsed: Parsed) -> int:
    """Show what a container has written."""
    containers = session.client.containers
    container = await containers.inspect(parsed.args[0])
    try:
        since = format_timestamp(parsed.text("since")) if parsed.text("since") else ""
        until = format_timestamp(parsed.text("until")) if parsed.text("until") else ""
    except ValueError as error:
        flag = "since" if parsed.text("since") else "until"
        raise CommandError(f'invalid value for "{flag}": {error}') from error
    stream = containers.logs(
        container.id,
        follow=parsed.on("follow"),
        since=since,
        until=until,
        timestamps=parsed.on("timestamps"),
        tail=parsed.text("tail"),
        details=parsed.on("details"),
        is_tty=container.config.tty,
    )
    async with stream:
        async for output in stream:
            await session.console.write_async(STDERR if output.stream == "stderr" else STDOUT, output.data)
    return 0


_DETACH_KEYS = Flag("detach-keys", kind="string", usage="Keys that leave the container's terminal")

COMMANDS = {
    "container attach": Command(
        "[OPTIONS] CONTAINER",
        "Connect to a running container's input and output",
        run_attach,
        (
            _DETACH_KEYS,
            Flag("no-stdin", usage="Do not connect STDIN"),
            Flag("sig-proxy", usage="Send the signals that this command gets to the process", default=True),
        ),
        min_args=1,
        max_args=1,
        aliases=("container attach", "attach"),
        completes="container",
    ),
    "container exec": Command(
        "[OPTIONS] CONTAINER COMMAND [ARG...]",
        "Run a command in a running container",
        run_exec,
        (
            Flag("detach", "d", usage="Run the command in the background"),
            _DETACH_KEYS,
            Flag("env", "e", "list", "Set environment variables", check=check_env),
            Flag("env-file", kind="list", usage="Read environment variables from a file"),
            Flag("interactive", "i", usage="Keep STDIN open even if not attached"),
            Flag("privileged", usage="Give the command every privilege"),
            Flag("tty", "t", usage="Give the command a terminal"),
            Flag("user", "u", "string", "User, and group: name or ID (user[:group])"),
            Flag("workdir", "w", "string", "Working directory"),
        ),
        min_args=2,
        interspersed=False,
        aliases=("container exec", "exec"),
        completes="container",
    ),
    "container logs": Command(
        "[OPTIONS] CONTAINER",
        "Show what a container has written",
        run_logs,
        (
            Flag("details", usage="Show the details that were given to the log"),
            Flag("follow", "f", usage="Go on as the container writes"),
            Flag("since", kind="string", usage="Only from this time on (2013-01-02T13:23:37Z, or 42m ago)"),
            Flag("tail", "n", "string", "Number of lines from the end", default="all"),
            Flag("timestamps", "t", usage="Show the time of each line"),
            Flag("until", kind="string", usage="Only up to this time (2013-01-02T13:23:37Z, or 42m ago)"),
        ),
        min_args=1,
        max_args=1,
        aliases=("container logs", "logs"),
        completes="container",
    ),
    "container start": Command(
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Start stopped containers",
        run_start,
        (
            Flag("attach", "a", usage="Show the output and forward signals"),
            Flag("checkpoint", kind="string", is_hidden=True),
            Flag("checkpoint-dir", kind="string", is_hidden=True),
            _DETACH_KEYS,
            Flag("interactive", "i", usage="Connect STDIN"),
        ),
        min_args=1,
        aliases=("container start", "start"),
        completes="container",
    ),
}
