"""The stages of one build: which are needed, each built once when something asks for it, independent ones at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from engine.build.build import Build
from engine.build.dockerfile.arguments import BuildArguments
from engine.build.dockerfile.errors import DockerfileError
from engine.build.dockerfile.instructions import Copy, Label, Run
from engine.build.dockerfile.mounts import BuildMount, parse_mount
from engine.build.dockerfile.parse import Dockerfile
from engine.build.dockerfile.words import Lexer
from engine.build.interfaces import Progress
from engine.build.options import BuildOptions
from engine.build.output import BuildOutput, Channel
from engine.build.stage import StageBuilder
from engine.build.state import State
from engine.errors import Internal, InvalidArgument, PortsideError


class Resolver(Protocol):
    """Knows images."""

    async def resolve(self, name: str, platform: str, options: BuildOptions, send: Progress) -> State:
        """Return the state that an image is, pulling it when it is not here."""


class StageGraph:
    """The stages of one build and what became of them."""

    def __init__(self, resolver: Resolver, options: BuildOptions, dockerfile: Dockerfile, output: BuildOutput) -> None:
        self._resolver = resolver
        self._options = options
        self._dockerfile = dockerfile
        self._output = output
        self.build: Build
        self._channels: dict[int, Channel] = {}
        self._numbers: dict[int, int] = {}
        self._stages: dict[int, asyncio.Task[State]] = {}
        self._pulling: dict[tuple[str, str], asyncio.Future[State]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, target: int) -> State:
        """Build the stages that ``target`` needs."""
        arguments = self.build.arguments
        first = self._output.channel()
        warnings = [item.message for item in self._dockerfile.notices]
        if warnings:
            warnings.append("Empty continuation lines will become errors in a future release.")
            text = "".join(f"[WARNING]: {item}\n" for item in warnings)
            await first.text(f"\x1b[91m{text}\x1b[0m")
        needed = _needed(self._dockerfile, target, arguments)
        self.build.total = len(self._dockerfile.arguments) + sum(
            1 + len(self._dockerfile.stages[index].instructions) for index in needed
        )
        lexer = Lexer(escape=self._dockerfile.escape)
        for number, item in enumerate(self._dockerfile.arguments, 1):
            await first.text(f"Step {number}/{self.build.total} : {item.code}")
            await first.text("\n")
            expanded = item.expanded(lambda word: lexer.expand(word, arguments.global_values()))
            for name, default in expanded.pairs:
                arguments.declare_global(name, default)
        await first.end()
        number = len(self._dockerfile.arguments) + 1
        for index in needed:
            self._channels[index] = self._output.channel()
            self._numbers[index] = number
            number += 1 + len(self._dockerfile.stages[index].instructions)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for index in needed:
                    self._start(index)
                return await asyncio.shield(self._stages[target])
        except BaseExceptionGroup as group:
            await self._output.flush()
            raise _first(group) from group

    def _start(self, index: int) -> asyncio.Task[State]:
        if index not in self._stages:
            if self._tasks is None:
                raise Internal("a stage was asked for before the build began")
            if index not in self._channels:  # only a trigger of an image asks for it
                self._channels[index] = self._output.channel()
                self._numbers[index] = 0
            self._stages[index] = self._tasks.create_task(self._stage(index))
        return self._stages[index]

    async def _stage(self, index: int) -> State:
        channel = self._channels[index]
        stage = self._dockerfile.stages[index]
        state = await StageBuilder(self.build, stage, index, self._numbers[index], channel).run()
        await channel.end()
        return state

    async def stage(self, index: int) -> State:
        """Return what a stage becomes."""
        return await asyncio.shield(self._start(index))

    async def resolve(self, name: str, platform: str, send: Callable[[dict[str, Any]], Awaitable[None]]) -> State:
        """Return the state that an image is; stages that begin with the same image pull it once."""
        key = (name, platform)
        found = self._pulling.get(key)
        if found is None:
            found = self._pulling[key] = asyncio.ensure_future(
                self._resolver.resolve(name, platform, self._options, send)
            )
        try:
            return await asyncio.shield(found)
        except asyncio.CancelledError:
            found.cancel()
            await asyncio.gather(found, return_exceptions=True)
            raise


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
        if isinstance(error, PortsideError):
            return error
    return group.exceptions[0]


def target_of(dockerfile: Dockerfile, name: str) -> int:
    """Return the number of the stage to be built; raises InvalidArgument with moby's texts."""
    names = [stage.name for stage in dockerfile.stages]
    for index, stage in enumerate(dockerfile.stages):
        if stage.name and stage.name in names[:index]:
            raise DockerfileError(f"{stage.name} stage name already used", stage.start_line, stage.end_line)
    if not name:
        return len(names) - 1
    if name.lower() in names:
        return names.index(name.lower())
    if name.isascii() and name.isdigit() and int(name[:9]) < len(names):
        return int(name)
    known = ", ".join(item for item in names if item)
    raise InvalidArgument(f'target stage "{name}" could not be found', hint=f"the stages are: {known}" if known else "")


def add_labels(dockerfile: Dockerfile, target: int, options: BuildOptions) -> None:
    stage = dockerfile.stages[target]
    labels = [
        Label(keyword="LABEL", code=f"LABEL {name}={value}", pairs=[(name, value)], is_literal=True)
        for name, value in sorted(options.labels.items())
    ]
    dockerfile.stages[target] = replace(stage, instructions=[*stage.instructions, *labels])


def _needed(dockerfile: Dockerfile, target: int, arguments: BuildArguments) -> list[int]:
    """Return the numbers of the stages that one needs, its own too, in the order of the file."""
    scratch = BuildArguments(arguments.given, arguments.predefined)
    lexer = Lexer(escape=dockerfile.escape)
    for item in dockerfile.arguments:
        for name, default in item.pairs:
            scratch.declare_global(name, default)
    found: set[int] = set()
    waiting = [target]
    while waiting:
        index = waiting.pop()
        if index in found:
            continue
        found.add(index)
        stage = dockerfile.stages[index]
        names = [_quiet(lexer, stage.base, scratch.global_values())]
        for instruction in stage.instructions:
            if isinstance(instruction, Copy):
                names.append(instruction.origin)
            elif isinstance(instruction, Run):
                names += [_mount_origin(text) for text in instruction.mounts]
        for position, name in enumerate(names):
            earlier = [number for number in range(index) if dockerfile.stages[number].name == name.lower() != ""]
            if earlier:
                waiting.append(earlier[-1])
            elif position and name.isascii() and name.isdigit() and int(name[:9]) < index:
                waiting.append(int(name))
    return sorted(found)


def _quiet(lexer: Lexer, text: str, values: dict[str, str]) -> str:
    try:
        return lexer.expand(text, values)
    except DockerfileError:
        return ""  # told when the stage begins


def _mount_origin(text: str) -> str:
    try:
        return parse_mount(text, str).origin
    except DockerfileError:
        return BuildMount().origin
