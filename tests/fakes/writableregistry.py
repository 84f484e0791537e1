"""The fake registry's other half: uploads, mounts and manifests, with faults in the middle of them."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field

from aiohttp import web

from tests.fakes.registry import FakeRegistry, digest_of


@dataclass
class Upload:
    """One upload: what came, in which pieces."""

    repository: str
    data: bytearray = field(default_factory=bytearray)
    pieces: list[int] = field(default_factory=list)


class WritableRegistry(FakeRegistry):
    """A registry that can be pushed to.

    ``break_after`` cuts the connection of an upload when that many bytes of it have come, once; ``forgets`` lets a
    broken upload be unknown afterwards. ``owned`` has (repository, digest) of each blob that a repository has.
    ``first_token`` counts up when tokens are to be taken for expired.
    """

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self.uploads: dict[str, Upload] = {}
        self.finished: list[Upload] = []
        self.cancelled: list[str] = []
        self.owned: set[tuple[str, str]] = set()
        self.break_after: int | None = None
        self.forgets = False
        self.can_mount = True
        self.token_number = 0
        self.tokens_given = 0
        self.scopes: list[list[str]] = []
        self.begun = asyncio.Event()

    def expire(self) -> None:
        """Take no token any more that was given before."""
        self.token_number += 1

    # Tokens that end

    def _refuse(self, request: web.Request) -> web.Response | None:
        if self.token_login is None:
            return super()._refuse(request)
        if request.headers.get("Authorization", "") == f"Bearer token-{self.token_number}":
            return None
        challenge = f'Bearer realm="{request.url.origin()}/token",service="fake"'
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        return web.json_response(body, status=401, headers={"WWW-Authenticate": challenge})

    async def _token(self, request: web.Request) -> web.Response:
        answer = await super()._token(request)
        if answer.status != 200:
            return answer
        self.tokens_given += 1
        fields = await request.post() if request.method == "POST" else request.query
        self.scopes.append([str(item) for item in fields.getall("scope", [])])
        return web.json_response({"token": f"token-{self.token_number}", "expires_in": 300})

    # Writing

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/v2/")
        is_upload = "/blobs/uploads/" in path
        is_written = request.method in ("PUT", "POST", "PATCH", "DELETE") or is_upload
        if not is_written and not (request.method == "HEAD" and "/blobs/" in path):
            return await super()._answer(request)
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
        if is_upload:
            repository, _, upload_id = path.partition("/blobs/uploads/")
            return await self._upload(request, repository, upload_id)
        if request.method == "HEAD":
            repository, _, digest = path.partition("/blobs/")
            return web.Response(status=200 if (repository, digest) in self.owned else 404)
        return await self._put_manifest(request, path)

    async def _upload(self, request: web.Request, repository: str, upload_id: str) -> web.StreamResponse:
        if request.method == "POST":
            return self._begin(request, repository)
        upload = self.uploads.get(upload_id)
        if upload is None:
            return web.json_response({"errors": [{"code": "BLOB_UPLOAD_UNKNOWN", "message": "unknown"}]}, status=404)
        if request.method == "DELETE":
            self.cancelled.append(upload_id)
            del self.uploads[upload_id]
            return web.Response(status=204)
        if request.method == "GET":
            return self._where(204, upload_id)
        if request.method == "PATCH":
            return await self._patch(request, upload, upload_id)
        upload.data += await request.read()
        digest = request.query["digest"]
        if digest_of(bytes(upload.data)) != digest:
            return web.json_response({"errors": [{"code": "DIGEST_INVALID", "message": "wrong"}]}, status=400)
        self.blobs[digest] = bytes(upload.data)
        self.owned.add((repository, digest))
        self.finished.append(self.uploads.pop(upload_id))
        return web.Response(status=201)

    def _begin(self, request: web.Request, repository: str) -> web.Response:
        digest, source = request.query.get("mount", ""), request.query.get("from", "")
        if digest and self.can_mount and (source, digest) in self.owned:
            self.owned.add((repository, digest))
            return web.Response(status=201)
        upload_id = secrets.token_hex(8)
        self.uploads[upload_id] = Upload(repository)
        return self._where(202, upload_id)

    def _where(self, status: int, upload_id: str) -> web.Response:
        upload = self.uploads[upload_id]
        last = max(0, len(upload.data) - 1)
        place = f"/v2/{upload.repository}/blobs/uploads/{upload_id}?state={len(upload.data)}"
        return web.Response(status=status, headers={"Location": place, "Range": f"0-{last}"})

    async def _patch(self, request: web.Request, upload: Upload, upload_id: str) -> web.StreamResponse:
        span = request.headers.get("Content-Range", "")
        if span and int(span.partition("-")[0]) != len(upload.data):
            return web.Response(status=416)
        before = len(upload.data)
        async for block in request.content.iter_any():
            upload.data += block
            self.begun.set()
            if self.break_after is not None and len(upload.data) >= self.break_after:
                self.break_after = None
                if self.forgets:
                    del self.uploads[upload_id]
                assert request.transport is not None
                request.transport.abort()
                break
        upload.pieces.append(len(upload.data) - before)
        if upload_id not in self.uploads:
            return web.Response(status=404)
        return self._where(202, upload_id)

    async def _put_manifest(self, request: web.Request, path: str) -> web.Response:
        repository, _, name = path.partition("/manifests/")
        data = await request.read()
        media_type = request.headers["Content-Type"]
        for key in (name, digest_of(data)):
            self.manifests[(repository, key)] = (media_type, data)
        return web.Response(status=201, headers={"Docker-Content-Digest": digest_of(data)})
