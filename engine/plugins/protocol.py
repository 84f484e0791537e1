"""Asks one plugin: JSON over HTTP, each call bounded in time and size.

What a plugin answers is not trusted: it is data of the expected type or an error that names plugin and call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from engine.errors import Internal, NotFound, Unavailable
from engine.plugins.discovery import PluginAddress, PluginPlaces, TlsConfig

if TYPE_CHECKING:
    import ssl

    import aiohttp

ACTIVATE_TIMEOUT_S = 30.0
CALL_TIMEOUT_S = 120.0
MOST_BYTES = 4 * 1024 * 1024
_TYPE = "application/vnd.docker.plugins.v1.2+json"

T = TypeVar("T")


class _Manifest(msgspec.Struct, rename="pascal"):
    implements: list[str] | None = None


class Answer(msgspec.Struct, rename="pascal"):
    """What every answer may hold: an error's text."""

    err: str = ""


class Plugin:
    """One plugin that was activated."""

    def __init__(self, address: PluginAddress, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        """Nothing is asked before ``activate``."""
        self.name = address.name
        self._address = address
        self._call_timeout_s = call_timeout_s
        self.implements: tuple[str, ...] = ()

    async def activate(self) -> None:
        """Ask what it implements (Plugin.Activate); raises Unavailable or Internal."""
        manifest = await self.call("Plugin.Activate", None, _Manifest, timeout_s=ACTIVATE_TIMEOUT_S)
        self.implements = tuple(manifest.implements or ())

    async def call(self, method: str, body: object, kind: type[T], *, timeout_s: float = 0.0) -> T:
        """Call a method; return its answer as ``kind``.

        Raises Internal with the plugin's own error (``VolumeDriver.Create: …`` as dockerd says it) or for an answer
        that is none, Unavailable when it does not answer.
        """
        import asyncio

        import aiohttp  # only who has a plugin loads the client

        try:
            async with asyncio.timeout(timeout_s or self._call_timeout_s):
                status, data = await self._post(method, body)
        except TimeoutError as error:
            raise Unavailable(
                f"plugin {self.name} does not answer {method} within {timeout_s or self._call_timeout_s:g} s",
                hint="look at the plugin's own log, then start it again",
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(
                f"plugin {self.name} cannot be reached for {method}: {error}", hint="start the plugin again"
            ) from error
        if status != 200:
            raise Internal(f"{method}: {_error_text(data, status)}")
        try:
            answer = msgspec.json.decode(data or b"{}", type=kind)
        except msgspec.DecodeError as error:
            raise Internal(f"plugin {self.name} answers {method} with what is no answer: {error}") from error
        if isinstance(answer, Answer) and answer.err:
            raise Internal(f"{method}: {answer.err}")
        return answer

    async def _post(self, method: str, body: object) -> tuple[int, bytes]:
        import aiohttp

        data = msgspec.json.encode(body) if body is not None else b""
        headers = {"Accept": _TYPE, "Content-Type": "application/json"}
        base = "http://plugin" if self._address.socket is not None else self._address.url
        async with (
            aiohttp.ClientSession(connector=self._connector(), timeout=aiohttp.ClientTimeout(total=None)) as session,
            session.post(f"{base}/{method}", data=data, headers=headers) as response,
        ):
            received = bytearray()
            async for block in response.content.iter_any():
                received += block
                if len(received) > MOST_BYTES:
                    raise Internal(f"plugin {self.name} answers {method} with more than {MOST_BYTES} bytes")
            return response.status, bytes(received)

    def _connector(self) -> aiohttp.BaseConnector:
        import aiohttp

        if self._address.socket is not None:
            return aiohttp.UnixConnector(str(self._address.socket), force_close=True)
        if self._address.tls is not None:
            return aiohttp.TCPConnector(ssl=_context(self._address.tls), force_close=True)
        return aiohttp.TCPConnector(force_close=True)


def _context(tls: TlsConfig) -> ssl.SSLContext:
    import ssl

    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"the plugin's TLS files cannot be used: {error}") from error
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _error_text(data: bytes, status: int) -> str:
    try:
        answer: Any = msgspec.json.decode(data)
    except msgspec.DecodeError:
        answer = None
    if isinstance(answer, dict) and answer.get("Err"):
        return str(answer["Err"])
    return data[:200].decode(errors="replace").strip() or f"status {status}"


class PluginCatalog:
    """The plugins of this host, activated when they are first asked for."""

    def __init__(self, places: PluginPlaces | None = None, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        """Look in ``places``, dockerd's own by default."""
        self._places = places or PluginPlaces()
        self._call_timeout_s = call_timeout_s
        self._active: dict[str, Plugin] = {}

    def names(self, implementation: str) -> list[str]:
        """Return the plugins that were used so far and implement something."""
        return sorted(name for name, plugin in self._active.items() if implementation in plugin.implements)

    async def get(self, name: str, implementation: str) -> Plugin:
        """Return a plugin that implements something (``VolumeDriver``).

        Raises NotFound with dockerd's text (``plugin "x" not found``), Internal when it implements something else,
        Unavailable when it does not answer.
        """
        import asyncio

        plugin = self._active.get(name)
        if plugin is None:
            address = await asyncio.to_thread(self._places.find, name)
            if address is None:
                raise NotFound(f'plugin "{name}" not found', hint="start the plugin, or use the driver local")
            plugin = Plugin(address, self._call_timeout_s)
            await plugin.activate()
            self._active[name] = plugin
        if implementation not in plugin.implements:
            raise Internal(
                "Plugin does not implement the requested driver: "
                f'plugin="{name}", requested implementation="{implementation}"'
            )
        return plugin

    def forget(self, name: str) -> None:
        """Activate a plugin anew when it is next asked for: it was started again, perhaps somewhere else."""
        self._active.pop(name, None)
