"""What the detail of a container reads of an engine. Without Qt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class Logs(Protocol):
    """Logs and configuration of containers."""

    def logs(self, container_id: str, *, timestamps: bool) -> AsyncIterator[tuple[bytes, bool]]:
        """Yield what a container wrote and whether to stderr, from the last lines on, and go on following."""

    async def inspect(self, container_id: str) -> bytes:
        """Return the configuration as JSON."""
