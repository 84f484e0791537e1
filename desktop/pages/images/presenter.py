"""What the Images page does: rows, pulling with progress, running, deleting. Without Qt."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from desktop.messages import Message, explain
from desktop.state.picture import Picture
from desktop.state.sizes import size_text
from desktop.state.spans import age_text
from engine.errors import InvalidArgument, PortsideError
from engine.model.container import ContainerCreateRequest, HostConfig, PortBinding

_PORT = re.compile(
    r"(?:(?P<address>\[[0-9a-fA-F:]+\]|[0-9.]+):)?(?P<host>\d{1,5}):(?P<inside>\d{1,5})(?:/(?P<kind>tcp|udp))?"
)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


class ImageActions(Protocol):
    """What the presenter asks of an engine."""

    def pull(self, name: str) -> AsyncIterator[PullStep]:
        """Pull an image; yields its progress. Closing the iterator gives it up."""

    async def remove(self, ref: str, *, force: bool) -> None:
        """Delete an image or one of its names."""

    async def prune(self) -> tuple[int, int]:
        """Delete images without a name that nothing uses; return how many names and layers, and the bytes freed."""

    async def run(self, request: ContainerCreateRequest, name: str) -> str:
        """Create and start a container; return its ID."""


@dataclass(frozen=True)
class PullStep:
    """One message of a pull: a layer's short ID ("" for the whole), what is done, bytes so far and in all."""

    layer: str
    status: str
    current: int = 0
    total: int = 0


@dataclass
class Pull:
    """A pull that goes on, as the tasks area shows it."""

    name: str
    status: str = "Starting"
    result: str = ""
    layers: dict[str, PullStep] = field(default_factory=dict)
    give_up: Callable[[], object] = lambda: None

    @property
    def share(self) -> float | None:
        """How much is done, from 0 to 1; None as long as nobody knows."""
        known = [step for step in self.layers.values() if step.total]
        total = sum(step.total for step in known)
        return sum(step.current for step in known) / total if total else None

    def take(self, step: PullStep) -> None:
        """Note a message."""
        if not step.layer or not re.fullmatch("[0-9a-f]{12}", step.layer):
            if step.status.startswith("Status: "):
                self.result = f"{step.status.removeprefix('Status: ').removesuffix('.')}."
            elif not self.layers:
                self.status = step.status
            return
        before = self.layers.get(step.layer)
        total = step.total or (before.total if before else 0)
        finished = step.status in (
            "Download complete",
            "Pull complete",
            "Verifying Checksum",
            "Extracting",
            "Already exists",
        )
        current = total if finished else step.current or (before.current if before else 0)
        self.layers[step.layer] = PullStep(step.layer, step.status, current, total)
        done = sum(item.status in ("Pull complete", "Already exists") for item in self.layers.values())
        self.status = f"{done} of {len(self.layers)} layers"


@dataclass(frozen=True)
class ImageRow:
    """One name of an image as the table shows it."""

    id: str
    image_id: str
    name: str
    tag: str
    short_id: str
    size: int
    created_s: int
    age: str
    used_by: int

    @property
    def reference(self) -> str:
        """What the engine calls it."""
        return f"{self.name}:{self.tag}" if self.name != "<none>" else self.image_id

    @property
    def is_dangling(self) -> bool:
        """Whether it has no name."""
        return self.name == "<none>"


class ImagesPresenter:
    """Rows and actions of the page."""

    def __init__(
        self,
        picture: Picture,
        actions: Callable[[], ImageActions],
        run: Callable[[Coroutine[Any, Any, None]], Callable[[], None]],
        notify: Callable[[Message, str], None],
        clock: Callable[[], float],
    ) -> None:
        """``run`` returns what cancels the task; ``notify`` takes a message and its kind, error or info."""
        self._picture = picture
        self._actions = actions
        self._run = run
        self._notify = notify
        self._clock = clock
        self.pulls: list[Pull] = []
        self.on_change: Callable[[], None] = lambda: None
        self.on_started: Callable[[str], None] = lambda _: None

    def rows(self, text: str = "") -> list[ImageRow]:
        """Return the rows that fit a search, one a name."""
        used: dict[str, int] = {}
        for container in self._picture.containers.values():
            used[container.image_id] = used.get(container.image_id, 0) + 1
        words = text.lower().split()
        now = self._clock()
        found = []
        for item in self._picture.images.values():
            for reference in item.repo_tags or ["<none>:<none>"]:
                name, _, tag = reference.rpartition(":")
                row = ImageRow(
                    id=f"{item.id} {reference}",
                    image_id=item.id,
                    name=name,
                    tag=tag,
                    short_id=item.id.removeprefix("sha256:")[:12],
                    size=item.size,
                    created_s=item.created,
                    age=age_text(max(0.0, now - item.created)),
                    used_by=used.get(item.id, 0),
                )
                if all(word in f"{row.reference} {row.short_id}".lower() for word in words):
                    found.append(row)
        return found

    def row(self, row_id: str) -> ImageRow | None:
        """Return one row."""
        return next((row for row in self.rows() if row.id == row_id), None)

    def prunable(self) -> list[ImageRow]:
        """Return the images that pruning deletes: those without a name that nothing uses."""
        return [row for row in self.rows() if row.is_dangling and not row.used_by]

    def has_dangling(self) -> bool:
        """Whether an image has no name."""
        return any(
            not (item.repo_tags or ()) or item.repo_tags == ["<none>:<none>"] for item in self._picture.images.values()
        )

    def pull(self, name: str) -> None:
        """Begin to pull an image."""
        pull = Pull(name.strip())
        self.pulls.append(pull)
        self.on_change()
        pull.give_up = self._run(self._pull(pull))

    async def _pull(self, pull: Pull) -> None:
        steps = self._actions().pull(pull.name)
        try:
            async for step in steps:
                pull.take(step)
                self.on_change()
            self._notify(Message(f"Pulled {pull.name}", pull.result), "info")
        except PortsideError as error:
            self._notify(explain(f"pull {pull.name}", error), "error")
        finally:
            self._forget(pull)
            close = getattr(steps, "aclose", None)
            if close is not None:
                await close()

    def cancel(self, pull: Pull) -> None:
        """Give a pull up: its connection is closed, so the engine stops too."""
        pull.give_up()
        self._forget(pull)  # its task may not even have begun

    def _forget(self, pull: Pull) -> None:
        if pull in self.pulls:
            self.pulls.remove(pull)
            self.on_change()

    def prune(self) -> None:
        """Delete the images that have no name and are not used."""
        self._run(self._prune())

    async def _prune(self) -> None:
        try:
            count, freed = await self._actions().prune()
        except PortsideError as error:
            self._notify(explain("delete images without a name", error), "error")
            return
        told = f"{size_text(freed)} are free again." if count else "No image without a name was unused."
        self._notify(Message("Images without a name are deleted" if count else "Nothing to delete", told), "info")

    def remove(self, rows: list[ImageRow]) -> None:
        """Delete images: the question was asked before."""
        self._run(self._remove(rows))

    async def _remove(self, rows: list[ImageRow]) -> None:
        for row in rows:
            try:
                await self._actions().remove(row.reference, force=False)
            except PortsideError as error:
                self._notify(explain(f"delete {row.reference}", error), "error")

    def start(self, form: RunForm, image: str) -> None:
        """Run a container as a form says, which was checked."""
        self._run(self._start(form, image))

    async def _start(self, form: RunForm, image: str) -> None:
        try:
            container_id = await self._actions().run(form.request(image), form.name.strip())
        except PortsideError as error:
            self._notify(explain(f"run {image}", error), "error")
            return
        if form.show_log:
            self.on_started(container_id)
        else:
            self._notify(Message(f"{form.name.strip() or container_id[:12]} runs", f"It was made of {image}."), "info")


@dataclass(frozen=True)
class RunForm:
    """What a person typed to run an image; lists one a line."""

    name: str = ""
    ports: str = ""
    env: str = ""
    volumes: str = ""
    command: str = ""
    auto_remove: bool = False
    show_log: bool = True

    def problems(self) -> dict[str, str]:
        """Return what is wrong, by field; empty when it can be run."""
        found: dict[str, str] = {}
        if self.name.strip() and not _NAME.fullmatch(self.name.strip()):
            found["name"] = "Letters, digits, _ . and - are allowed, at least two."
        for line in _lines(self.ports):
            match = _PORT.fullmatch(line)
            if match is None or not (0 < int(match["host"]) < 65536 and 0 < int(match["inside"]) < 65536):
                found["ports"] = f"{line}: give HOST:CONTAINER, such as 8080:80."
        for line in _lines(self.env):
            if not re.fullmatch(r"[^=\s]+=.*", line):
                found["env"] = f"{line}: give NAME=value."
        for line in _lines(self.volumes):
            parts = line.split(":")
            if len(parts) not in (2, 3) or not parts[1].startswith("/") or not parts[0]:
                found["volumes"] = f"{line}: give NAME-OR-PATH:/path, perhaps with :ro."
        try:
            shlex.split(self.command)
        except ValueError as error:
            found["command"] = f"{error}."
        return found

    def request(self, image: str) -> ContainerCreateRequest:
        """Return the request; raises InvalidArgument when something is wrong."""
        problems = self.problems()
        if problems:
            raise InvalidArgument("; ".join(problems.values()))
        bindings: dict[str, list[PortBinding] | None] = {}
        for line in _lines(self.ports):
            match = _PORT.fullmatch(line)
            if match is not None:
                port = f"{match['inside']}/{match['kind'] or 'tcp'}"
                binding = PortBinding(host_ip=(match["address"] or "").strip("[]"), host_port=match["host"])
                bindings[port] = [*(bindings.get(port) or []), binding]
        host = HostConfig(
            binds=_lines(self.volumes) or None, port_bindings=bindings or None, auto_remove=self.auto_remove
        )
        request = ContainerCreateRequest(image=image, env=_lines(self.env) or None, host_config=host)
        request.exposed_ports = {port: {} for port in bindings}
        if self.command.strip():
            request.cmd = shlex.split(self.command)
        return request


def name_problem(name: str) -> str:
    """Return what is wrong with an image's name, "" when a registry can be asked for it."""
    if re.search(r"\s", name):
        return "A name has no spaces."
    rest, _, digest = name.partition("@")
    if digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        return "A digest is sha256: and 64 digits from 0 to f."
    repository, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = rest, ""
    elif not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag):
        return "A tag is made of letters, digits, _ . and -."
    host, slash, path = repository.partition("/")
    has_host = bool(slash) and (any(sign in host for sign in ".:") or host == "localhost")
    path = path if has_host else repository
    if path != path.lower():
        return "A name is written in small letters."
    if not re.fullmatch(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*", path):
        return "A name is made of small letters, digits and . _ - between them."
    return ""


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
