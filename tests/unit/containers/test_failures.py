"""The words and exit codes of programs that cannot be started, from what crun 1.8.1 and runc 1.1 really say."""

from __future__ import annotations

import pytest

from engine.containers.failures import exit_code_of, start_error
from engine.errors import Internal, InvalidArgument

CREATE = "failed to create task for container: failed to create shim task: OCI runtime create failed: "


@pytest.mark.parametrize(
    ("said", "program", "told", "code"),
    [
        ("executable file `nofile` not found in $PATH: No such file or directory", "nofile",
         'unable to start container process: exec: "nofile": executable file not found in $PATH', 127),
        ("executable file `/nofile` not found in $PATH: No such file or directory", "/nofile",
         'unable to start container process: exec: "/nofile": stat /nofile: no such file or directory', 127),
        ("open executable: Permission denied", "/noexec",
         'unable to start container process: exec: "/noexec": permission denied', 126),
        ("open executable: Operation not permitted", "/bin",
         'unable to start container process: exec: "/bin": permission denied', 126),
        ('runc create failed: unable to start container process: exec: "x": executable file not found in $PATH', "x",
         'unable to start container process: exec: "x": executable file not found in $PATH', 127),
    ],
)  # fmt: skip
def test_a_runtimes_words_become_dockers(said: str, program: str, told: str, code: int) -> None:
    error = start_error(said, program)
    assert error.message == f"{CREATE}{told}: unknown"
    assert exit_code_of(error.message) == code
    assert isinstance(error, InvalidArgument)


def test_any_other_failure_is_internal() -> None:
    error = start_error("set up cgroups: device busy", "sh")
    assert isinstance(error, Internal)
    assert exit_code_of(error.message) == 128
