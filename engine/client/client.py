"""The one door to an engine: ours, dockerd or podman's service.

``EngineClient`` groups the operations by room. It owns nothing but their connection; each call raises
the kinds of ``engine.errors`` with the engine's message and, where the client knows it, the way out.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from engine.client.build import BuildApi
from engine.client.connection import DEFAULT_TIMEOUT_S, EngineConnection
from engine.client.containers import ContainersApi
from engine.client.dial import Dialer, dialer_for
from engine.client.endpoint import Endpoint, parse_endpoint
from engine.client.exec_ import ExecApi
from engine.client.images import ImagesApi
from engine.client.networks import NetworksApi
from engine.client.system import SystemApi
from engine.client.volumes import VolumesApi


class EngineClient:
    """Calls to one engine. Nothing is dialled before the first call; use from one event loop.

    ``async with EngineClient("unix:///run/portside/engine.sock") as client: await client.system.ping()``
    """

    def __init__(
        self,
        endpoint: str | Endpoint,
        *,
        dialer: Dialer | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        api_version: tuple[int, int] | None = None,
    ) -> None:
        """``dialer`` replaces the way to the endpoint; ``api_version`` switches negotiation off.

        ``timeout_s`` bounds every call that is no stream. Raises InvalidArgument for a malformed endpoint.
        """
        self.endpoint = parse_endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self._connection = EngineConnection(
            dialer or dialer_for(self.endpoint), str(self.endpoint), timeout_s=timeout_s, api_version=api_version
        )
        self.system = SystemApi(self._connection)
        self.containers = ContainersApi(self._connection)
        self.exec = ExecApi(self._connection)
        self.build = BuildApi(self._connection)
        self.images = ImagesApi(self._connection)
        self.networks = NetworksApi(self._connection)
        self.volumes = VolumesApi(self._connection)

    async def negotiate(self) -> str:
        """Settle the API version, the lower of the engine's and 1.51, and return it; calls do it by themselves."""
        major, minor = await self._connection.negotiate()
        return f"{major}.{minor}"

    @property
    def api_version(self) -> str:
        """The version that is spoken, empty before the first call."""
        version = self._connection.version
        return "" if version is None else f"{version[0]}.{version[1]}"

    def set_header(self, name: str, value: str) -> None:
        """Send a header with every request (``HttpHeaders`` of Docker's configuration)."""
        self._connection.extra_headers[name] = value

    async def aclose(self) -> None:
        """Close the kept connections. Streams are closed by whoever opened them."""
        await self._connection.http.aclose()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()
