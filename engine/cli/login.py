"""``login`` and ``logout``.

A password comes from standard input or the terminal; ``--password`` works as in Docker and is warned of, since
other users see it in the list of processes. No error or message of ours has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.cli.command import Command
from engine.cli.configfile import hostname_of
from engine.cli.console import STDIN
from engine.cli.failures import CommandError
from engine.cli.flags import Flag, Parsed
from engine.cli.references import DOCKER_HUB_KEY
from engine.errors import PortsideError, Unauthorized
from engine.model.system import AuthConfig

if TYPE_CHECKING:
    from engine.cli.session import Session


def _server_of(parsed: Parsed) -> str:
    """Return the key of the registry that is meant: Docker Hub's address, or a host and port."""
    if not parsed.args or parsed.args[0] == "docker.io":
        return DOCKER_HUB_KEY
    return parsed.args[0] if parsed.args[0] == DOCKER_HUB_KEY else hostname_of(parsed.args[0])


def _check_flags(parsed: Parsed) -> None:
    if parsed.is_set("password-stdin"):
        if parsed.is_set("password"):
            raise CommandError("conflicting options: cannot specify both --password and --password-stdin")
        if not parsed.is_set("username"):
            raise CommandError("the --password-stdin option requires --username to be set")
    for name in ("username", "password"):
        if parsed.is_set(name) and not parsed.text(name):
            raise CommandError(f"{name} is empty")


async def run_login(session: Session, parsed: Parsed) -> int:
    """Try credentials at their registry, through the engine, and keep them."""
    _check_flags(parsed)
    user, password = parsed.text("username").strip(), parsed.text("password")
    if password:
        session.err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if parsed.on("password-stdin"):
        data = b"".join([chunk async for chunk in session.console.read_stdin()])
        password = data.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
    server = _server_of(parsed)
    stored: AuthConfig | None = None
    if not user and not password:
        stored = session.config.credentials(server)
        if stored is not None and stored.username and stored.password:
            status = await _login_again(session, stored)
            if status:
                session.out(status)
                return 0
    if (not user or not password) and not session.console.is_terminal(STDIN):
        raise CommandError(
            "Error: Cannot perform an interactive login from a non TTY device",
            hint="portside login -u USER --password-stdin < FILE",
        )
    credentials = _ask(session, user, password, stored.username if stored is not None else "", server)
    session.out(await _try_and_store(session, credentials))
    return 0


def _ask(session: Session, user: str, password: str, known_user: str, server: str) -> AuthConfig:
    """Ask for what is missing."""
    if not user:
        user = (
            session.console.prompt(f"Username ({known_user}): " if known_user else "Username: ").strip() or known_user
        )
        if not user:
            raise CommandError("Error: Non-null Username Required")
    if not password:
        password = session.console.prompt("Password: ", is_secret=True)
        if not password:
            raise CommandError("Error: Password Required")
    return AuthConfig(username=user, password=password, serveraddress=server)


async def _login_again(session: Session, stored: AuthConfig) -> str:
    """Try stored credentials; returns what the registry said, empty when they do not work any more."""
    session.err(f"Authenticating with existing credentials... [Username: {stored.username}]")
    try:
        return await _try_and_store(session, stored)
    except Unauthorized:
        session.err("Stored credentials invalid or expired")
    except PortsideError as error:
        session.err(f"Login did not succeed, error: {error.message}")
    return ""


async def _try_and_store(session: Session, credentials: AuthConfig) -> str:
    answer = await session.client.system.auth(credentials)
    if isinstance(answer.identity_token, str) and answer.identity_token:
        credentials.password, credentials.identitytoken = "", answer.identity_token
    if session.config.store(credentials):
        session.err(f"\nWARNING! Your credentials are stored unencrypted in '{session.config.path}'.")
        session.err("Configure a credential helper (credsStore in that file) to remove this warning.\n")
    return answer.status or "Login Succeeded"


async def run_logout(session: Session, parsed: Parsed) -> int:
    """Forget credentials, under every spelling of the registry's address."""
    server = _server_of(parsed)
    session.out(f"Removing login credentials for {server}")
    spellings = [server]
    if server != DOCKER_HUB_KEY:
        spellings += [f"http://{server}", f"https://{server}"]
        if parsed.args[0] not in spellings:
            spellings.append(parsed.args[0])
    failures: dict[str, str] = {}
    for spelling in spellings:
        try:
            session.config.erase(spelling)
        except CommandError as error:
            failures[spelling] = error.message
    if len(failures) == len(spellings):
        session.err("WARNING: could not erase credentials:")
        for spelling, message in failures.items():
            session.err(f"{spelling}: {message}")
    return 0


COMMANDS = {
    "login": Command(
        "[OPTIONS] [SERVER]",
        "Log in to a registry, Docker Hub when none is named",
        run_login,
        (
            Flag("password", "p", "string", "Password or access token; others may see it, use --password-stdin"),
            Flag("password-stdin", usage="Take the password or access token from standard input"),
            Flag("username", "u", "string", "User name"),
        ),
        max_args=1,
    ),
    "logout": Command("[SERVER]", "Log out from a registry, Docker Hub when none is named", run_logout, max_args=1),
}
