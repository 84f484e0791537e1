"""``POST /commit`` and what else concerns a container's file system as a whole: its changes, its export."""

from __future__ import annotations

from contextlib import aclosing

from aiohttp import web

from engine.containers.snapshots import CommitRequest, ContainerSnapshots
from engine.errors import InvalidArgument
from engine.images.changes import apply_changes
from engine.model.commit import CommitResponse
from engine.model.container import ContainerConfig, ContainerCreateRequest
from engine.model.image import ImageConfig
from engine.server.gojson import read_json
from engine.server.http import Route, json_response, query_bool, raw_json_response, read_body
from engine.wire.references import Reference, parse_reference


class CommitApi:
    """Handlers over a ContainerSnapshots."""

    def __init__(self, snapshots: ContainerSnapshots) -> None:
        """Serve ``snapshots``."""
        self._snapshots = snapshots

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("POST", "/commit", self.commit),
            Route("GET", "/containers/{name}/changes", self.changes),
            Route("GET", "/containers/{name}/export", self.export),
        ]

    async def commit(self, request: web.Request) -> web.StreamResponse:
        """``ImageCommit``: 201 with the image's ID."""
        config = await _config(request)
        query = request.query
        reference = repo_tag_reference(query.get("repo", ""), query.get("tag", ""))
        changes = query.getall("changes", [])

        def change(chosen: ImageConfig) -> None:
            apply_changes(chosen, changes)

        wanted = CommitRequest(
            pause=query_bool(request, "pause", default=True),
            config=config,
            change=change if changes else None,
            author=query.get("author", ""),
            comment=query.get("comment", ""),
            reference=reference,
        )
        image_id = await self._snapshots.commit(query.get("container", ""), wanted)
        return json_response(CommitResponse(id=image_id), 201)

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """``ContainerChanges``: null when there are none, as Go has it."""
        found = await self._snapshots.changes(request.match_info["name"])
        return json_response(found) if found else raw_json_response(b"null\n")

    async def export(self, request: web.Request) -> web.StreamResponse:
        """``ContainerExport``: a tar."""
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        async with aclosing(self._snapshots.export(request.match_info["name"])) as blocks:
            async for block in blocks:
                if not response.prepared:
                    await response.prepare(request)
                await response.write(block)
        await response.write_eof()
        return response


async def _config(request: web.Request) -> ContainerConfig | None:
    """Return the configuration in the body; None for an empty one, ``null`` and ``{}``.

    Raises InvalidArgument with Docker's texts.
    """
    data = await read_body(request)
    content_type = request.headers.get("Content-Type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json" and (data.strip() or content_type):
        if not content_type:
            raise InvalidArgument("malformed Content-Type header (): mime: no media type")
        raise InvalidArgument(f"unsupported Content-Type header ({content_type}): must be 'application/json'")
    if not data.strip():
        return None
    config = read_json(data, ContainerCreateRequest)
    return config if config != ContainerCreateRequest() else None


def repo_tag_reference(repository: str, tag: str) -> Reference | None:
    """Return what ``repo`` and ``tag`` of a query mean together, None for no repository.

    Raises InvalidArgument with moby's texts.
    """
    if not repository:
        return None
    reference = parse_reference(repository)
    if reference.digest:
        raise InvalidArgument("cannot import digest reference")
    return reference.with_tag(tag) if tag else reference.with_default_tag()
