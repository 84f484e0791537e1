"""Exec operations: a further process in a running container."""

from __future__ import annotations

from engine.client.connection import EngineConnection
from engine.client.streams import HijackedStream
from engine.model.container import IdResponse
from engine.model.execution import ExecCreateRequest, ExecInspect, ExecStartRequest


class ExecApi:
    """Execs (``client.exec``)."""

    def __init__(self, connection: EngineConnection) -> None:
        """Made by ``EngineClient``."""
        self._connection = connection

    async def create(self, container_ref: str, request: ExecCreateRequest) -> str:
        """Prepare a process and return the exec's ID (ContainerExec); raises Conflict when nothing runs."""
        return (await self._connection.post(f"/containers/{container_ref}/exec", IdResponse, None, request)).id

    async def start(
        self, exec_id: str, *, is_tty: bool = False, console_size: tuple[int, int] | None = None
    ) -> HijackedStream:
        """Start a process and connect to it (ExecStart); ``console_size`` is (height, width)."""
        body = ExecStartRequest(detach=False, tty=is_tty)
        if console_size is not None:
            body.console_size = list(console_size)
        return await self._connection.hijack(f"/exec/{exec_id}/start", None, body, is_tty=is_tty)

    async def start_detached(
        self, exec_id: str, *, is_tty: bool = False, console_size: tuple[int, int] | None = None
    ) -> None:
        """Start a process and leave it alone (ExecStart with Detach)."""
        body = ExecStartRequest(detach=True, tty=is_tty)
        if console_size is not None:
            body.console_size = list(console_size)
        await self._connection.call("POST", f"/exec/{exec_id}/start", None, body)

    async def resize(self, exec_id: str, *, height: int, width: int) -> None:
        """Tell the process's terminal its size in characters (ExecResize)."""
        await self._connection.call("POST", f"/exec/{exec_id}/resize", {"h": height, "w": width})

    async def inspect(self, exec_id: str) -> ExecInspect:
        """Return state and exit code (ExecInspect)."""
        return await self._connection.get(f"/exec/{exec_id}/json", ExecInspect)
