"""What the engine stores of a container. One msgspec struct a container, in the table ``containers``."""

from __future__ import annotations

import msgspec
from msgspec import field

from engine.model.container import ContainerConfig, HostConfig, PortMap
from engine.model.inspect import Health
from engine.model.network import EndpointSettings


class MountRecord(msgspec.Struct, kw_only=True):
    """One mount of a container, worked out at its creation.

    ``type`` is bind, volume, tmpfs or image; ``source`` the host path (empty for tmpfs, an image's ID); ``name`` and
    ``driver`` those of the volume; ``options`` of a tmpfs as mount(8) takes them; ``copy_up`` asks for
    the image's content at the first start; ``anonymous`` volumes go with ``docker rm -v``.
    """

    type: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    read_write: bool = True
    propagation: str = ""
    options: list[str] = field(default_factory=list)
    subpath: str = ""
    non_recursive: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False
    create_source: bool = False
    copy_up: bool = False
    anonymous: bool = False


class StateRecord(msgspec.Struct, kw_only=True):
    """Where a container stands.

    ``status`` is created, starting, running, paused, restarting, removing, exited or dead. ``starting``
    is written before the kernel is touched and is never shown: the next start of the engine finds out
    what became of it. Times are nanoseconds since 1970, 0 for never.
    """

    status: str = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    health: Health | None = None
    stopped_by_user: bool = False
    restart_count: int = 0


class ContainerRecord(msgspec.Struct, kw_only=True):
    """All of a container: what was asked for, what was made of it, where it stands.

    ``config`` and ``host_config`` are complete: image configuration merged, defaults filled in, as
    inspect shows them. ``networks`` holds an endpoint per network by the network's name, with the
    addresses it has while it runs; ``wanted_macs`` are the MAC addresses that were asked for, by network.
    ``links`` of the default bridge are IDs of containers by alias, ``link_environment`` what they put into
    the environment at its start.
    ``ports`` are the published ports as they really are while it runs.
    """

    id: str
    name: str
    created_ns: int
    image_id: str = ""
    platform: str = "linux"
    path: str = ""
    args: list[str] = field(default_factory=list)
    config: ContainerConfig = field(default_factory=ContainerConfig)
    host_config: HostConfig = field(default_factory=HostConfig)
    mounts: list[MountRecord] = field(default_factory=list)
    networks: dict[str, EndpointSettings] = field(default_factory=dict)
    wanted_macs: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    link_environment: list[str] = field(default_factory=list)
    ports: PortMap = field(default_factory=dict)
    state: StateRecord = field(default_factory=StateRecord)
    app_armor_profile: str = ""
    manually_stopped: bool = False


def encode_record(record: ContainerRecord) -> bytes:
    """Return the bytes that the store keeps."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> ContainerRecord:
    """Return the record out of the store's bytes; raises msgspec.ValidationError when damaged."""
    return _decoder.decode(data)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ContainerRecord)
