"""Instructions that touch no file: the changed configuration, and the comment that the history gets.

Without I/O. What a step makes of it is ``stage``'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from msgspec import UNSET

from engine.build import history
from engine.build.dockerfile import instructions as ins
from engine.build.dockerfile.arguments import StageArguments
from engine.build.dockerfile.words import Lexer
from engine.build.ports import parse_ports
from engine.build.state import State
from engine.containers.signals import parse_signal
from engine.errors import Internal
from engine.model.base import given
from engine.model.container import HealthConfig


def configure(
    state: State,
    instruction: ins.Instruction,
    variables: Mapping[str, str],
    arguments: StageArguments,
    lexer: Lexer,
) -> tuple[State, str]:
    """Return the changed state of an instruction that touches no file, and its history's comment."""
    config = state.config
    if isinstance(instruction, ins.Env):
        env = state.environment | dict(instruction.pairs)
        shown = "".join(f" {name}={value}" for name, value in instruction.pairs)
        return state.changed(env=[f"{name}={value}" for name, value in env.items()]), f"ENV{shown}"
    if isinstance(instruction, ins.Label):
        labels = given(config.labels, {}) | dict(instruction.pairs)
        shown = "".join(f" {name}={value}" for name, value in instruction.pairs)
        return state.changed(labels=labels), f"LABEL{shown}"
    if isinstance(instruction, ins.Arg):
        for name, default in instruction.pairs:
            arguments.declare(name, default)
        shown = " ".join(name if value is None else f"{name}={value}" for name, value in instruction.pairs)
        return state.changed(), f"ARG {shown}"
    if isinstance(instruction, ins.Cmd):
        words = instruction.argv(state.shell)
        changed = state.changed(cmd=words)
        return replace(changed, has_command=bool(words)), f"CMD {history.quoted_list(words)}"
    if isinstance(instruction, ins.Entrypoint):
        words = instruction.argv(state.shell)
        cmd = config.cmd if state.has_command else UNSET
        changed = state.changed(entrypoint=words or UNSET, cmd=cmd)
        return changed, f"ENTRYPOINT {history.quoted_list(words)}"
    if isinstance(instruction, ins.Healthcheck):
        return state.changed(healthcheck=_health(instruction.health)), (
            f"HEALTHCHECK {history.health(instruction.health)}"
        )
    if isinstance(instruction, ins.Expose):
        words = [word for port in instruction.ports for word in lexer.split(port, variables)]
        ports = given(config.exposed_ports, {}) | {port: {} for port in parse_ports(words)}
        return state.changed(exposed_ports=ports), f"EXPOSE {' '.join(words)}"
    if isinstance(instruction, ins.Volume):
        volumes = given(config.volumes, {}) | {place: {} for place in instruction.places}
        return state.changed(volumes=volumes), f"VOLUME {history.plain_list(instruction.places)}"
    if isinstance(instruction, ins.Shell):
        return state.changed(shell=instruction.words), f"SHELL {history.plain_list(instruction.words)}"
    return _configure_one(state, instruction)


def _configure_one(state: State, instruction: ins.Instruction) -> tuple[State, str]:
    if isinstance(instruction, ins.User):
        return state.changed(user=instruction.value), f"USER {instruction.value}"
    if isinstance(instruction, ins.StopSignal):
        parse_signal(instruction.value)
        return state.changed(stop_signal=instruction.value), f"STOPSIGNAL {instruction.value}"
    if isinstance(instruction, ins.Maintainer):
        return replace(state, author=instruction.value, cached={}), f"MAINTAINER {instruction.value}"
    if isinstance(instruction, ins.OnBuild):
        triggers = [*given(state.config.on_build, []), instruction.value]
        return state.changed(on_build=triggers), f"ONBUILD {instruction.value}"
    raise Internal(f"unsupported command type: {type(instruction).__name__}")


def _health(check: ins.Health) -> HealthConfig:
    numbers = ("interval", "timeout", "start_period", "start_interval", "retries")
    return HealthConfig(test=check.test, **{name: getattr(check, name) or UNSET for name in numbers})
