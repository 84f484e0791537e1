"""Why a program could not be started: exit codes and the words that Docker's clients look for."""

from __future__ import annotations

import re

from engine.errors import Internal, InvalidArgument, PortsideError

EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
EXIT_UNKNOWN = 128
EXIT_LOST = 255
"""The exit code of a container whose end nobody saw."""

_CREATE_FAILED = "failed to create task for container: failed to create shim task: OCI runtime create failed"
_EXEC_FAILED = "OCI runtime exec failed: exec failed"


def exit_code_of(message: str) -> int:
    """Return the exit code that Docker gives a container whose program could not be started."""
    text = message.lower()
    if "permission denied" in text or "is a directory" in text:
        return EXIT_NOT_EXECUTABLE
    if "executable file not found" in text or "no such file or directory" in text or "not a directory" in text:
        return EXIT_NOT_FOUND
    return EXIT_UNKNOWN


def start_error(message: str, program: str) -> PortsideError:
    """Return the error for what a runtime said of a container whose first word is ``program``."""
    return _error(f"{_CREATE_FAILED}: {_reason(message, program)}: unknown")


def exec_error(message: str, program: str) -> PortsideError:
    """Return the error for what a runtime said of an exec."""
    return _error(f"{_EXEC_FAILED}: {_reason(message, program)}: unknown")


def _error(text: str) -> PortsideError:
    # The docker CLI takes its exit codes 126 and 127 from these words.
    return Internal(text) if exit_code_of(text) == EXIT_UNKNOWN else InvalidArgument(text)


def _reason(message: str, program: str) -> str:
    """Return a runtime's message in runc's words, which Docker shows."""
    text = message.removeprefix("runc create failed: ")
    start = "unable to start container process: "
    if re.search(r"executable file [`'\"].*not found", text):
        if "/" in program:
            return f'{start}exec: "{program}": stat {program}: no such file or directory'
        return f'{start}exec: "{program}": executable file not found in $PATH'
    if re.match(r"open executable: (Permission denied|Operation not permitted)", text):
        return f'{start}exec: "{program}": permission denied'
    return text
