"""Image operations. ``ref`` is a name with tag or digest, an ID, or a unique beginning of one."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterable, Sequence

import msgspec

from engine.client.connection import EngineConnection, Filters, decode_answer, encode_filters
from engine.client.streams import ProgressStream, Stream
from engine.model.image import HistoryItem, ImageDelete, ImageInspect, ImagesPruneReport, ImageSummary
from engine.model.system import AuthConfig

LONG_TIMEOUT_S = 600.0


class SearchResult(msgspec.Struct, kw_only=True):
    """One row of ``GET /images/search``."""

    name: str = ""
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


def encode_auth(credentials: AuthConfig | None) -> dict[str, str]:
    """Return the header that carries credentials (``X-Registry-Auth``: base64url of JSON), nothing for none."""
    if credentials is None:
        return {}
    data = {key: value for key, value in msgspec.to_builtins(credentials).items() if value}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(msgspec.json.encode(data)).decode()}


HistoryItems = list[HistoryItem]
ImageDeletes = list[ImageDelete]
SearchResults = list[SearchResult]


class ImagesApi:
    """Images (``client.images``)."""

    def __init__(self, connection: EngineConnection) -> None:
        """Made by ``EngineClient``."""
        self._connection = connection

    async def list(
        self,
        *,
        all: bool = False,  # noqa: A002 - the API's word
        shared_size: bool = False,
        digests: bool = False,
        manifests: bool = False,
        filters: Filters | None = None,
    ) -> list[ImageSummary]:
        """Return images, newest first (ImageList)."""
        query = {
            "manifests": True if manifests else None,
            "all": True if all else None,
            "shared-size": True if shared_size else None,
            "digests": True if digests else None,
            "filters": encode_filters(filters),
        }
        return await self._connection.get("/images/json", list[ImageSummary], query)

    async def inspect(self, ref: str) -> ImageInspect:
        """Return everything of one image (ImageInspect)."""
        return decode_answer(await self.inspect_raw(ref), ImageInspect)

    async def inspect_raw(self, ref: str, platform: str = "") -> bytes:
        """Return the engine's own JSON of one image."""
        return await self._connection.call("GET", f"/images/{ref}/json", {"platform": encode_platform(platform)})

    async def history(self, ref: str, platform: str = "") -> HistoryItems:
        """Return an image's steps, newest first (ImageHistory)."""
        query = {"platform": encode_platform(platform)}
        return await self._connection.get(f"/images/{ref}/history", HistoryItems, query)

    def pull(
        self, name: str, *, tag: str = "", platform: str = "", credentials: AuthConfig | None = None
    ) -> ProgressStream:
        """Pull an image (ImageCreate); ``tag`` may be a digest; both empty pulls every tag of ``name``.

        Closing the stream gives the pull up. Raises NotFound, Unauthorized, or Internal with the stream's error.
        """
        query = {"fromImage": name, "tag": tag or None, "platform": platform or None}
        return self._connection.progress_stream("/images/create", query, headers=encode_auth(credentials))

    def import_(
        self,
        source: AsyncIterable[bytes] | str,
        *,
        repo: str = "",
        tag: str = "",
        message: str = "",
        changes: Sequence[str] | None = None,
        platform: str = "",
    ) -> ProgressStream:
        """Make an image of a root file system's tar (ImageCreate): bytes, or a URL that the engine fetches."""
        query: dict[str, str | int | bool | None] = {
            "fromSrc": source if isinstance(source, str) else "-",
            "repo": repo or None,
            "tag": tag or None,
            "message": message or None,
            "platform": platform or None,
        }
        body = None if isinstance(source, str) else source
        # The API takes one ``changes`` a line of a Dockerfile, joined by line breaks.
        if changes:
            query["changes"] = "\n".join(changes)
        return self._connection.progress_stream("/images/create", query, body=body)

    async def tag(self, ref: str, repo: str, tag: str = "") -> None:
        """Give an image a further name (ImageTag)."""
        await self._connection.call("POST", f"/images/{ref}/tag", {"repo": repo, "tag": tag or None})

    async def remove(
        self, ref: str, *, force: bool = False, prune: bool = True, platforms: Sequence[str] | None = None
    ) -> ImageDeletes:
        """Remove a name, and the image with its last one (ImageDelete); raises Conflict while it is used.

        ``platforms`` removes the images for these alone, which needs ``force``.
        """
        query: dict[str, str | int | bool | None] = {
            "force": True if force else None,
            "noprune": None if prune else True,
        }
        encoded = [("platforms", encode_platform(platform) or "") for platform in platforms or ()]
        answer = await self._connection.call(
            "DELETE", f"/images/{ref}", query, timeout_s=LONG_TIMEOUT_S, repeated=encoded
        )
        return decode_answer(answer, ImageDeletes)

    def save(self, refs: Sequence[str], platform: str = "") -> Stream[bytes]:
        """Read images as one archive (ImageGetAll), in the pieces in which it comes."""
        query = {"platform": encode_platform(platform)}
        return self._connection.bytes_stream("/images/get", query, repeated=[("names", ref) for ref in refs])

    def load(self, source: AsyncIterable[bytes], *, quiet: bool = False, platform: str = "") -> ProgressStream:
        """Load an archive of images (ImageLoad); what was loaded comes as ``stream`` lines."""
        query = {"quiet": quiet, "platform": encode_platform(platform)}
        headers = {"Content-Type": "application/x-tar"}
        return self._connection.progress_stream("/images/load", query, headers=headers, body=source)

    async def prune(self, filters: Filters | None = None) -> ImagesPruneReport:
        """Remove unused images (ImagePrune)."""
        query = {"filters": encode_filters(filters)}
        answer = await self._connection.call("POST", "/images/prune", query, timeout_s=LONG_TIMEOUT_S)
        return decode_answer(answer, ImagesPruneReport)

    def push(
        self, name: str, *, tag: str = "", platform: str = "", credentials: AuthConfig | None = None
    ) -> ProgressStream:
        """Push an image (ImagePush); without a tag every tag of ``name``. Closing the stream gives the push up."""
        query = {"tag": tag or None, "platform": encode_platform(platform)}
        headers = encode_auth(credentials) or {"X-Registry-Auth": "e30="}  # older engines insist on one
        return self._connection.progress_stream(f"/images/{name}/push", query, headers=headers)

    async def search(
        self,
        term: str,
        *,
        limit: int | None = None,
        filters: Filters | None = None,
        credentials: AuthConfig | None = None,
    ) -> SearchResults:
        """Search the registry for images (ImageSearch)."""
        query = {"term": term, "limit": limit, "filters": encode_filters(filters)}
        answer = await self._connection.call("GET", "/images/search", query, headers=encode_auth(credentials))
        return decode_answer(answer, SearchResults)


def encode_platform(platform: str) -> str | None:
    """Return ``linux/arm64/v8`` as the JSON that newer operations take, None for none."""
    if not platform:
        return None
    os, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    fields = {"os": os, "architecture": architecture, "variant": variant}
    return msgspec.json.encode({key: value for key, value in fields.items() if value}).decode()
