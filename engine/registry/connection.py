"""A connection to one registry: addresses, authentication, requests and what refusals say.

Built on aiohttp, which the engine has loaded anyway. Credentials are sent to the registry that they are
for and to the token server that it names, never to where it redirects or sends an upload.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from engine import __version__
from engine.errors import Internal, PortsideError, Unavailable
from engine.model.system import AuthConfig
from engine.registry.auth import Challenge, Token, basic, parse_challenges, user_and_password
from engine.registry.hosts import Endpoint, RegistrySettings, endpoints, proxy_for

Body = Callable[[], Any]
"""Makes the body of a request anew for each time that it is sent."""

Self = TypeVar("Self", bound="RegistryConnection")

_MAX_ERROR_BYTES = 64 * 1024
_CLIENT_ID = "portside"


class RegistryProblem(PortsideError):
    """What a registry answered: ``status`` and distribution's error ``code`` ("" for none)."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: float = 0) -> None:
        """``message`` is the registry's own; ``retry_after_s`` what it asks to wait."""
        words = f"{status} {http.client.responses.get(status, '')}".rstrip()
        super().__init__(message or f"received unexpected HTTP status: {words}")
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


class _TokenBody(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: int = 60
    refresh_token: str = ""


class RegistryConnection:
    """A registry, or one repository of it, with the credentials for it. Use as a context manager."""

    def __init__(
        self,
        domain: str,
        path: str,
        settings: RegistrySettings,
        credentials: AuthConfig | None = None,
        *,
        actions: str = "pull",
        is_offline: bool = False,
    ) -> None:
        """``path`` is the name without the registry (``library/busybox``); "" for the registry itself.

        ``actions`` are asked of a token server for the path; ``is_offline`` asks it for an identity token that
        can be kept instead of the password.
        """
        self.domain = domain
        self.path = path
        self.settings = settings
        self.asked = Endpoint("", "", None)
        self.refresh_token = ""
        self._credentials = credentials
        self._scopes = [f"repository:{path}:{actions}"] if path else []
        self._is_reading = actions == "pull"
        self._is_offline = is_offline
        self._session: aiohttp.ClientSession | None = None
        self._endpoints: list[Endpoint] = []
        self._tokens: dict[str, Token] = {}
        self._challenges: dict[str, Challenge] = {}
        self._basic: set[str] = set()

    async def __aenter__(self: Self) -> Self:
        """Open a session."""
        self._endpoints = await asyncio.to_thread(endpoints, self.domain, self.settings)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.settings.connect_timeout_s, sock_read=self.settings.read_timeout_s
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

    async def settle(self) -> Endpoint:
        """Find the address that answers, no mirror, and use that alone from now on; raises as ``open`` does."""
        self._endpoints = [endpoint for endpoint in self._endpoints if not endpoint.is_mirror]
        async with self.open("GET", "{base}/v2/"):
            self._endpoints = [self.asked]
        return self.asked

    def add_scope(self, scope: str) -> None:
        """Ask token servers for one more scope from now on."""
        if scope not in self._scopes:
            self._scopes.append(scope)
            self._tokens.clear()

    @asynccontextmanager
    async def open(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: Body | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request to the first address that answers it; ``{base}`` and ``{repository}`` in ``url`` are its own.

        Without a body a redirection is followed. Raises RegistryProblem for a refusal, Unavailable when no address
        answers or the connection breaks, also while the answer is read.
        """
        failure: PortsideError | None = None
        for position, endpoint in enumerate(self._endpoints):
            self.asked = endpoint
            is_last = position == len(self._endpoints) - 1
            repository = f"{endpoint.url}/v2/{self.path}/" if self.path else f"{endpoint.url}/v2/"
            place = url.replace("{repository}", repository).replace("{base}", endpoint.url)
            try:
                answer = await self._request(endpoint, method, place, headers or {}, body)
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
                raise Unavailable(f'{method.capitalize()} "{place}": {reason_of(error)}') from error
            finally:
                answer.close()
            return
        raise failure or Unavailable(f"registry {self.domain} has no address")

    def _goes_on(self, endpoint: Endpoint, error: PortsideError) -> bool:
        """Whether the next address is tried after a failure: always behind a mirror, else when none answered."""
        return endpoint.is_mirror or not isinstance(error, RegistryProblem)

    async def _request(
        self, endpoint: Endpoint, method: str, url: str, headers: dict[str, str], body: Body | None
    ) -> aiohttp.ClientResponse:
        await self._renew_token(endpoint)
        answer = await self._send(endpoint, method, url, headers, body)
        if answer.status == 401:
            problem = await read_problem(answer)
            answer.close()
            if not await self._authenticate(endpoint, answer):
                raise problem
            answer = await self._send(endpoint, method, url, headers, body)
        if answer.status >= 400:
            try:
                raise await read_problem(answer)
            finally:
                answer.close()
        return answer

    async def _renew_token(self, endpoint: Endpoint) -> None:
        """Get a new token where the last one has ended, so that no body is sent in vain."""
        token, challenge = self._tokens.get(endpoint.url), self._challenges.get(endpoint.url)
        if challenge is not None and (token is None or not token.is_fresh):
            self._tokens[endpoint.url] = await self._fetch_token(endpoint, challenge.parameters)

    async def _send(
        self, endpoint: Endpoint, method: str, url: str, headers: dict[str, str], body: Body | None
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise Internal("a registry is used outside of its context")
        target = URL(url, encoded=True)
        sent = dict(headers)
        if target.origin() == URL(endpoint.url).origin():  # an upload may be sent somewhere else
            sent |= self._authorization(endpoint)
        try:
            return await self._session.request(
                method,
                target,
                headers=sent,
                data=body() if body is not None else None,
                allow_redirects=body is None,
                ssl=endpoint.tls if endpoint.tls is not None else True,
                proxy=proxy_for(url, self.settings.proxies),
            )
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as error:
            raise Unavailable(f'{method.capitalize()} "{url}": {reason_of(error)}') from error

    def _authorization(self, endpoint: Endpoint) -> dict[str, str]:
        token = self._tokens.get(endpoint.url)
        login = user_and_password(self._credentials) if not endpoint.is_mirror else None
        if token is not None and token.is_fresh:
            return {"Authorization": f"Bearer {token.value}"}
        if endpoint.url in self._basic and login:
            return {"Authorization": basic(*login)}
        return {}

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
                self._challenges[endpoint.url] = challenge
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
        asked = parameters.get("scope", "").split()
        scopes = list(dict.fromkeys([*([] if asked and self._is_reading else self._scopes), *asked]))
        fields = [("service", parameters.get("service", "")), *(("scope", scope) for scope in scopes)]
        credentials = None if endpoint.is_mirror else self._credentials
        login = user_and_password(credentials)
        options: dict[str, Any] = {"proxy": proxy_for(realm, self.settings.proxies)}
        if realm.startswith("https://") and endpoint.tls is not None:
            options["ssl"] = endpoint.tls
        try:
            if credentials is not None and credentials.identitytoken:
                form = {
                    "grant_type": "refresh_token",
                    "refresh_token": credentials.identitytoken,
                    "service": parameters.get("service", ""),
                    "client_id": _CLIENT_ID,
                }
                form |= {"scope": " ".join(scopes)} if scopes else {}
                answer = await self._session.post(realm, data=form, **options)
            else:
                headers = {"Authorization": basic(*login)} if login else {}
                query = [*fields, *([("account", login[0])] if login else [])]
                if self._is_offline:
                    query += [("offline_token", "true"), ("client_id", _CLIENT_ID)]
                answer = await self._session.get(realm, params=query, headers=headers, **options)
            async with answer:
                if answer.status >= 400:
                    problem = await read_problem(answer)
                    if answer.status in (400, 401, 403):
                        raise TokenRefused(401, "UNAUTHORIZED", problem.told)
                    raise problem
                body = msgspec.json.decode(await answer.read(), type=_TokenBody)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise Unavailable(f"token server of {endpoint.host}: {reason_of(error)}") from error
        self.refresh_token = body.refresh_token
        value = body.token or body.access_token
        if not value:
            raise Unavailable(f"token server of {endpoint.host} gave no token")
        return Token(value, time.monotonic() + max(60, body.expires_in))


async def read_problem(answer: aiohttp.ClientResponse) -> RegistryProblem:
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


def reason_of(error: BaseException) -> str:
    """Return Go's words for why a connection failed."""
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
