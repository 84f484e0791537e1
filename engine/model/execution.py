"""Bodies of the Exec operations (API 1.51)."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType, field

from engine.model.base import Body


class ExecCreateRequest(Body):
    """Body of ``POST /containers/{id}/exec``; console size is height, width."""

    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: list[int] | UnsetType | None = UNSET
    attach_stdin: bool = False
    attach_stderr: bool = False
    attach_stdout: bool = False
    detach_keys: str = ""
    env: list[str] | None = None
    working_dir: str = ""
    cmd: list[str] | None = None


class ExecStartRequest(Body):
    """Body of ``POST /exec/{id}/start``."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] | UnsetType | None = UNSET


class ExecProcessConfig(msgspec.Struct, kw_only=True):
    """The process of an exec."""

    tty: bool = False
    entrypoint: str = ""
    arguments: list[str] = field(default_factory=list)
    privileged: bool | UnsetType = UNSET
    user: str | UnsetType = UNSET


class ExecInspect(Body):
    """Answer of ``GET /exec/{id}/json``."""

    id: str = field(name="ID", default="")
    running: bool = False
    exit_code: int | None = None
    process_config: ExecProcessConfig = field(default_factory=ExecProcessConfig)
    open_stdin: bool = False
    open_stderr: bool = False
    open_stdout: bool = False
    can_remove: bool = False
    container_id: str = field(name="ContainerID", default="")
    detach_keys: str = ""
    pid: int = 0
