"""What a build needs from its neighbours: the narrow interfaces, declared by their consumer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from engine.model.system import AuthConfig
from engine.wire.references import Reference

Progress = Callable[[dict[str, Any]], Awaitable[None]]


class Pulls(Protocol):
    """Brings images that are not here (engine/images/pull.py)."""

    async def pull(
        self, reference: Reference, platform: str, credentials: AuthConfig | None, progress: Progress
    ) -> None:
        """Pull one reference; ``progress`` gets Docker's JSON messages. Raises NotFound, Unavailable and so on."""
