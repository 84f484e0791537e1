"""What the detail of a container reads of an engine. Without Qt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Shell(Protocol):
    """A shell that runs in a container, on a terminal of its own."""

    async def read(self) -> bytes:
        """Return what it wrote next, ``b""`` when it has ended."""

    async def write(self, data: bytes) -> None:
        """Type."""

    async def resize(self, rows: int, columns: int) -> None:
        """Give its terminal another size."""

    async def exit_code(self) -> int | None:
        """Return its exit code, None as long as it is not known."""

    async def aclose(self) -> None:
        """Leave it: its terminal hangs up."""


class Logs(Protocol):
    """Logs, configuration, figures and processes of containers."""

    def logs(self, container_id: str, *, timestamps: bool) -> AsyncIterator[tuple[bytes, bool]]:
        """Yield what a container wrote and whether to stderr, from the last lines on, and go on following."""

    async def inspect(self, container_id: str) -> bytes:
        """Return the configuration as JSON."""

    def stats(self, container_id: str) -> AbstractAsyncContextManager[AsyncIterator[dict[str, Any]]]:
        """Open the stream of a container's figures, one object a second."""

    async def top(self, container_id: str) -> tuple[list[str], list[list[str]]]:
        """Return the columns and rows of what runs in a container."""

    async def shell(self, container_id: str, rows: int, columns: int) -> Shell:
        """Start the best shell that a container has; raises a PortsideError when it has none or does not run."""
