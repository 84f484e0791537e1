"""The instructions of a Dockerfile with their meaning, as values.

``expanded`` returns an instruction with its variables replaced, in the places where Docker replaces them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from engine.build.dockerfile.errors import DockerfileError

Expand = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """What all have: the keyword as written, the whole text, and its lines (from 1; 0 for one that is made up)."""

    keyword: str = ""
    code: str = ""
    start_line: int = 0
    end_line: int = 0

    def expanded(self, expand: Expand) -> Instruction:
        """Return it with its variables replaced; most instructions have none."""
        return self


@dataclass(frozen=True, kw_only=True)
class CommandLine(Instruction):
    """CMD, ENTRYPOINT or RUN; ``words`` is one string for the shell unless it is in the JSON form."""

    words: list[str] = field(default_factory=list)
    is_shell: bool = True

    def argv(self, shell: list[str]) -> list[str]:
        """Return the command with the shell in front where the shell reads it; nothing stays nothing."""
        return [*shell, *self.words] if self.is_shell and self.words else list(self.words)


@dataclass(frozen=True, kw_only=True)
class InlineFile:
    """A file that a Dockerfile contains as a heredoc."""

    name: str
    data: str
    expand: bool = False
    chomp: bool = False


@dataclass(frozen=True, kw_only=True)
class Run(CommandLine):
    """RUN. ``mounts`` are read by ``mounts.parse_mount`` after expansion."""

    files: list[InlineFile] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    network: str = "default"
    security: str = "sandbox"


@dataclass(frozen=True, kw_only=True)
class Cmd(CommandLine):
    """CMD."""


@dataclass(frozen=True, kw_only=True)
class Entrypoint(CommandLine):
    """ENTRYPOINT."""


@dataclass(frozen=True, kw_only=True)
class Env(Instruction):
    """ENV."""

    pairs: list[tuple[str, str]]

    def expanded(self, expand: Expand) -> Env:
        return replace(self, pairs=[(expand(name), expand(value)) for name, value in self.pairs])


@dataclass(frozen=True, kw_only=True)
class Label(Instruction):
    """LABEL; those that come from the request are taken as they are."""

    pairs: list[tuple[str, str]]
    is_literal: bool = False

    def expanded(self, expand: Expand) -> Label:
        if self.is_literal:
            return self
        return replace(self, pairs=[(expand(name), expand(value)) for name, value in self.pairs])


@dataclass(frozen=True, kw_only=True)
class Arg(Instruction):
    """ARG; the value is None where no default is given."""

    pairs: list[tuple[str, str | None]]

    def expanded(self, expand: Expand) -> Arg:
        pairs = [(expand(name), None if value is None else expand(value)) for name, value in self.pairs]
        return replace(self, pairs=pairs)


@dataclass(frozen=True, kw_only=True)
class Transfer(Instruction):
    """What COPY and ADD have in common."""

    sources: list[str]
    files: list[InlineFile] = field(default_factory=list)
    destination: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    excludes: list[str] = field(default_factory=list)

    def expanded(self, expand: Expand) -> Transfer:
        return replace(
            self,
            sources=[expand(source) for source in self.sources],
            destination=expand(self.destination),
            chown=expand(self.chown),
            chmod=expand(self.chmod),
            excludes=[expand(pattern) for pattern in self.excludes],
        )


@dataclass(frozen=True, kw_only=True)
class Copy(Transfer):
    """COPY."""

    origin: str = ""
    parents: bool = False


@dataclass(frozen=True, kw_only=True)
class Add(Transfer):
    """ADD; ``unpack`` and ``keep_git_dir`` are None unless they were given."""

    checksum: str = ""
    unpack: bool | None = None
    keep_git_dir: bool | None = None

    def expanded(self, expand: Expand) -> Add:
        done = super().expanded(expand)
        if not isinstance(done, Add):
            raise DockerfileError("internal: ADD changed its kind")
        return replace(done, checksum=expand(self.checksum))


@dataclass(frozen=True, kw_only=True)
class Health:
    """The test of a HEALTHCHECK; durations in nanoseconds, 0 inherits."""

    test: list[str]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, kw_only=True)
class Healthcheck(Instruction):
    """HEALTHCHECK."""

    health: Health


@dataclass(frozen=True, kw_only=True)
class Expose(Instruction):
    """EXPOSE; the ports are sorted texts, whose variables are replaced when they are split into words."""

    ports: list[str]


@dataclass(frozen=True, kw_only=True)
class Volume(Instruction):
    """VOLUME."""

    places: list[str]

    def expanded(self, expand: Expand) -> Volume:
        return replace(self, places=[expand(place) for place in self.places])


@dataclass(frozen=True, kw_only=True)
class OneValue(Instruction):
    """An instruction with one value."""

    value: str


@dataclass(frozen=True, kw_only=True)
class Expanded(OneValue):
    """One whose value has variables."""

    def expanded(self, expand: Expand) -> Expanded:
        return replace(self, value=expand(self.value))


@dataclass(frozen=True, kw_only=True)
class User(Expanded):
    """USER."""


@dataclass(frozen=True, kw_only=True)
class Workdir(Expanded):
    """WORKDIR."""


@dataclass(frozen=True, kw_only=True)
class StopSignal(Expanded):
    """STOPSIGNAL."""


@dataclass(frozen=True, kw_only=True)
class Maintainer(OneValue):
    """MAINTAINER."""


@dataclass(frozen=True, kw_only=True)
class OnBuild(OneValue):
    """ONBUILD; the value is the text of the instruction that it keeps."""


@dataclass(frozen=True, kw_only=True)
class Shell(Instruction):
    """SHELL."""

    words: list[str]


@dataclass(frozen=True, kw_only=True)
class Stage(Instruction):
    """FROM and what follows it. ``base`` and ``platform`` may have variables of the arguments before the first FROM."""

    base: str
    name: str = ""
    platform: str = ""
    instructions: list[Instruction] = field(default_factory=list)
