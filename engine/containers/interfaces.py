"""What the containers need from their neighbours: the narrow interfaces, declared by their consumer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from engine.model.container import PortMap
from engine.model.image import ImageConfig
from engine.model.network import EndpointSettings
from engine.model.record import ContainerRecord


@dataclass(frozen=True)
class ResolvedImage:
    """An image as a container needs it. ``id`` is the config's digest ``sha256:…``."""

    id: str
    config: ImageConfig
    os: str
    architecture: str


@dataclass(frozen=True)
class NewImage:
    """An image to be made of what a container has written into ``upper``, on top of the image ``parent_id``.

    ``config`` is the new image's; the other texts go into its history. ``check`` raises when the container is
    being removed, and what was read of it may not be whole.
    """

    parent_id: str
    upper: Path
    config: ImageConfig
    container_id: str
    created_by: str
    author: str
    comment: str
    check: Callable[[], None]


class ImageSource(Protocol):
    """Images that containers are made from (engine/images)."""

    def resolve(self, image_ref: str, platform: str | None = None) -> ResolvedImage:
        """Return the image that a name, digest, ID or short ID means.

        Raises NotFound with moby's text (``No such image: busybox:latest``).
        """

    def lower_dirs(self, image_id: str) -> list[Path]:
        """Return the unpacked layers of an image for overlayfs, topmost first, by short link names."""

    def size_bytes(self, image_id: str) -> int:
        """Return the bytes of an image's unpacked layers."""

    def reference_name(self, image_id: str) -> str:
        """Return a tag of the image, or its ID when it has none."""


@dataclass
class Sandbox:
    """A container's network while it runs: endpoints by network name and the published ports as they are.

    ``hosts`` are lines for /etc/hosts (address, names). ``netns_path`` is bound to the namespace. ``namespace`` is a
    descriptor of an empty one that is to be used instead of a new one; it stays its owner's.
    """

    container_id: str
    netns_path: Path | None
    endpoints: dict[str, EndpointSettings] = field(default_factory=dict)
    ports: PortMap = field(default_factory=dict)
    namespace: int = -1


class Networks(Protocol):
    """Networks that containers are connected to (engine/networks).

    ``reserve`` decides and touches nothing but memory, so that the caller can store the outcome while
    ``connect`` runs; ``release`` undoes both and may be called at any point, twice too.
    """

    def validate(self, record: ContainerRecord) -> list[str]:
        """Check network mode, endpoints and port bindings when a container is created; return warnings.

        Raises InvalidArgument, NotFound (``network x not found``) with moby's text.
        """

    def reserve(self, record: ContainerRecord) -> Sandbox:
        """Choose addresses, MACs and host ports for a container that starts.

        For modes ``host``, ``none`` and ``container:`` a Sandbox without endpoints (``none`` has a namespace).
        Raises Conflict or Unavailable when an address, a port or the pool is taken.
        """

    async def connect(self, sandbox: Sandbox) -> None:
        """Make the namespace, its links and addresses, firewall rules and port holders: all before the process runs."""

    async def release(self, container_id: str) -> None:
        """Take back whatever ``reserve`` and ``connect`` gave; a container that has nothing is no error."""

    async def restore(self, running: Iterable[ContainerRecord]) -> None:
        """At start: take over the endpoints and ports of running containers, remove what belongs to no one."""

    def netns_path(self, container_id: str) -> Path:
        """Return where a container's network namespace is bound while it runs."""

    def write_files(self, record: ContainerRecord, sandbox: Sandbox, directory: Path) -> None:
        """Write ``hosts``, ``hostname`` and ``resolv.conf`` for a container into ``directory``."""

    def mend_files(self, record: ContainerRecord, directory: Path) -> None:
        """At start, after ``restore``: bring a running container's files in line with its networks (blocking)."""

    def check_exists(self, network_ref: str) -> None:
        """Raise NotFound, with moby's text, for a network that does not exist, InvalidArgument for an ambiguous ID."""

    def enlist(self, record: ContainerRecord, network_ref: str, settings: EndpointSettings) -> None:
        """Note a further network for a container that does not run; raises InvalidArgument with moby's texts."""

    def delist(self, record: ContainerRecord, network_ref: str) -> None:
        """Strike a network from a container that does not run; raises Internal when it is not connected."""

    async def join(
        self, record: ContainerRecord, network_ref: str, settings: EndpointSettings, directory: Path
    ) -> None:
        """Connect a running container to a further network; ``directory`` holds its files.

        Raises NotFound, InvalidArgument, Forbidden and Internal with moby's texts; the record is as it was then.
        """

    async def leave(self, record: ContainerRecord, network_ref: str, directory: Path) -> None:
        """Take a running container off a network; raises as ``join`` does."""

    def shown_links(self, record: ContainerRecord) -> list[str] | None:
        """Return a container's links on the default bridge as inspect shows them."""

    def renamed(self, record: ContainerRecord) -> None:
        """Take notice of a container's new name."""


class Volumes(Protocol):
    """Named volumes (engine/volumes)."""

    async def ensure(
        self, name: str, driver: str, options: dict[str, str], labels: dict[str, str], *, container_id: str = ""
    ) -> Path:
        """Return the mount point of a volume, making the volume if there is none by that name.

        It is durable with the next commit, which is that of the container it is made for. Until ``unmount``
        it counts as used by ``container_id``, so that it cannot go before the container is stored.
        """

    async def mount(
        self, name: str, container_id: str, *, destination: str = "", read_write: bool = True, holder: str = ""
    ) -> Path:
        """Make a volume usable by a container that starts (mount options, drivers); return its path.

        ``destination`` and ``read_write`` are for the event. ``holder`` is who uses it where that is not
        the running container but a copy of its files: its ID, a blank and a number.
        """

    async def unmount(self, name: str, container_id: str, *, holder: str = "") -> None:
        """Say that a container, or ``holder``, no longer uses a volume; not being mounted is no error."""

    def is_mounted_on_use(self, name: str) -> bool:
        """Whether a volume is a mount of its own while it is used (options of its driver), not just a folder."""

    async def remove_anonymous(self, name: str) -> None:
        """Remove an anonymous volume with its container unless something else uses it."""
