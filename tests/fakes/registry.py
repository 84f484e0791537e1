"""A small registry that can misbehave: wrong digests, broken connections, refusals, silence, redirects.

It speaks the pulling half of the OCI distribution specification on the loopback.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def digest_of(data: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class FakeRegistry:
    """A registry on a free port of 127.0.0.1; use it as an asynchronous context manager.

    ``fault`` is asked first for every request and answers in the registry's place when it returns a response.
    ``login`` makes it ask for basic authentication, ``token_login`` for a bearer token of its own token server.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Nothing is served before ``__aenter__``."""
        self._tls = tls
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.requests: list[web.Request] = []
        self.fault: Fault | None = None
        self.login: tuple[str, str] | None = None
        self.token_login: tuple[str, str] | None = None
        self.has_ranges = True
        self.host = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Serve."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop."""
        if self._runner is not None:
            await self._runner.cleanup()

    # Content

    def put_blob(self, data: bytes) -> dict[str, Any]:
        """Store a blob; return its descriptor without a media type."""
        digest = digest_of(data)
        self.blobs[digest] = data
        return {"digest": digest, "size": len(data)}

    def put_manifest(self, repository: str, tag: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Store a manifest or an index under a tag and its digest; return its descriptor."""
        data = json.dumps(manifest).encode()
        digest = digest_of(data)
        for name in (tag, digest):
            self.manifests[(repository, name)] = (manifest["mediaType"], data)
        return {"mediaType": manifest["mediaType"], "digest": digest, "size": len(data)}

    def put_image(
        self,
        repository: str,
        tag: str,
        layers: list[bytes],
        *,
        is_oci: bool = False,
        compress: Callable[[bytes], bytes] = gzip.compress,
        layer_type: str = "",
        architecture: str = "amd64",
        system: str = "linux",
        config: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Store an image of these tars; return its manifest's descriptor."""
        file = {
            "architecture": architecture,
            "os": system,
            "created": "2026-01-01T00:00:00Z",
            "config": config or {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        }
        kind = layer_type or (f"{OCI_LAYER}+gzip" if is_oci else DOCKER_LAYER)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST if is_oci else DOCKER_MANIFEST,
            "config": {
                "mediaType": OCI_CONFIG if is_oci else DOCKER_CONFIG,
                **self.put_blob(json.dumps(file).encode()),
            },
            "layers": [{"mediaType": kind, **self.put_blob(compress(layer))} for layer in layers],
        }
        return self.put_manifest(repository, tag, manifest)

    def layer_digests(self, repository: str, tag: str) -> list[str]:
        """Return the digests of an image's compressed layers."""
        manifest = json.loads(self.manifests[(repository, tag)][1])
        return [layer["digest"] for layer in manifest["layers"]]

    def asked(self, part: str) -> list[web.Request]:
        """Return the requests whose path has ``part``."""
        return [request for request in self.requests if part in request.path]

    # Serving

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.fault is not None:
            answer = await self.fault(request)
            if answer is not None:
                return answer
        if request.path == "/token":
            return await self._token(request)
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        parts = request.path.removeprefix("/v2/").split("/")
        if request.path == "/v2/":
            return web.json_response({})
        repository, kind, name = "/".join(parts[:-2]), parts[-2], parts[-1]
        if kind == "manifests":
            return self._manifest(repository, name)
        if kind == "tags":
            names = sorted(tag for known, tag in self.manifests if known == repository and ":" not in tag)
            return web.json_response({"name": repository, "tags": names})
        return self._blob(request, name)

    def _refuse(self, request: web.Request) -> web.Response | None:
        sent = request.headers.get("Authorization", "")
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        if self.login is not None and sent != _basic(self.login):
            return web.json_response(body, status=401, headers={"WWW-Authenticate": 'Basic realm="fake"'})
        if self.token_login is not None and sent != "Bearer a-token":
            challenge = f'Bearer realm="{request.url.origin()}/token",service="fake",scope="repository:x:pull"'
            return web.json_response(body, status=401, headers={"WWW-Authenticate": challenge})
        return None

    async def _token(self, request: web.Request) -> web.Response:
        if request.method == "POST" and (await request.post()).get("refresh_token") == "a-refresh-token":
            return web.json_response({"access_token": "a-token", "expires_in": 300})
        if self.token_login is None or request.headers.get("Authorization", "") != _basic(self.token_login):
            return web.json_response({"details": "incorrect username or password"}, status=401)
        answer: dict[str, Any] = {"token": "a-token", "expires_in": 300}
        if request.query.get("offline_token") == "true":
            answer["refresh_token"] = "a-refresh-token"
        return web.json_response(answer)

    def _manifest(self, repository: str, name: str) -> web.Response:
        found = self.manifests.get((repository, name))
        if found is None:
            return web.json_response(
                {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}, status=404
            )
        return web.Response(body=found[1], headers={"Content-Type": found[0]})

    def _blob(self, request: web.Request, digest: str) -> web.Response:
        data = self.blobs.get(digest)
        if data is None:
            return web.json_response({"errors": [{"code": "BLOB_UNKNOWN", "message": "blob unknown"}]}, status=404)
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if start and self.has_ranges:
            span = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return web.Response(body=data[start:], status=206, headers={"Content-Range": span})
        return web.Response(body=data)


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


async def cut_off(request: web.Request, data: bytes, sent: int) -> web.StreamResponse:
    """Answer with ``data`` and break the connection after ``sent`` bytes; a range is honoured."""
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    response = web.StreamResponse(status=206 if start else 200, headers={"Content-Length": str(len(data) - start)})
    await response.prepare(request)
    await response.write(data[start : start + sent])
    await asyncio.sleep(0.05)  # what was written is on its way before the connection breaks
    if request.transport is not None:
        request.transport.abort()
    return response
