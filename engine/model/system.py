"""Bodies of the System operations (API 1.51)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, field

from engine.model.base import Body
from engine.model.image import ImageSummary
from engine.model.inspect import ContainerSummary
from engine.model.volume import Volume


class EventActor(Body):
    """What an event is about."""

    id: str = field(name="ID", default="")
    attributes: dict[str, str] = field(default_factory=dict)


class Event(msgspec.Struct, kw_only=True):
    """One event; ``time`` in seconds and ``time_nano`` in nanoseconds since 1970.

    ``status``, ``id`` and ``from`` are the old form that is sent for containers and images up to API 1.51.
    """

    status: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    from_: str | UnsetType = field(name="from", default=UNSET)
    type: str = field(name="Type", default="")
    action: str = field(name="Action", default="")
    actor: EventActor = field(name="Actor", default_factory=EventActor)
    scope: str = "local"
    time: int = 0
    time_nano: int = field(name="timeNano", default=0)


class AuthConfig(msgspec.Struct, kw_only=True):
    """Credentials for a registry (``X-Registry-Auth``, ``POST /auth``)."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""

    def __repr__(self) -> str:
        """Show no secret."""
        return f"AuthConfig(username={self.username!r}, serveraddress={self.serveraddress!r})"


class AuthResponse(Body):
    """Answer of ``POST /auth``."""

    status: str = ""
    identity_token: str | UnsetType = UNSET


class ComponentVersion(Body):
    """A part of the engine and its version."""

    name: str = ""
    version: str = ""
    details: dict[str, str] | UnsetType = UNSET


class Platform(Body):
    """What the engine calls itself."""

    name: str = ""


class SystemVersion(Body):
    """Answer of ``GET /version``."""

    platform: Platform = field(default_factory=Platform)
    components: list[ComponentVersion] = field(default_factory=list)
    version: str = ""
    api_version: str = ""
    min_api_version: str = field(name="MinAPIVersion", default="")
    git_commit: str = ""
    go_version: str = ""
    os: str = ""
    arch: str = ""
    kernel_version: str | UnsetType = UNSET
    experimental: bool | UnsetType = UNSET
    build_time: str | UnsetType = UNSET


class DiskUsage(Body):
    """Answer of ``GET /system/df`` (API 1.51); bytes."""

    layers_size: int = 0
    images: list[ImageSummary] | None = None
    containers: list[ContainerSummary] | None = None
    volumes: list[Volume] | None = None
    build_cache: list[dict[str, Any]] | None = None


SystemInfo = dict[str, Any]
"""Answer of ``GET /info``: some ninety fields that only ``engine/server/info.py`` writes and people read."""
