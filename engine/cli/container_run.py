"""``run`` and ``create``.

``run`` is create, attach, wait, start in that order, so that neither output nor exit of a quick process is missed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from engine.cli.attach_pump import beside, check_terminal, follow_size, forward_signals, pump
from engine.cli.command import Command
from engine.cli.console import STDERR
from engine.cli.create_flags import CONTAINER_FLAGS
from engine.cli.create_request import build_request
from engine.cli.detach_keys import Detached
from engine.cli.failures import DAEMON_ERROR_CODE, CommandError, start_failure, with_help
from engine.cli.flags import Flag, Parsed
from engine.cli.progress import ProgressDisplay
from engine.cli.references import registry_key
from engine.client import HijackedStream
from engine.client.connection import parse_version
from engine.errors import InvalidArgument, NotFound, PortsideError
from engine.model.container import ContainerCreateRequest, HostConfig
from engine.wire.references import Reference, parse_reference

if TYPE_CHECKING:
    from engine.cli.session import Session
    from engine.client.containers import Wait

SINCE = {
    "annotation": (1, 43),
    "cgroupns": (1, 41),
    "gpus": (1, 40),
    "health-start-interval": (1, 44),
    "health-start-period": (1, 29),
    "platform": (1, 32),
}
"""The API version from which an engine knows a flag: an older one would ignore it."""
WINDOWS_ONLY = ("cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops")
ENDPOINT_MAC_SINCE = (1, 44)
PULL_CHOICES = ("always", "missing", "never", "")


def _request(session: Session, parsed: Parsed, word: str) -> ContainerCreateRequest:
    """Return the request of a command line; raises CommandError with Docker's text and exit code 125."""
    if parsed.on("use-api-socket"):
        raise CommandError(with_help("--use-api-socket is not supported", word), DAEMON_ERROR_CODE)
    if not parsed.on("disable-content-trust"):
        raise CommandError(with_help("--disable-content-trust=false is not supported", word), DAEMON_ERROR_CODE)
    if parsed.text("pull") not in PULL_CHOICES:
        choices = '"always", "missing" or "never"'
        text = f"invalid pull option: '{parsed.text('pull')}': must be one of {choices}"
        raise CommandError(with_help(text, word), DAEMON_ERROR_CODE)
    try:
        return build_request(parsed, session.environ, session.config.proxy_environment(str(session.endpoint)))
    except ValueError as error:
        raise CommandError(with_help(str(error), word), DAEMON_ERROR_CODE) from error


async def pull_quietly_or_not(session: Session, reference: Reference, platform: str, *, is_quiet: bool) -> None:
    """Pull an image with the stored credentials; progress goes to standard error, the ID alone to output."""
    credentials = session.config.credentials(registry_key(reference))
    tag = reference.digest or reference.tag or "latest"
    stream = session.client.images.pull(reference.familiar_name, tag=tag, platform=platform, credentials=credentials)
    if is_quiet:
        async with stream:
            async for _ in stream:
                pass
        return
    await ProgressDisplay(session.console, STDERR).show(stream)


async def create_container(session: Session, request: ContainerCreateRequest, parsed: Parsed) -> str:
    """Create a container, its image pulled when it must be, and return its ID; warnings go to standard error."""
    id_file = _reserve_id_file(parsed.text("cidfile"))
    try:
        identifier = await _create(session, request, parsed)
    except BaseException:
        if id_file is not None:
            id_file.unlink(missing_ok=True)
        raise
    if id_file is not None:
        id_file.write_text(identifier)
    return identifier


async def _check_version(session: Session, request: ContainerCreateRequest, parsed: Parsed) -> None:
    """Raise CommandError with Docker's text for flags that the engine is too old for."""
    spoken = await session.client.negotiate()
    version = parse_version(spoken) or ENDPOINT_MAC_SINCE
    problems = [
        f'"--{flag}" requires API version {needed[0]}.{needed[1]}, but the Docker daemon API version is {spoken}'
        for flag, needed in SINCE.items()
        if parsed.is_set(flag) and version < needed
    ]
    problems += [
        f'"--{flag}" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux'
        for flag in WINDOWS_ONLY
        if parsed.is_set(flag)
    ]
    if problems:
        raise CommandError("\n".join(problems))
    if version >= ENDPOINT_MAC_SINCE:
        request.mac_address = UNSET  # it is in the endpoint


async def _create(session: Session, request: ContainerCreateRequest, parsed: Parsed) -> str:
    await _check_version(session, request, parsed)
    try:
        reference = parse_reference(request.image)
    except InvalidArgument as error:
        reference = None
        if len(request.image) != 64:
            raise CommandError(str(error)) from error
    platform = parsed.text("platform") or session.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    is_quiet = parsed.on("quiet")
    if parsed.text("pull") == "always" and reference is not None:
        await pull_quietly_or_not(session, reference, platform, is_quiet=is_quiet)
    if isinstance(request.host_config, HostConfig):
        request.host_config.console_size = list(session.console.size())
    containers = session.client.containers
    try:
        answer = await containers.create(request, name=parsed.text("name"), platform=platform)
    except NotFound:
        if reference is None or parsed.text("pull") not in ("missing", ""):
            raise
        if not is_quiet:
            session.err(f"Unable to find image '{reference.with_default_tag().familiar}' locally")
        await pull_quietly_or_not(session, reference, platform, is_quiet=is_quiet)
        answer = await containers.create(request, name=parsed.text("name"), platform=platform)
    for warning in [*answer.warnings, *_dns_warnings(request)]:
        session.err(f"WARNING: {warning}")
    return answer.id


def _dns_warnings(request: ContainerCreateRequest) -> list[str]:
    servers = request.host_config.dns if isinstance(request.host_config, HostConfig) else None
    local = next((server for server in servers or () if server.startswith("127.") or server == "::1"), "")
    return [f"Localhost DNS ({local}) may fail in containers."] if local else []


def _reserve_id_file(path: str) -> Path | None:
    if not path:
        return None
    file = Path(path)
    try:
        file.open("x").close()
    except FileExistsError as error:
        text = f"container ID file found, make sure the other container isn't running or delete {path}"
        raise CommandError(text) from error
    except OSError as error:
        text = f"failed to create the container ID file: open {path}: {(error.strerror or '').lower()}"
        raise CommandError(text) from error
    return file


async def run_create(session: Session, parsed: Parsed) -> int:
    """Create a container and print its ID."""
    request = _request(session, parsed, "create")
    session.out(await create_container(session, request, parsed))
    return 0


async def run_run(session: Session, parsed: Parsed) -> int:
    """Run a container; returns its exit code."""
    request = _request(session, parsed, "run")
    if parsed.on("detach"):
        if parsed.items("attach"):
            raise CommandError("conflicting options: cannot specify both --attach and --detach")
        request.attach_stdin = request.attach_stdout = request.attach_stderr = request.stdin_once = False
    else:
        check_terminal(session.console, wants_input=request.attach_stdin, is_tty=request.tty)
    try:
        identifier = await create_container(session, request, parsed)
    except PortsideError as error:
        raise start_failure(error, "run") from error
    except CommandError as error:
        raise CommandError(with_help(error.message, "run"), DAEMON_ERROR_CODE, hint=error.hint) from error
    if not (request.attach_stdin or request.attach_stdout or request.attach_stderr):
        return await _run_detached(session, identifier, is_removed=parsed.on("rm"))

    async def send_signal(name: str) -> None:
        await session.client.containers.kill(identifier, signal=name)

    async with forward_signals(send_signal, is_wanted=parsed.on("sig-proxy"), is_tty=request.tty):
        return await _run_attached(session, identifier, request, parsed)


async def _run_detached(session: Session, identifier: str, *, is_removed: bool) -> int:
    containers = session.client.containers
    wait = await containers.start_wait(identifier, condition="removed") if is_removed else None
    try:
        session.out(identifier)
        await containers.start(identifier)
    except PortsideError as error:
        if wait is not None:
            with contextlib.suppress(PortsideError):
                await wait.result()
        raise start_failure(error, "run") from error
    finally:
        if wait is not None:
            wait.close()
    return 0


async def _run_attached(session: Session, identifier: str, request: ContainerCreateRequest, parsed: Parsed) -> int:
    containers = session.client.containers
    keys = parsed.text("detach-keys") or session.config.text("detachKeys")
    stream = await containers.attach(
        identifier,
        stdin=request.attach_stdin,
        stdout=request.attach_stdout,
        stderr=request.attach_stderr,
        detach_keys=keys,
        is_tty=request.tty,
    )
    async with stream:
        condition = "removed" if parsed.on("rm") else "next-exit"
        wait = await containers.start_wait(identifier, condition=condition)
        try:
            await containers.start(identifier)
        except PortsideError as error:
            if parsed.on("rm"):
                # The engine removes it; do not return before it is gone.
                with contextlib.suppress(PortsideError):
                    await wait.result()
            wait.close()
            raise start_failure(error, "run") from error
        try:
            return await _attend(session, stream, identifier, request, wait, keys)
        finally:
            wait.close()


async def _attend(
    session: Session, stream: HijackedStream, identifier: str, request: ContainerCreateRequest, wait: Wait, keys: str
) -> int:
    """Pump until the output ends and return the exit code, 0 when the user detached."""

    async def resize(height: int, width: int) -> None:
        await session.client.containers.resize(identifier, height=height, width=width)

    shows = request.attach_stdout or request.attach_stderr
    joined = pump(
        session.console,
        stream,
        is_tty=request.tty,
        wants_input=request.attach_stdin,
        detach_keys=keys,
        shows_stdout=request.attach_stdout,
        shows_stderr=request.attach_stderr,
    )
    code = 0
    try:
        async with follow_size(session.console, resize, is_wanted=request.tty):
            if shows:
                await joined
                code = await exit_code(session, wait)
            else:
                code = await _input_only(session, joined, wait)
    except Detached:
        pass  # the container goes on; leaving it is a success
    return code


async def _input_only(session: Session, joined: Coroutine[None, None, None], wait: Wait) -> int:
    """Feed a container whose output nobody sees until it exits."""
    async with beside(joined):
        return await exit_code(session, wait)


async def exit_code(session: Session, wait: Wait) -> int:
    """Return the exit code that a wait gives, 125 when the wait fails."""
    try:
        answer = await wait.result()
    except PortsideError as error:
        session.err(f"error waiting for container: {error.message}")
        return DAEMON_ERROR_CODE
    error_text = getattr(answer.error, "message", None)
    if isinstance(error_text, str) and error_text:
        session.err(f"Error waiting for container: {error_text}")
        return DAEMON_ERROR_CODE
    return answer.status_code


COMMANDS = {
    "container create": Command(
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Make a container without starting it",
        run_create,
        CONTAINER_FLAGS,
        min_args=1,
        interspersed=False,
        aliases=("container create", "create"),
        completes="image",
    ),
    "container run": Command(
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Make a container from an image and start it",
        run_run,
        (
            *CONTAINER_FLAGS,
            Flag("detach", "d", usage="Run in the background and print the container's ID"),
            Flag("detach-keys", kind="string", usage="Keys that leave the container's terminal"),
            Flag("sig-proxy", usage="Send the signals that this command gets to the process", default=True),
        ),
        min_args=1,
        interspersed=False,
        aliases=("container run", "run"),
        completes="image",
    ),
}
