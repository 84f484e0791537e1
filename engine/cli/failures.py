"""How a command ends badly: what is printed and the exit code.

Docker's words where Docker has them (``Error response from daemon: …``), then the way out on a line of its own.
"""

from __future__ import annotations

from engine.errors import PortsideError

PROGRAM = "portside"
DAEMON_ERROR_CODE = 125


class CommandError(Exception):
    """A command that failed: ``message`` goes to standard error as it is, unless it is empty."""

    def __init__(self, message: str, code: int = 1, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint


def sentence(error: PortsideError) -> str:
    """Return an error as Docker words it: what the engine answered has a prefix, what never got there has none."""
    from engine.client.failures import is_response  # help and wrong flags do without the client

    return f"Error response from daemon: {error.message}" if is_response(error) else error.message


def hint_of(error: PortsideError) -> str:
    """Return the way out: the error's own, or one for what the engine's message says."""
    if error.hint:
        return error.hint
    message = error.message
    for part, hint in _HINTS:
        if part in message:
            return hint
    return ""


_HINTS = (
    ("is already in use by container", "remove or rename that container, or choose another --name"),
    ("port is already allocated", "stop what holds the port, or publish another with -p"),
    ("address already in use", "stop what holds the port, or publish another with -p"),
    ("cannot remove container", "stop it first, or use rm -f"),
    ("cannot remove a running container", "stop it first, or use rm -f"),
    ("pull access denied", "check the image's name, or log in with portside login"),
    (
        "no space left on device",
        "portside system df shows what Portside uses, portside system prune frees it",
    ),
)


def with_help(message: str, command: str) -> str:
    """Return an error of ``run`` or ``create`` with Docker's pointer to its help."""
    return f"{PROGRAM}: {message}\n\nRun '{PROGRAM} {command} --help' for more information"


def start_failure(error: PortsideError, command: str) -> CommandError:
    """Return a failed create or start as Docker ends: 127 not found, 126 not executable, else 125."""
    message = error.message
    code = DAEMON_ERROR_CODE
    not_found = ("executable file not found", "no such file or directory", "system cannot find the file specified")
    if any(part in message for part in not_found):
        code = 127
    elif "permission denied" in message or "is a directory" in message:
        code = 126
    return CommandError(with_help(sentence(error), command), code, hint=hint_of(error))


def join_errors(errors: list[PortsideError]) -> CommandError:
    """Return several errors as one, each on its line, each different hint once."""
    hints = dict.fromkeys(hint for error in errors if (hint := hint_of(error)))
    return CommandError("\n".join(sentence(error) for error in errors), 1, hint="\n".join(hints))
