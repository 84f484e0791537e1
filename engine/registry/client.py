"""A client of registries (OCI distribution-spec 1.1) for pulls: manifests and blobs, with retries."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from engine.errors import Forbidden, Internal, NotFound, PortsideError, Unauthorized, Unavailable
from engine.images.blobs import digest_of
from engine.model.system import AuthConfig, AuthResponse
from engine.registry.connection import NoCredentials, RegistryConnection, TokenRefused
from engine.registry.connection import RegistryProblem as RegistryProblem
from engine.registry.hosts import RegistrySettings

MANIFEST_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
_MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_MAX_TAGS_BYTES = 16 * 1024 * 1024
_TRIES = 3
_FIRST_PAUSE_S = 0.2
_MAX_PAUSE_S = 10.0


class _TagsBody(msgspec.Struct):
    tags: list[str] | None = None


class Repository(RegistryConnection):
    """One repository of a registry, to be read."""

    async def manifest(self, reference: str) -> tuple[bytes, str, str]:
        """Return a manifest by tag or digest: its bytes, media type and digest.

        Raises RegistryProblem, or Unavailable when no address answers.
        """
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}
        data, answer = await self._read(f"manifests/{quote(reference, safe=':')}", headers, _MAX_MANIFEST_BYTES)
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        digest = digest_of(data)
        if reference.startswith("sha256:") and digest != reference:
            raise Internal(f"manifest verification failed for digest {reference}: the content is {digest}")
        return data, media_type, digest

    async def tags(self) -> list[str]:
        """Return all tags of the repository."""
        found: list[str] = []
        what = "tags/list"
        while what:
            data, answer = await self._read(what, {}, _MAX_TAGS_BYTES)
            try:
                found += msgspec.json.decode(data, type=_TagsBody).tags or []
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                raise Unavailable(f"registry {self.domain} sent no list of tags: {error}") from error
            following = answer.links.get("next")
            query = URL(str(following["url"])).query_string if following else ""
            what = f"tags/list?{query}" if query else ""
        return found

    async def _read(self, what: str, headers: dict[str, str], limit: int) -> tuple[bytes, aiohttp.ClientResponse]:
        """Return a small answer; a registry that is busy or failing is asked again, twice."""
        pause_s, tries = _FIRST_PAUSE_S, 0
        while True:
            try:
                async with self.open("GET", "{repository}" + what, headers) as answer:
                    data = bytearray()
                    async for block in answer.content.iter_any():
                        data += block
                        if len(data) > limit:
                            raise Internal(f"{what} of {self.domain}/{self.path} is larger than {limit} bytes")
                    return bytes(data), answer
            except RegistryProblem as problem:
                tries += 1
                if tries == _TRIES or (problem.status != 429 and problem.status < 500):
                    raise
                await asyncio.sleep(min(max(pause_s, problem.retry_after_s), _MAX_PAUSE_S))
                pause_s *= 3

    @asynccontextmanager
    async def blob(self, digest: str, offset: int = 0) -> AsyncIterator[tuple[AsyncIterator[bytes], int]]:
        """Open a blob from ``offset``: yields (its bytes, where they begin), 0 when the registry has no ranges."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self.open("GET", f"{{repository}}blobs/{digest}", headers) as answer:
            yield answer.content.iter_any(), offset if answer.status == 206 else 0

    async def check(self) -> AuthResponse:
        """Prove the credentials at the registry's base (``docker login``); raises Unauthorized when it refuses them."""
        try:
            async with self.open("GET", "{base}/v2/"):
                return AuthResponse(status="Login Succeeded", identity_token=self.refresh_token)
        except RegistryProblem as error:
            if isinstance(error, TokenRefused):
                told = error.told or "incorrect username or password"
                raise Unauthorized(f'Get "{self.asked.url}/v2/": unauthorized: {told}') from error
            words = http.client.responses.get(error.status, "")
            message = f"login attempt to {self.asked.url}/v2/ failed with status: {error.status} {words}".rstrip()
            raise (Unauthorized if error.status in (401, 403) else Unavailable)(message) from error


async def login(settings: RegistrySettings, credentials: AuthConfig) -> AuthResponse:
    """Check credentials at their registry (``POST /auth``); raises Unauthorized or Unavailable."""
    address = credentials.serveraddress or "docker.io"
    domain = address.partition("://")[2] or address
    domain = domain.partition("/")[0]
    if domain in ("index.docker.io", "registry-1.docker.io"):
        domain = "docker.io"
    direct = replace(settings, mirrors=())  # a mirror gets no credentials, so its answer proves nothing
    async with Repository(domain, "", direct, credentials, is_offline=True) as registry:
        return await registry.check()


def explain(problem: RegistryProblem, name: str, repository: str) -> PortsideError:
    """Return the error that moby has for a registry's refusal of a pull; ``name`` is the familiar reference."""
    code = problem.code or {401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS"}.get(
        problem.status, ""
    )
    words = code.lower().replace("_", " ")
    cause = f"{words}: {problem.told or words}" if words else problem.message
    if code == "DENIED":
        told = problem.told or "requested access to the resource is denied"
        return NotFound(
            f"pull access denied for {repository}, repository does not exist or may require 'docker login': "
            f"denied: {told}",
            hint="check the name, or log in: portside login",
        )
    if code == "UNAUTHORIZED":
        told = problem.told or "authentication required"
        words = told if isinstance(problem, NoCredentials) else f"unauthorized: {told}"
        # no 401: the docker command line would ask for a user and a password, which with dockerd it does not
        return Forbidden(f"error pulling {name}: {words}", hint="log in: portside login")
    if code == "MANIFEST_UNKNOWN":
        return NotFound(f"manifest for {name} not found: {cause}", hint="check the tag")
    if code == "NAME_UNKNOWN":
        return NotFound(f"repository {repository} not found: {cause}", hint="check the name")
    if problem.status == 429 or code == "TOOMANYREQUESTS":
        return Unavailable(f"toomanyrequests: {problem.told or 'too many requests'}", hint="wait, or log in")
    return Unavailable(f"error pulling {name}: {cause}", hint="the registry fails: try again later")
