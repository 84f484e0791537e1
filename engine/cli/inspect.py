"""``inspect`` of containers, images, networks and volumes: the engine's JSON, or a template over it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from engine.cli.command import Command
from engine.cli.failures import CommandError, hint_of, sentence
from engine.cli.flags import Flag, Parsed
from engine.cli.template_parse import TemplateError
from engine.cli.template_run import Template
from engine.cli.typed_json import typed
from engine.errors import InvalidArgument, NotFound, NotSupported, PortsideError
from engine.model.image import ImageInspect
from engine.model.inspect import ContainerInspect
from engine.model.network import NetworkInspect
from engine.model.volume import Volume

if TYPE_CHECKING:
    from engine.cli.session import Session


@dataclass(frozen=True)
class _Kind:
    """A kind of object and how it is fetched."""

    struct: type[msgspec.Struct]
    fetch: Callable[[Session, Parsed, str], Awaitable[bytes]]


async def _container(session: Session, parsed: Parsed, ref: str) -> bytes:
    return await session.client.containers.inspect_raw(ref, size=bool(parsed.values.get("size")))


async def _image(session: Session, parsed: Parsed, ref: str) -> bytes:
    return await session.client.images.inspect_raw(ref, str(parsed.values.get("platform", "")))


async def _network(session: Session, parsed: Parsed, ref: str) -> bytes:
    return await session.client.networks.inspect_raw(ref, verbose=bool(parsed.values.get("verbose")))


async def _volume(session: Session, parsed: Parsed, ref: str) -> bytes:
    return await session.client.volumes.inspect_raw(ref)


KINDS = {
    "container": _Kind(ContainerInspect, _container),
    "image": _Kind(ImageInspect, _image),
    "network": _Kind(NetworkInspect, _network),
    "volume": _Kind(Volume, _volume),
}


class _Output:
    """Collects what is printed: an array of JSON, or a line for each object."""

    def __init__(self, source: str) -> None:
        self.template: Template | None = None
        self.objects: list[bytes] = []
        self.lines: list[str] = []
        self.is_json = source == "json"
        if source and not self.is_json:
            try:
                self.template = Template(source)
            except TemplateError as error:
                raise CommandError(f"template parsing error: {error}", 64) from error

    def add(self, data: bytes, kind: _Kind) -> None:
        """Add an object; raises CommandError with Go's text when the template does not work on it."""
        if self.template is None:
            self.objects.append(data)
            return
        value = typed(msgspec.json.decode(data), kind.struct)
        try:
            self.lines.append(self.template.render(value))
        except TemplateError as error:
            self.lines.append("")
            raise CommandError(f"template parsing error: {error}") from error

    def text(self) -> str:
        """Return everything that is printed."""
        if self.template is not None:
            # Without an object there is still an empty line, as Docker prints it.
            return "".join(f"{line}\n" for line in self.lines) or "\n"
        joined = b"[" + b",".join(self.objects) + b"]"
        return msgspec.json.format(joined, indent=-1 if self.is_json else 4).decode() + "\n"


async def _find(session: Session, parsed: Parsed, ref: str) -> tuple[bytes, _Kind]:
    """Return the first object of any kind that has a name; raises NotFound when there is none."""
    for kind in KINDS.values():
        try:
            return await kind.fetch(session, parsed, ref), kind
        except (NotFound, InvalidArgument, NotSupported):
            # A name that cannot be of this kind may be of the next.
            continue
    raise NotFound(f"Error: No such object: {ref}")


async def _inspect(session: Session, parsed: Parsed, kind_name: str) -> int:
    output = _Output(parsed.text("format"))
    errors: list[str] = []
    hints: dict[str, None] = {}
    for ref in parsed.args:
        try:
            if kind_name:
                kind = KINDS[kind_name]
                data = await kind.fetch(session, parsed, ref)
            else:
                data, kind = await _find(session, parsed, ref)
            output.add(data, kind)
        except PortsideError as error:
            errors.append(sentence(error))
            hints[hint_of(error)] = None
        except CommandError as error:
            errors.append(error.message)
            break
    session.console.out(output.text())
    if errors:
        raise CommandError("\n".join(errors), hint="\n".join(hint for hint in hints if hint))
    return 0


async def run_inspect(session: Session, parsed: Parsed) -> int:
    """Inspect objects of any kind."""
    kind = parsed.text("type")
    if kind and kind not in KINDS:
        raise CommandError(
            f'unknown type: "{kind}": must be one of {", ".join(f"{name!r}" for name in KINDS)}'.replace("'", '"')
        )
    if parsed.on("size") and kind not in ("", "container"):
        session.err(f"WARNING: --size ignored for {kind}s")
    return await _inspect(session, parsed, kind)


async def run_container(session: Session, parsed: Parsed) -> int:
    """Inspect containers."""
    return await _inspect(session, parsed, "container")


async def run_image(session: Session, parsed: Parsed) -> int:
    """Inspect images."""
    return await _inspect(session, parsed, "image")


async def run_network(session: Session, parsed: Parsed) -> int:
    """Inspect networks."""
    return await _inspect(session, parsed, "network")


async def run_volume(session: Session, parsed: Parsed) -> int:
    """Inspect volumes."""
    return await _inspect(session, parsed, "volume")


_FORMAT = Flag("format", "f", "string", "'json' or a Go template")
_SIZE = Flag("size", "s", usage="Show sizes of containers")

COMMANDS = {
    "inspect": Command(
        "[OPTIONS] NAME|ID [NAME|ID...]",
        "Show everything about containers, images, networks or volumes",
        run_inspect,
        (_FORMAT, _SIZE, Flag("type", kind="string", usage="Only objects of this kind")),
        min_args=1,
        completes="container",
    ),
    "container inspect": Command(
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Show everything about containers",
        run_container,
        (_FORMAT, _SIZE),
        min_args=1,
        completes="container",
    ),
    "image inspect": Command(
        "[OPTIONS] IMAGE [IMAGE...]",
        "Show everything about images",
        run_image,
        (_FORMAT, Flag("platform", kind="string", usage="Platform of the image (linux/arm64)")),
        min_args=1,
        completes="image",
    ),
    "network inspect": Command(
        "[OPTIONS] NETWORK [NETWORK...]",
        "Show everything about networks",
        run_network,
        (_FORMAT, Flag("verbose", "v", usage="Show what is for diagnosis")),
        min_args=1,
        completes="network",
    ),
    "volume inspect": Command(
        "[OPTIONS] VOLUME [VOLUME...]",
        "Show everything about volumes",
        run_volume,
        (_FORMAT,),
        min_args=1,
        completes="volume",
    ),
}
