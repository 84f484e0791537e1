"""Operations tagged Container (API 1.51), but for archives, export, changes and commit."""

from __future__ import annotations

from contextlib import aclosing

import msgspec
from aiohttp import web
from msgspec import UNSET

from engine.containers.attach import parse_detach_keys
from engine.containers.listing import ALLOWED_FILTERS, ContainerListing, build_query
from engine.containers.manager import ContainerManager
from engine.containers.paths import ContainerPaths
from engine.containers.questions import ContainerQuestions
from engine.errors import InvalidArgument, NotSupported, PortsideError
from engine.model.container import (
    ContainerCreateRequest,
    ContainerCreateResponse,
    ContainersPruneReport,
    ContainerUpdateRequest,
    ContainerUpdateResponse,
    WaitExitError,
    WaitResponse,
)
from engine.model.record import ContainerRecord
from engine.runtime.inotify import Inotify
from engine.server.exec import terminal_size
from engine.server.http import (
    Route,
    api_version,
    decode_body,
    empty_response,
    json_response,
    query_bool,
    query_int,
    raw_json_response,
)
from engine.server.networks import with_old_aliases
from engine.server.output import OutputApi
from engine.wire.filters import match_labels, parse_filters
from engine.wire.times import parse_moment

_MAX_EMPTY_BODY = 7  # bytes: what moby lets pass as no body


class ContainersApi:
    """Handlers over a ContainerManager."""

    def __init__(
        self,
        manager: ContainerManager,
        questions: ContainerQuestions,
        listing: ContainerListing,
        paths: ContainerPaths,
        inotify: Inotify,
    ) -> None:
        """Serve ``manager``."""
        self._manager = manager
        self._questions = questions
        self._listing = listing
        self._output = OutputApi(manager, paths, inotify)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("GET", "/containers/json", self.list),
            Route("GET", "/containers/{name}/json", self.inspect),
            Route("GET", "/containers/{name}/top", self.top),
            Route("GET", "/containers/{name}/stats", self.stats),
            Route("POST", "/containers/create", self.create),
            Route("POST", "/containers/prune", self.prune, since=(1, 25)),
            Route("POST", "/containers/{name}/start", self.start),
            Route("POST", "/containers/{name}/stop", self.stop),
            Route("POST", "/containers/{name}/restart", self.restart),
            Route("POST", "/containers/{name}/kill", self.kill),
            Route("POST", "/containers/{name}/pause", self.pause),
            Route("POST", "/containers/{name}/unpause", self.unpause),
            Route("POST", "/containers/{name}/wait", self.wait),
            Route("POST", "/containers/{name}/rename", self.rename),
            Route("POST", "/containers/{name}/update", self.update),
            Route("POST", "/containers/{name}/resize", self.resize),
            Route("GET", "/containers/{name}/checkpoints", self.checkpoints, since=(1, 25)),
            Route("POST", "/containers/{name}/checkpoints", self.checkpoints, since=(1, 25)),
            Route("DELETE", "/containers/{name}/checkpoints/{checkpoint}", self.checkpoints, since=(1, 25)),
            Route("DELETE", "/containers/{name}", self.remove),
            *self._output.routes(),
        ]

    async def checkpoints(self, request: web.Request) -> web.StreamResponse:
        """``CheckpointList``, ``CheckpointCreate`` and ``CheckpointDelete``: 501, as without experimental features."""
        raise NotSupported(
            "This experimental feature is disabled by default. "
            "Start the Docker daemon in experimental mode in order to enable it."
        )

    async def create(self, request: web.Request) -> web.StreamResponse:
        """``ContainerCreate``: 201 with ID and warnings."""
        body = await decode_body(request, ContainerCreateRequest)
        name = request.query.get("name", "")
        platform = request.query.get("platform") or None
        container_id, warnings = await self._manager.create(body, name, platform, api_version(request))
        return json_response(ContainerCreateResponse(id=container_id, warnings=warnings), 201)

    async def start(self, request: web.Request) -> web.StreamResponse:
        """``ContainerStart``: 204, or 304 when it runs."""
        if request.query.get("checkpoint"):
            raise InvalidArgument("checkpoint is only supported in experimental mode")
        if (request.content_length or 0) > _MAX_EMPTY_BODY or request.headers.get("Transfer-Encoding"):
            raise InvalidArgument(
                "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
            )
        if request.query.get("detachKeys"):
            parse_detach_keys(request.query["detachKeys"])
        await self._manager.start(request.match_info["name"])
        return empty_response()

    async def stop(self, request: web.Request) -> web.StreamResponse:
        """``ContainerStop``: 204, or 304 when it does not run."""
        await self._manager.stop(
            request.match_info["name"], timeout_s=query_int(request, "t"), signal=stop_signal(request)
        )
        return empty_response()

    async def restart(self, request: web.Request) -> web.StreamResponse:
        """``ContainerRestart``: 204."""
        await self._manager.restart(
            request.match_info["name"], timeout_s=query_int(request, "t"), signal=stop_signal(request)
        )
        return empty_response()

    async def kill(self, request: web.Request) -> web.StreamResponse:
        """``ContainerKill``: 204; 409 when it does not run."""
        await self._manager.kill(request.match_info["name"], request.query.get("signal", ""))
        return empty_response()

    async def pause(self, request: web.Request) -> web.StreamResponse:
        """``ContainerPause``: 204."""
        await self._manager.pause(request.match_info["name"])
        return empty_response()

    async def unpause(self, request: web.Request) -> web.StreamResponse:
        """``ContainerUnpause``: 204."""
        await self._manager.unpause(request.match_info["name"])
        return empty_response()

    async def rename(self, request: web.Request) -> web.StreamResponse:
        """``ContainerRename``: 204."""
        await self._manager.rename(request.match_info["name"], request.query.get("name", ""))
        return empty_response()

    async def update(self, request: web.Request) -> web.StreamResponse:
        """``ContainerUpdate``: 200 with warnings."""
        body = await decode_body(request, ContainerUpdateRequest, optional=True)
        if api_version(request) < (1, 40):
            body.pids_limit = None
        if api_version(request) >= (1, 42):
            body.kernel_memory = UNSET
        warnings = await self._manager.update(request.match_info["name"], body)
        return json_response(ContainerUpdateResponse(warnings=warnings or None))

    async def resize(self, request: web.Request) -> web.StreamResponse:
        """``ContainerResize``: 200 without a body."""
        rows, columns = terminal_size(request)
        self._manager.resize(request.match_info["name"], rows, columns)
        return empty_response(200)

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """``ContainerDelete``: 204."""
        if query_bool(request, "link"):
            raise InvalidArgument("Conflict, cannot remove the default link name of the container")
        await self._manager.remove(
            request.match_info["name"], force=query_bool(request, "force"), volumes=query_bool(request, "v")
        )
        return empty_response()

    async def wait(self, request: web.Request) -> web.StreamResponse:
        """``ContainerWait``: the head goes out at once (from API 1.30 on), the exit code when it is known."""
        knows_conditions = api_version(request) >= (1, 30)
        condition = request.query.get("condition", "") if knows_conditions else ""
        future = await self._manager.wait(request.match_info["name"], condition)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            if knows_conditions:
                await response.prepare(request)
            answer = WaitResponse(status_code=await future)
        except PortsideError as error:
            answer = WaitResponse(status_code=0, error=WaitExitError(message=error.message))
        finally:
            future.cancel()
        await response.prepare(request)
        await response.write(msgspec.json.encode(answer) + b"\n")
        await response.write_eof()
        return response

    async def inspect(self, request: web.Request) -> web.StreamResponse:
        """``ContainerInspect``."""
        container = self._manager.get(request.match_info["name"])
        view = await self._questions.inspect(container, size=query_bool(request, "size"))
        if api_version(request) < (1, 45):
            view.network_settings.networks = with_old_aliases(view)
        return json_response(view)

    async def top(self, request: web.Request) -> web.StreamResponse:
        """``ContainerTop``: ps of the container's processes."""
        return json_response(await self._questions.top(request.match_info["name"], request.query.get("ps_args", "")))

    async def stats(self, request: web.Request) -> web.StreamResponse:
        """``ContainerStats``: once a second, or once with ``stream=0`` (``one-shot``: without the second before)."""
        container = self._manager.get(request.match_info["name"])
        is_stream = query_bool(request, "stream", default=True)
        one_shot = query_bool(request, "one-shot") and api_version(request) >= (1, 41)
        if one_shot and is_stream:
            raise InvalidArgument("cannot have stream=true and one-shot=true")
        statistics = self._questions.statistics
        if not is_stream and (one_shot or not container.is_running):
            return raw_json_response(await statistics.once(container))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        async with aclosing(statistics.stream(container)) as figures:
            if is_stream:
                await response.prepare(request)
            else:
                await anext(figures, None)  # only the second one knows what came before
                last = await anext(figures, None)
                return raw_json_response(last or await statistics.once(container))
            async for item in figures:
                await response.write(item)
        await response.write_eof()
        return response

    async def list(self, request: web.Request) -> web.StreamResponse:
        """``ContainerList``."""
        query = build_query(
            all_=query_bool(request, "all"),
            limit=query_int(request, "limit", 0) or 0,
            filters=parse_filters(request.query.get("filters", ""), ALLOWED_FILTERS),
            find=self._manager.index.find,
            find_image=self._questions.image_id,
        )
        records = self._listing.select(query, self._manager.index.records())
        sizes = None
        if query_bool(request, "size"):
            sizes = {record.id: await self._questions.sizes(record) for record in records}
        annotations = api_version(request) >= (1, 46)
        return raw_json_response(self._listing.encode(records, sizes, annotations=annotations))

    async def prune(self, request: web.Request) -> web.StreamResponse:
        """``ContainerPrune``: 200 with what went; filters ``until`` and ``label``."""
        filters = parse_filters(request.query.get("filters", ""), ("label", "label!", "until"))
        until = filters.get("until", [])
        if len(until) > 1:
            raise InvalidArgument("more than one until filter specified")
        until_ns = parse_moment(until[0]) if until else 0

        def accepts(record: ContainerRecord) -> bool:
            if until_ns and record.created_ns > until_ns:
                return False
            labels = record.config.labels
            refused = filters.get("label!")
            return match_labels(filters.get("label", ()), labels) and not (refused and match_labels(refused, labels))

        removed, freed = await self._manager.prune(accepts)
        return json_response(ContainersPruneReport(containers_deleted=removed or None, space_reclaimed=freed))


def stop_signal(request: web.Request) -> str:
    """Return the signal that a stop asks for, which older versions than 1.42 cannot."""
    return request.query.get("signal", "") if api_version(request) >= (1, 42) else ""
