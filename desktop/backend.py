"""One engine as the window uses it: the narrow interfaces of its rooms, filled in once. Without Qt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from desktop.actions import ClientActions, ImageClientActions, NetworkClientActions, VolumeClientActions
from desktop.enginecontrol import SOCKET, EngineControl, LocalEngine
from desktop.pages.containers.presenter import ContainerActions
from desktop.pages.containers.reading import Logs
from desktop.pages.images.presenter import ImageActions
from desktop.pages.networks.presenter import NetworkActions
from desktop.pages.volumes.presenter import VolumeActions
from desktop.state.door import ClientDoor
from desktop.state.picture import EngineDoor
from desktop.state.stats import StatsDoor
from engine.client import EngineClient, resolve_endpoint


@dataclass(frozen=True)
class Backend:
    """What the window asks of one engine; ``is_ours`` for this machine's own, which ``control`` starts and stops."""

    door: EngineDoor
    containers: ContainerActions
    logs: Logs
    stats: StatsDoor
    images: ImageActions
    volumes: VolumeActions
    networks: NetworkActions
    control: EngineControl
    is_ours: bool
    aclose: Callable[[], Awaitable[None]]


def backend_of(host: str, environment: dict[str, str]) -> Backend:
    """Return the engine at ``host``, else the one that the environment names, else this machine's.

    Raises InvalidArgument for an address that is none, NotSupported for one of a kind that is not there yet.
    """
    endpoint = resolve_endpoint(host or None, environment)
    client = EngineClient(endpoint)
    actions = ClientActions(client)
    return Backend(
        door=ClientDoor(client, str(endpoint)),
        containers=actions,
        logs=actions,
        stats=actions,
        images=ImageClientActions(client),
        volumes=VolumeClientActions(client),
        networks=NetworkClientActions(client),
        control=LocalEngine(),
        is_ours=str(endpoint) == SOCKET,
        aclose=client.aclose,
    )
