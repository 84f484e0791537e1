"""A client of registries (OCI distribution-spec 1.1): manifests and blobs, with authentication and retries.

Built on aiohttp, which the engine has loaded anyway. Credentials are sent to the registry that they are
for and to the token server that it names, never to where it redirects.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from engine import __version__
from engine.errors import Forbidden, Internal, NotFound, PortsideError, Unauthorized, Unavailable
from engine.images.blobs import digest_of
from engine.model.system import AuthConfig, AuthResponse
from engine.registry.auth import Token, basic, parse_challenges, user_and_password
from engine.registry.hosts import Endpoint, RegistrySettings, endpoints, proxy_for

log = logging.getLogger(__name__)

MANIFEST_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
_MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_MAX_TAGS_BYTES = 16 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_TRIES = 3
_FIRST_PAUSE_S = 0.2
_MAX_PAUSE_S = 10.0
_CLIENT_ID = "portside"


class RegistryProblem(PortsideError):
    """What a registry answered: ``status`` and distribution's error ``code`` ("" for none)."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: float = 0) -> None:
        """``message`` is the registry's own; ``retry_after_s`` what it asks to wait."""
        super().__init__(message or f"received unexpected HTTP status: {status}")
        self.status = status
        self.code = code
        self.told = message
        self.retry_after_s = retry_after_s


class TokenRefused(RegistryProblem):
    """The token server does not take the credentials."""


class NoCredentials(RegistryProblem):
    """The registry wants a user and a password, and there are none."""


class _ErrorItem(msgspec.Struct):
    code: str = ""
    message: str = ""


class _ErrorBody(msgspec.Struct):
    errors: list[_ErrorItem] | None = None
    details: str = ""


class _TagsBody(msgspec.Struct):
    tags: list[str] | None = None


class _TokenBody(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: int = 60
    refresh_token: str = ""


class Repository:
    """One repository of a registry with the credentials for it. Use as a context manager."""

    def __init__(
        self,
        domain: str,
        path: str,
        settings: RegistrySettings,
        credentials: AuthConfig | None = None,
        *,
        is_offline: bool = False,
    ) -> None:
        """``path`` is the name without the registry (``library/busybox``); "" for the registry itself.

        ``is_offline`` asks a token server for an identity token that can be kept instead of the password.
        """
        self._domain = domain
        self._path = path
        self._settings = settings
        self._credentials = credentials
        self._session: aiohttp.ClientSession | None = None
        self._endpoints: list[Endpoint] = []
        self._tokens: dict[str, Token] = {}
        self._basic: set[str] = set()
        self._asked = Endpoint("", "", None)
        self._is_offline = is_offline
        self._refresh_token = ""

    async def __aenter__(self) -> Repository:
        """Open a session."""
        self._endpoints = await asyncio.to_thread(endpoints, self._domain, self._settings)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._settings.connect_timeout_s, sock_read=self._settings.read_timeout_s
        )
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            auto_decompress=False,
            headers={"User-Agent": f"portside/{__version__}"},
            connector=aiohttp.TCPConnector(limit_per_host=6),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the session."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

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
                raise Unavailable(f"registry {self._domain} sent no list of tags: {error}") from error
            following = answer.links.get("next")
            query = URL(str(following["url"])).query_string if following else ""
            what = f"tags/list?{query}" if query else ""
        return found

    async def _read(self, what: str, headers: dict[str, str], limit: int) -> tuple[bytes, aiohttp.ClientResponse]:
        """Return a small answer; a registry that is busy or failing is asked again, twice."""
        pause_s, tries = _FIRST_PAUSE_S, 0
        while True:
            try:
                async with self._get(what, headers) as answer:
                    data = bytearray()
                    async for block in answer.content.iter_any():
                        data += block
                        if len(data) > limit:
                            raise Internal(f"{what} of {self._domain}/{self._path} is larger than {limit} bytes")
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
        async with self._get(f"blobs/{digest}", headers) as answer:
            yield answer.content.iter_any(), offset if answer.status == 206 else 0

    async def check(self) -> AuthResponse:
        """Prove the credentials at the registry's base (``docker login``); raises Unauthorized when it refuses them."""
        try:
            async with self._get("", {}):
                return AuthResponse(status="Login Succeeded", identity_token=self._refresh_token)
        except RegistryProblem as error:
            if isinstance(error, TokenRefused):
                told = error.told or "incorrect username or password"
                raise Unauthorized(f'Get "{self._asked.url}/v2/": unauthorized: {told}') from error
            words = http.client.responses.get(error.status, "")
            message = f"login attempt to {self._asked.url}/v2/ failed with status: {error.status} {words}".rstrip()
            raise (Unauthorized if error.status in (401, 403) else Unavailable)(message) from error

    @asynccontextmanager
    async def _get(self, what: str, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a GET to the first address that answers it."""
        failure: PortsideError | None = None
        for position, endpoint in enumerate(self._endpoints):
            self._asked = endpoint
            is_last = position == len(self._endpoints) - 1
            base = f"{endpoint.url}/v2/" + (f"{self._path}/" if self._path else "")
            try:
                answer = await self._request(endpoint, base + what, headers)
            except PortsideError as error:
                failure = error
                if is_last or not self._goes_on(endpoint, error):
                    raise
                continue
            if not endpoint.is_mirror and position:
                self._endpoints = [endpoint]  # plain HTTP works: TLS is not tried again
            try:
                yield answer
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Unavailable(f'Get "{base}{what}": {_reason(error)}') from error
            finally:
                answer.close()
            return
        raise failure or Unavailable(f"registry {self._domain} has no address")

    def _goes_on(self, endpoint: Endpoint, error: PortsideError) -> bool:
        """Whether the next address is tried after a failure: always behind a mirror, else when none answered."""
        return endpoint.is_mirror or not isinstance(error, RegistryProblem)

    async def _request(self, endpoint: Endpoint, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        answer = await self._send(endpoint, url, headers)
        if answer.status == 401:
            problem = await _problem(answer)
            answer.close()
            if not await self._authenticate(endpoint, answer):
                raise problem
            answer = await self._send(endpoint, url, headers)
        if answer.status >= 400:
            try:
                raise await _problem(answer)
            finally:
                answer.close()
        return answer

    async def _send(self, endpoint: Endpoint, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        if self._session is None:
            raise Internal("a registry is used outside of its context")
        sent = dict(headers)
        token = self._tokens.get(endpoint.url)
        login = user_and_password(self._credentials) if not endpoint.is_mirror else None
        if token is not None and token.is_fresh:
            sent["Authorization"] = f"Bearer {token.value}"
        elif endpoint.url in self._basic and login:
            sent["Authorization"] = basic(*login)
        try:
            return await self._session.get(
                URL(url, encoded=True),
                headers=sent,
                ssl=endpoint.tls if endpoint.tls is not None else True,
                proxy=proxy_for(url, self._settings.proxies),
            )
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as error:
            raise Unavailable(f'Get "{url}": {_reason(error)}') from error

    async def _authenticate(self, endpoint: Endpoint, answer: aiohttp.ClientResponse) -> bool:
        """Do what a 401 asks for; returns whether there is something new to try."""
        login = user_and_password(self._credentials) if not endpoint.is_mirror else None
        registry_token = self._credentials.registrytoken if self._credentials and not endpoint.is_mirror else ""
        for challenge in parse_challenges(answer.headers.getall("WWW-Authenticate", [])):
            if challenge.scheme == "bearer":
                had = self._tokens.pop(endpoint.url, None)
                if registry_token:
                    if had is not None:
                        return False
                    self._tokens[endpoint.url] = Token(registry_token, time.monotonic() + 3600)
                    return True
                self._tokens[endpoint.url] = await self._fetch_token(endpoint, challenge.parameters)
                return True
            if challenge.scheme == "basic" and endpoint.url not in self._basic:
                if not login:
                    raise NoCredentials(401, "UNAUTHORIZED", "no basic auth credentials")
                self._basic.add(endpoint.url)
                return True
        return False

    async def _fetch_token(self, endpoint: Endpoint, parameters: dict[str, str]) -> Token:
        if self._session is None:
            raise Internal("a registry is used outside of its context")
        realm = parameters.get("realm", "")
        if not realm.startswith(("https://", "http://")):
            raise Unavailable(f"registry {endpoint.host} names no token server")
        scope = parameters.get("scope") or (f"repository:{self._path}:pull" if self._path else "")
        fields = {"service": parameters.get("service", "")} | ({"scope": scope} if scope else {})
        credentials = None if endpoint.is_mirror else self._credentials
        login = user_and_password(credentials)
        options: dict[str, Any] = {"proxy": proxy_for(realm, self._settings.proxies)}
        if realm.startswith("https://") and endpoint.tls is not None:
            options["ssl"] = endpoint.tls
        try:
            if credentials is not None and credentials.identitytoken:
                form = fields | {"grant_type": "refresh_token", "refresh_token": credentials.identitytoken}
                answer = await self._session.post(realm, data=form | {"client_id": _CLIENT_ID}, **options)
            else:
                headers = {"Authorization": basic(*login)} if login else {}
                query = fields | ({"account": login[0]} if login else {})
                if self._is_offline:
                    query |= {"offline_token": "true", "client_id": _CLIENT_ID}
                answer = await self._session.get(realm, params=query, headers=headers, **options)
            async with answer:
                if answer.status >= 400:
                    problem = await _problem(answer)
                    if answer.status in (400, 401, 403):
                        raise TokenRefused(401, "UNAUTHORIZED", problem.told)
                    raise problem
                body = msgspec.json.decode(await answer.read(), type=_TokenBody)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise Unavailable(f"token server of {endpoint.host}: {_reason(error)}") from error
        self._refresh_token = body.refresh_token
        value = body.token or body.access_token
        if not value:
            raise Unavailable(f"token server of {endpoint.host} gave no token")
        return Token(value, time.monotonic() + max(60, body.expires_in))


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


async def _problem(answer: aiohttp.ClientResponse) -> RegistryProblem:
    """Return what a registry says is wrong: its challenge's reason (RFC 6750) or else its first error."""
    data = bytearray()
    try:
        async for block in answer.content.iter_any():
            data += block
            if len(data) > _MAX_ERROR_BYTES:
                break
        body = msgspec.json.decode(data, type=_ErrorBody)
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        body = _ErrorBody()
    item = body.errors[0] if body.errors else _ErrorItem()
    for challenge in parse_challenges(answer.headers.getall("WWW-Authenticate", [])):
        if challenge.parameters.get("error") == "insufficient_scope":
            told = challenge.parameters.get("error_description") or "requested access to the resource is denied"
            item = _ErrorItem("DENIED", told)
    after = answer.headers.get("Retry-After", "")
    message = item.message or body.details
    return RegistryProblem(answer.status, item.code, message, float(after) if after.isdigit() else 0)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "net/http: timeout awaiting response"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, socket.gaierror):
            return f"dial tcp: lookup {error.host}: no such host"
        words = os.strerror(cause.errno).lower() if cause.errno else str(cause)
        return f"dial tcp {error.host}:{error.port}: connect: {words}"
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)):
        return "unexpected EOF"
    return str(error) or type(error).__name__


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
