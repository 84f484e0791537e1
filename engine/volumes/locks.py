"""Locks by name, for what is done with one volume at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class NamedLocks:
    """A lock by name that exists while someone has it or waits for it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._locks: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def one(self, name: str) -> AsyncIterator[None]:
        """Have the lock of ``name`` for the length of a block.

        It is held across I/O on that one volume, which a mount, a rename or a commit bounds.
        """
        lock, users = self._locks.setdefault(name, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[name]
