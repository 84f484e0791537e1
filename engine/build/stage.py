"""One stage: its instructions one after the other, each a new state, made or found in the cache."""

from __future__ import annotations

import asyncio
import posixpath
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from msgspec import UNSET

from engine.build import history
from engine.build.build import Build, StepError, StepRecord
from engine.build.cache import CacheRecord, key_of
from engine.build.configure import configure
from engine.build.copying import Origin, Plan, perform, plan_copy
from engine.build.dockerfile import instructions as ins
from engine.build.dockerfile.arguments import StageArguments
from engine.build.dockerfile.errors import DockerfileError
from engine.build.dockerfile.lines import chomp, parse_heredoc
from engine.build.dockerfile.mounts import parse_mount
from engine.build.dockerfile.parse import parse_trigger
from engine.build.dockerfile.words import Lexer
from engine.build.leftovers import remove_mount_points
from engine.build.output import Channel, printable
from engine.build.runmounts import mount_inputs, prepared_mounts
from engine.build.runner import Command, Finished
from engine.build.state import State, with_default_path
from engine.build.transfer import LayerWriter, Look, limit_times
from engine.errors import Forbidden, InvalidArgument, PortsideError
from engine.images.layers import LayerRecord
from engine.model.base import given
from engine.model.container import HealthConfig

EMPTY_LAYER = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
_SHORT = 12


def short(image_id: str) -> str:
    """Return an ID as the output shows it."""
    return image_id.removeprefix("sha256:")[:_SHORT]


class StageBuilder:
    """Builds one stage of a build."""

    def __init__(self, build: Build, stage: ins.Stage, index: int, first_step: int, channel: Channel) -> None:
        """``first_step`` is the number of its FROM; what it says goes to ``channel``."""
        self._build = build
        self._stage = stage
        self._index = index
        self._number = first_step
        self._channel = channel
        self._arguments: StageArguments = build.arguments.stage()
        self._lexer = Lexer(escape=build.dockerfile.escape)
        self._record = StepRecord(0, "")
        self._before: State | None = None

    async def run(self) -> State:
        """Build it; raises what failed, with the step's line in a DockerfileError or as ``line``."""
        stage = self._stage
        await self._begin(stage)
        state = await self._guarded(stage, self._base())
        await self._end(state)
        for instruction in stage.instructions:
            self._before = state
            await self._begin(instruction)
            state = await self._guarded(instruction, self._step(state, instruction))
            await self._end(state)
        if state.image_id:
            await self._channel.send({"aux": {"ID": state.image_id}})
        return state

    async def _begin(self, instruction: ins.Instruction) -> None:
        self._record = StepRecord(self._number, instruction.code, instruction.start_line, started_ns=time.time_ns())
        self._build.steps.append(self._record)
        self._channel.vertex = self._number
        await self._channel.event(
            state="started",
            stage=self._stage.name or str(self._index),
            text=instruction.code,
            line=instruction.start_line,
            end_line=instruction.end_line,
            total=self._build.total,
        )
        await self._channel.text(f"Step {self._number}/{self._build.total} : {instruction.code}")
        await self._channel.text("\n")
        self._number += 1

    async def _end(self, state: State) -> None:
        self._record.ended_ns = time.time_ns()
        self._record.image_id = state.image_id
        await self._channel.event(
            state="cached" if self._record.cached else "done",
            seconds=round((self._record.ended_ns - self._record.started_ns) / 1e9, 3),
            image=state.image_id,
            why=self._record.why,
        )
        await self._channel.line(f" ---> {short(state.image_id)}")

    async def _guarded(self, instruction: ins.Instruction, work: Awaitable[State]) -> State:
        try:
            return await work
        except PortsideError as error:
            self._record.ended_ns = time.time_ns()
            self._record.error = printable(error.message)
            self._build.before_failure = self._build.before_failure or self._before
            await self._channel.event(state="failed", error=error.message, why=self._record.why)
            if isinstance(error, DockerfileError):
                raise error.at(instruction.start_line, instruction.end_line) from error
            raise

    # FROM

    async def _base(self) -> State:
        stage = self._stage
        values = self._build.arguments.global_values()
        name = self._lexer.expand(stage.base, values)
        if not name:
            raise DockerfileError(f"base name ({stage.base}) should not be blank")
        platform = self._lexer.expand(stage.platform, values) if stage.platform else self._build.options.platform
        earlier = self._earlier(name)
        if earlier is not None:
            state = replace(await self._build.stage(earlier), has_command=False)
        else:
            state = await self._build.resolve(name, platform, self._channel.send)
        state = with_default_path(state)
        triggers = given(state.config.on_build, [])
        if triggers:
            changed = state.changed(on_build=UNSET)
            changed.cached.update(state.cached)
            state = await self._triggers(changed, triggers)
        return state

    def _earlier(self, name: str) -> int | None:
        for index in range(self._index - 1, -1, -1):
            if self._build.dockerfile.stages[index].name == name.lower() != "":
                return index
        return None

    async def _triggers(self, state: State, triggers: list[str]) -> State:
        await self._channel.line(f"# Executing {len(triggers)} build trigger{'s' if len(triggers) > 1 else ''}")
        for text in triggers:
            state = await self._step(state, parse_trigger(text))
        return state

    async def origin(self, name: str) -> State:
        """Return what ``--from`` and ``from=`` name: a stage by name or number, or an image."""
        index = self._earlier(name)
        if index is None and name.isascii() and name.isdigit():
            index = int(name)
            if index == self._index:
                raise InvalidArgument(f"invalid from flag value {name}: refers to current build stage")
            if index > self._index:
                raise InvalidArgument(f"invalid from flag value {name}: index out of bounds")
        if index is not None:
            return await self._build.stage(index)
        if name.lower() == self._stage.name != "":
            raise InvalidArgument(f"invalid from flag value {name}: refers to current build stage")
        try:
            return await self._build.resolve(name, self._build.options.platform, self._channel.send)
        except PortsideError as error:
            raise type(error)(f"invalid from flag value {name}: {error.message}", hint=error.hint) from error

    # Instructions

    def _variables(self, state: State) -> dict[str, str]:
        env = state.environment
        return self._arguments.beside(env) | env

    async def _step(self, state: State, instruction: ins.Instruction) -> State:
        variables = self._variables(state)
        instruction = instruction.expanded(lambda word: self._lexer.expand(word, variables))
        if isinstance(instruction, ins.Run):
            return await self._run(state, instruction, variables)
        if isinstance(instruction, ins.Transfer):
            return await self._transfer(state, instruction, variables)
        if isinstance(instruction, ins.Workdir):
            return await self._workdir(state, instruction)
        if isinstance(instruction, ins.Healthcheck):
            before = given(state.config.healthcheck, HealthConfig())
            words = given(before.test, [])
            if words and words[0] != "NONE":
                await self._channel.line(f"Note: overriding previous HEALTHCHECK: {history.plain_list(words)}")
        changed, comment = configure(state, instruction, variables, self._arguments, self._lexer)
        return await self._configured(state, changed, comment)

    async def _configured(self, state: State, changed: State, comment: str) -> State:
        created_by = history.nothing(changed.shell, comment)
        inputs = {"parent": _identity(state), "instruction": created_by}
        key = key_of("configuration", *_flat(inputs))

        def after(record: CacheRecord, layer: LayerRecord | None) -> State:
            return changed.after(self._created(record), created_by, None)

        record = self._build.find(key, after) or self._build.adopt(state, key, created_by)
        if record is not None:
            await self._hit()
        else:
            now_ns = time.time_ns()
            record = CacheRecord(
                key=key, kind="configuration", description=created_by, created_ns=now_ns, used_ns=now_ns, inputs=inputs
            )
            self._build.cache.add_soon(record)
        return after(record, None)

    def _created(self, record: CacheRecord) -> int:
        """Return the time that a history gives a step."""
        epoch_ns = self._build.epoch_ns
        return record.created_ns if epoch_ns is None else epoch_ns

    async def _hit(self) -> None:
        self._record.cached = True
        await self._channel.line(" ---> Using cache")

    # Steps with a layer

    async def _layered(
        self,
        state: State,
        changed: State,
        created_by: str,
        kind: str,
        inputs: dict[str, str],
        make: Callable[[], Awaitable[LayerRecord | None]],
    ) -> State:
        """Return the state after a step with a layer, which ``make`` makes when it is not known.

        Steps of the same key that are built at the same time, also in other builds, are made once.
        """
        build = self._build
        if build.epoch_ns is not None:
            inputs["SOURCE_DATE_EPOCH"] = str(build.epoch_ns)
        key = key_of(kind, *_flat(inputs))

        def after(record: CacheRecord, layer: LayerRecord | None) -> State:
            return changed.after(self._created(record), created_by, layer)

        while True:
            record = build.find(key, after) or build.adopt(state, key, created_by)
            if record is not None:
                await self._hit()
                return after(record, build.cache.layer(record))
            running = build.shared.running.get(key)
            if running is None or build.options.no_cache:
                break
            await asyncio.wait([running])
            if build.has_sources:
                break
        if build.options.is_detailed:
            self._record.why = self._why(kind, created_by, inputs)
        future: asyncio.Future[CacheRecord | None] = asyncio.get_running_loop().create_future()
        build.shared.running[key] = future
        try:
            layer = await make()
            if layer is not None and layer.diff_id == EMPTY_LAYER:
                layer = None
            now_ns = time.time_ns()
            record = CacheRecord(
                key=key,
                kind=kind,
                description=created_by,
                parent_chain=state.chain,
                chain_id=layer.chain_id if layer else "",
                size=layer.size if layer else 0,
                created_ns=now_ns,
                used_ns=now_ns,
                uses=0,
                inputs=inputs,
            )
            build.cache.hold(record)
            build.committer.put(record, layer)
            return after(record, layer)
        finally:
            if build.shared.running.get(key) is future:
                del build.shared.running[key]
            future.set_result(None)

    def _why(self, kind: str, created_by: str, inputs: dict[str, str]) -> str:
        """Return what is different from the nearest step of earlier builds."""
        nearest = self._build.cache.nearest(
            lambda item: item.kind == kind and item.inputs.get("step") == inputs.get("step")
        )
        if nearest is None:
            return "it was never built before"
        before = nearest.inputs
        changed = [name for name in inputs if name in before and before[name] != inputs[name]]
        changed += [f"{name} (new)" for name in inputs if name not in before]
        changed += [f"{name} (gone)" for name in before if name not in inputs]
        return "changed: " + ", ".join(changed) if changed else "its cached layer is gone"

    async def _taken(self, state: State, folder: Path) -> LayerRecord:
        epoch_ns = self._build.epoch_ns
        if epoch_ns is not None:
            await asyncio.to_thread(limit_times, folder, epoch_ns)
        return await self._build.changesets.take(state.chain, folder, is_moved=True)

    # WORKDIR

    async def _workdir(self, state: State, instruction: ins.Workdir) -> State:
        before = given(state.config.working_dir, "") or "/"
        path = posixpath.normpath(posixpath.join("/", before, instruction.value))
        path = "/" + path.lstrip("/")
        changed = state.changed(working_dir=path)
        created_by = history.nothing_in_one(changed.shell, f"WORKDIR {path}")

        async def make() -> LayerRecord | None:
            view = await self._build.workspace.view(state)
            top = self._build.workspace.place("layer")

            def work() -> bool:
                top.mkdir(mode=0o755)
                writer = LayerWriter(top, view)
                target = writer.resolve(path)
                if not target or writer.kind(target):
                    return False
                writer.make_folders(target, Look(0, 0))
                return True

            return await self._taken(state, top) if await asyncio.to_thread(work) else None

        inputs = {"step": self._step_name("WORKDIR"), "parent": state.chain, "path": path}
        return await self._layered(state, changed, created_by, "regular", inputs, make)

    def _step_name(self, keyword: str) -> str:
        """Return what tells a step from the others of its build when it is compared with earlier builds."""
        return f"{self._stage.name or self._index}:{self._record.number}:{keyword}"

    # COPY and ADD

    async def _transfer(self, state: State, instruction: ins.Transfer, variables: dict[str, str]) -> State:
        build = self._build
        lexer = replace(self._lexer, keep_quotes=True)
        files = [
            replace(file, data=lexer.expand(file.data, variables)) if file.expand else file
            for file in instruction.files
        ]
        instruction = replace(instruction, files=files)
        name = instruction.origin if isinstance(instruction, ins.Copy) else ""
        origin = Origin(build.context.root, await asyncio.to_thread(lambda: build.context.sums), is_context=True)
        if name:
            source = await self.origin(name)
            origin = Origin(await build.workspace.view(source))
        plan = await plan_copy(state, instruction, origin, build.workspace, is_image=bool(name))
        created_by = history.nothing_in_one(state.shell, plan.comment)
        inputs = {"step": self._step_name(plan.keyword), "parent": state.chain, **plan.inputs()}

        async def make() -> LayerRecord | None:
            return await self._copied(state, plan)

        return await self._layered(state, state.changed(), created_by, "source.local", inputs, make)

    async def _copied(self, state: State, plan: Plan) -> LayerRecord:
        build = self._build
        async with build.shared.copies:
            view = await build.workspace.view(state)
            return await self._taken(state, await perform(plan, view, build.workspace, build.epoch_ns))

    # RUN

    async def _run(self, state: State, instruction: ins.Run, variables: dict[str, str]) -> State:
        build = self._build
        if instruction.security == "insecure":
            raise Forbidden("security.insecure is not allowed")
        script, argv = _command_of(instruction, state)
        env = self._arguments.beside(state.environment)
        shown = [f"|{len(self._shown(state))}", *self._shown(state)] if env else []
        created_by = " ".join([*shown, *argv])
        mounts = [parse_mount(text, lambda word: self._lexer.expand(word, variables)) for text in instruction.mounts]
        network = instruction.network if instruction.network != "default" else ""
        inputs = {
            "step": self._step_name("RUN"),
            "parent": state.chain,
            "command": "\0".join([*argv, script]),
            "user": given(state.config.user, ""),
            "working directory": given(state.config.working_dir, ""),
            "network": network or build.options.network_mode,
            "hosts": " ".join(build.options.extra_hosts),
            "platform": f"{state.os}/{state.architecture}",
        }
        inputs |= {f"variable {name}": value for name, value in state.environment.items()}
        inputs |= {f"argument {item.partition('=')[0]}": item for item in self._shown(state)}
        inputs |= await mount_inputs(mounts, state, build, self.origin)

        async def make() -> LayerRecord | None:
            async with build.shared.commands, AsyncExitStack() as stack:
                root = build.mounts_root
                ready = await stack.enter_async_context(prepared_mounts(mounts, state, build, self.origin, root))
                if script:
                    ready.records.append(await build.script(script, instruction.files[0].name))
                command = Command(argv, env | ready.env, network, ready.records)
                done = await stack.enter_async_context(
                    build.runner.run(state, command, build.options, self._started, self._out, self._err)
                )
                if done.exit_code:
                    await self._removed(done, failed=True)
                    raise StepError(
                        f"The command '{' '.join(argv)}' returned a non-zero code: {done.exit_code}", done.exit_code
                    )
                view = await build.workspace.view(state)
                targets = [item.destination for item in ready.records]
                await asyncio.to_thread(remove_mount_points, done.upper, view, targets)
                layer = await self._taken(state, done.upper)
            await self._removed(done)
            return layer

        return await self._layered(state, state.changed(), created_by, "exec", inputs, make)

    def _shown(self, state: State) -> list[str]:
        return self._arguments.shown(state.environment)

    async def _started(self, container_id: str) -> None:
        await self._channel.line(f" ---> Running in {container_id[:_SHORT]}")

    async def _removed(self, done: Finished, *, failed: bool = False) -> None:
        options = self._build.options
        if options.remove and (not failed or options.force_remove):
            await self._channel.line(f"Removing intermediate container {done.container_id[:_SHORT]}")

    async def _out(self, text: str) -> None:
        await self._channel.written(text)

    async def _err(self, text: str) -> None:
        await self._channel.written(text, is_error=True)


def _identity(state: State) -> str:
    """Return what tells a state from others that a configuration step could begin with."""
    return f"{state.image_id} {state.chain} {state.os}/{state.architecture}/{state.variant}"


def _flat(inputs: dict[str, str]) -> list[str]:
    return [part for name, value in sorted(inputs.items()) if name != "step" for part in (name, value)]


def _command_of(instruction: ins.Run, state: State) -> tuple[str, list[str]]:
    """Return the script to be run as a file ("" for none) and the command line, heredocs put where they belong."""
    if not instruction.files:
        return "", instruction.argv(state.shell)
    words, files = instruction.words, instruction.files
    if len(words) != 1 or not instruction.is_shell:
        raise InvalidArgument(f"parsing produced an invalid run command: {history.plain_list(words)}")
    first = files[0]
    if parse_heredoc(words[0]) is not None:
        data = chomp(first.data) if first.chomp else first.data
        if data.startswith("#!"):
            return data, [f"/dev/pipes/{first.name}"]
        return "", [*state.shell, data]
    full = words[0] + "".join(f"\n{file.data}{file.name}" for file in files)
    return "", [*state.shell, full]
