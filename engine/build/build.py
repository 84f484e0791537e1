"""What one build shares between its stages: options, context, cache, output, results of stages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from engine.build.cache import BuildCache, CacheRecord, Committer
from engine.build.context import Context
from engine.build.dockerfile.arguments import EPOCH, BuildArguments
from engine.build.dockerfile.parse import Dockerfile
from engine.build.options import BuildOptions
from engine.build.output import BuildOutput
from engine.build.runner import StepRunner
from engine.build.state import State
from engine.build.workspace import Workspace
from engine.errors import Internal
from engine.images.changeset import Changesets
from engine.images.layers import LayerRecord
from engine.model.record import MountRecord


class StepError(Internal):
    """A command of a step that failed; ``code`` is its exit code."""

    def __init__(self, message: str, code: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class StepRecord(msgspec.Struct):
    """What became of one step, for the build's record. Times are nanoseconds since 1970."""

    number: int
    text: str
    line: int = 0
    cached: bool = False
    started_ns: int = 0
    ended_ns: int = 0
    image_id: str = ""
    error: str = ""
    why: str = ""


@dataclass
class Shared:
    """What the builds of an engine share: steps that are being made by key, and how many may run at once."""

    running: dict[str, asyncio.Future[CacheRecord | None]] = field(default_factory=dict)
    commands: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(32))
    copies: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    locked_mounts: dict[str, asyncio.Lock] = field(default_factory=dict)
    mounts_in_use: dict[str, int] = field(default_factory=dict)


@dataclass
class Build:
    """One build. ``resolve`` returns the state that an image is, pulling it when it is not here."""

    options: BuildOptions
    dockerfile: Dockerfile
    arguments: BuildArguments
    context: Context
    workspace: Workspace
    output: BuildOutput
    cache: BuildCache
    committer: Committer
    changesets: Changesets
    runner: StepRunner
    shared: Shared
    resolve: Callable[[str, str, Callable[[dict[str, Any]], Awaitable[None]]], Awaitable[State]]
    stage: Callable[[int], Awaitable[State]]
    sources: list[State] = field(default_factory=list)  # of --cache-from
    steps: list[StepRecord] = field(default_factory=list)
    total: int = 0
    mounts_root: Path = Path()  # where cache mounts lie
    has_sources: bool = False
    before_failure: State | None = None  # what the first step that failed began with

    async def script(self, text: str, name: str) -> MountRecord:
        """Return the mount that brings a script of a RUN into its container."""
        folder = self.workspace.place("script")

        def write() -> None:
            folder.mkdir(mode=0o755)
            place = folder / name
            place.write_bytes(text.encode("utf-8", "surrogateescape"))
            place.chmod(0o755)

        await asyncio.to_thread(write)
        return MountRecord(
            type="bind", source=str(folder), destination="/dev/pipes", read_write=False, propagation="rprivate"
        )

    @property
    def epoch_ns(self) -> int | None:
        """The time that everything is to have (build argument SOURCE_DATE_EPOCH, in seconds), None without one."""
        text = self.arguments.given.get(EPOCH) or ""
        return int(text) * 1_000_000_000 if text.isascii() and text.isdigit() and len(text) < 11 else None

    def find(self, key: str, after: Callable[[CacheRecord, LayerRecord | None], State]) -> CacheRecord | None:
        """Return the record of a step if it may be used; ``after`` returns the state that it leads to."""
        if self.options.no_cache:
            return None
        record = self.cache.get(key)
        if record is None:
            return None
        if self.has_sources:
            state = after(record, self.cache.layer(record))
            if not any(_is_beginning(state, source) for source in self.sources):
                return None
        self.cache.touch(record)
        return record

    def adopt(self, state: State, key: str, created_by: str) -> CacheRecord | None:
        """Return a record made of an image of --cache-from whose next step is the same as ours, None for none."""
        if self.options.no_cache:
            return None
        place = len(state.history)
        for source in self.sources:
            if not _is_beginning(state, source) or len(source.history) <= place:
                continue
            entry = source.history[place]
            if entry.get("created_by") != created_by:
                continue
            is_empty = bool(entry.get("empty_layer"))
            if not is_empty and len(source.layers) <= len(state.layers):
                continue
            layer = None if is_empty else source.layers[len(state.layers)]
            record = CacheRecord(
                key=key,
                kind="internal",
                description=created_by,
                parent_chain=state.chain,
                chain_id=layer.chain_id if layer else "",
                size=layer.size if layer else 0,
                created_ns=_created(entry),
                used_ns=time.time_ns(),
                uses=1,
            )
            self.committer.put(record, None)
            return record
        return None


def _created(entry: Any) -> int:  # noqa: ANN401 - JSON
    from engine.images.manager import created_ns

    return created_ns(str(entry.get("created", "")))


def _is_beginning(state: State, whole: State) -> bool:
    """Whether an image went through a state."""
    if len(state.layers) > len(whole.layers) or len(state.history) > len(whole.history):
        return False
    if any(one.diff_id != other.diff_id for one, other in zip(state.layers, whole.layers, strict=False)):
        return False
    return all(
        one.get("created_by") == other.get("created_by") and one.get("created") == other.get("created")
        for one, other in zip(state.history, whole.history, strict=False)
    )
