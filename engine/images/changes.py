"""``changes`` of a commit or an import: instructions of a Dockerfile that only change an image's configuration."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import UNSET

from engine.errors import InvalidArgument
from engine.model.base import given
from engine.model.container import HealthConfig
from engine.model.image import ImageConfig

if TYPE_CHECKING:
    from engine.build.dockerfile.instructions import Health, Instruction
    from engine.build.dockerfile.words import Lexer

_ALLOWED = frozenset(
    {
        *("cmd", "entrypoint", "env", "expose", "healthcheck", "label", "onbuild", "stopsignal", "user", "volume"),
        "workdir",
    }
)
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_SHELL = ["/bin/sh", "-c"]


def apply_changes(config: ImageConfig, changes: list[str]) -> None:
    """Change ``config`` as instructions say, their variables replaced by the configuration's environment.

    Raises InvalidArgument with Docker's texts for another instruction or a broken one.
    """
    # only who commits or imports loads the reader of Dockerfiles
    from engine.build.dockerfile.lines import read_lines
    from engine.build.dockerfile.parse import parse_line
    from engine.build.dockerfile.words import Lexer

    if not changes:
        return
    read = read_lines("\n".join(changes))
    for line in read.lines:
        if line.keyword.lower() not in _ALLOWED:
            raise InvalidArgument(f"{line.keyword} is not a valid change command")
    writer = _Writer(config, Lexer(escape=read.escape))
    for instruction in [parse_line(line) for line in read.lines]:
        writer.apply(instruction)


class _Writer:
    """Writes instructions into a configuration."""

    def __init__(self, config: ImageConfig, lexer: Lexer) -> None:
        self._config = config
        self._lexer = lexer
        self._has_cmd = False

    def _variables(self) -> Mapping[str, str]:
        return dict(item.partition("=")[::2] for item in given(self._config.env, []))

    def apply(self, written: Instruction) -> None:
        """Apply one instruction."""
        from engine.build.dockerfile import instructions as kinds

        variables = self._variables()
        item = written.expanded(lambda text: self._lexer.expand(text, variables))
        config = self._config
        shell = given(config.shell, []) or _SHELL
        if isinstance(item, kinds.Cmd):
            config.cmd = item.argv(shell)
            self._has_cmd = self._has_cmd or bool(item.words)
        elif isinstance(item, kinds.Entrypoint):
            config.entrypoint = item.argv(shell)
            if not self._has_cmd:
                config.cmd = UNSET  # it was for the entrypoint before
        elif isinstance(item, kinds.Env):
            config.env = [f"{key}={value}" for key, value in {**variables, **dict(item.pairs)}.items()]
        elif isinstance(item, kinds.Label):
            config.labels = {**given(config.labels, {}), **dict(item.pairs)}
        elif isinstance(item, kinds.Expose):
            words = [word for text in item.ports for word in self._lexer.split(text, variables)]
            config.exposed_ports = given(config.exposed_ports, {}) | {port: {} for port in _ports(words)}
        elif isinstance(item, kinds.Volume):
            config.volumes = given(config.volumes, {}) | {place: {} for place in item.places}
        elif isinstance(item, kinds.Healthcheck):
            config.healthcheck = _health(item.health)
        elif isinstance(item, kinds.OnBuild):
            config.on_build = [*given(config.on_build, []), item.value]
        elif isinstance(item, kinds.OneValue):
            self._apply_value(item)

    def _apply_value(self, item: Instruction) -> None:
        from engine.build.dockerfile import instructions as kinds

        config = self._config
        if isinstance(item, kinds.User):
            config.user = item.value
        elif isinstance(item, kinds.Workdir):
            config.working_dir = _working_dir(given(config.working_dir, ""), item.value)
        elif isinstance(item, kinds.StopSignal):
            from engine.containers.signals import parse_signal

            parse_signal(item.value)
            config.stop_signal = item.value


def _working_dir(before: str, place: str) -> str:
    if not place:
        raise InvalidArgument("cannot normalize nothing")
    return posixpath.normpath(posixpath.join("/", before, place)).replace("//", "/")


def _health(health: Health) -> HealthConfig:
    return HealthConfig(
        test=health.test,
        interval=health.interval or UNSET,
        timeout=health.timeout or UNSET,
        start_period=health.start_period or UNSET,
        start_interval=health.start_interval or UNSET,
        retries=health.retries or UNSET,
    )


def _ports(words: list[str]) -> list[str]:
    found: list[str] = []
    for word in words:
        match = _PORT.fullmatch(word)
        if match is None or int(match[2] or match[1]) > 65535:
            raise InvalidArgument(f"invalid containerPort: {word}")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise InvalidArgument(f"invalid range specified for port: {word}")
        found += [f"{port}/{(match[3] or 'tcp').lower()}" for port in range(first, last + 1)]
    return found
