"""Questions to registries that change nothing here: what a name means there, what a search finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from engine.errors import Forbidden, Internal, InvalidArgument, NotFound, PortsideError, Unauthorized, Unavailable
from engine.model.system import AuthConfig
from engine.registry.client import Repository
from engine.registry.connection import NoCredentials, RegistryProblem
from engine.registry.hosts import RegistrySettings
from engine.registry.search import SearchResult, search
from engine.wire.filters import Filters
from engine.wire.references import Reference

_MAX_CONFIG_BYTES = 8 * 1024 * 1024
_PLATFORM_FIELDS = ("architecture", "os", "os.version", "os.features", "variant")


class _Head(msgspec.Struct, rename="camel"):
    """What is read of a manifest or an index."""

    media_type: str = ""
    config: dict[str, Any] | None = None
    manifests: list[dict[str, Any]] | None = None


class Registries:
    """Asks registries."""

    def __init__(self, settings: Callable[[], RegistrySettings]) -> None:
        """``settings`` are read anew for each question."""
        self._settings = settings

    async def search(
        self, term: str, limit: int, filters: Filters, credentials: AuthConfig | None
    ) -> list[SearchResult]:
        """Search a registry (see ``search.search``)."""
        return await search(self._settings(), term, limit, filters, credentials)

    async def inspect(self, reference: Reference, credentials: AuthConfig | None) -> dict[str, Any]:
        """Return the descriptor and the platforms of an image in its registry (``DistributionInspect``).

        Raises NotFound, Unauthorized, Forbidden, Internal with moby's texts.
        """
        try:
            async with Repository(reference.domain, reference.path, self._settings(), credentials) as repository:
                if not self._settings().mirrors:
                    await repository.settle()
                data, media_type, digest = await repository.manifest(reference.digest or reference.tag)
                head = _decode(data)
                media_type = head.media_type or media_type
                if media_type.startswith("application/vnd.docker.distribution.manifest.v1"):
                    raise InvalidArgument(
                        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed."
                    )
                return {
                    "Descriptor": {"mediaType": media_type, "digest": digest, "size": len(data)},
                    "Platforms": await _platforms(repository, head),
                }
        except RegistryProblem as problem:
            raise _explain(problem) from problem
        except Unavailable as error:
            raise Internal(error.message, hint=error.hint) from error  # Docker's status


def _decode(data: bytes) -> _Head:
    try:
        return msgspec.json.decode(data, type=_Head)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise Internal(f"invalid manifest: {error}") from error


async def _platforms(repository: Repository, head: _Head) -> list[dict[str, Any]] | None:
    if head.manifests is not None:
        return [_platform(item.get("platform") or {}) for item in head.manifests]
    digest = (head.config or {}).get("digest")
    if not isinstance(digest, str):
        return None
    config = bytearray()
    async with repository.blob(digest) as (blocks, _):
        async for block in blocks:
            config += block
            if len(config) > _MAX_CONFIG_BYTES:
                return None
    try:
        found = _platform(msgspec.json.decode(config, type=dict[str, Any]))
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return None
    return [found] if found["os"] or found["architecture"] else None


def _platform(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a platform that are there; the first two always are."""
    found = {name: fields[name] for name in _PLATFORM_FIELDS if fields.get(name)}
    return {"architecture": "", "os": "", **found}


def _explain(problem: RegistryProblem) -> PortsideError:
    if isinstance(problem, NoCredentials):
        return Internal(problem.told, hint="log in: portside login")
    code = problem.code or {401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN"}.get(problem.status, "")
    words = code.lower().replace("_", " ")
    message = f"{words}: {problem.told or words}" if code else problem.message
    kinds: dict[str, type[PortsideError]] = {
        "UNAUTHORIZED": Unauthorized,
        "DENIED": Forbidden,
        "MANIFEST_UNKNOWN": NotFound,
        "NAME_UNKNOWN": NotFound,
    }
    return kinds.get(code, Internal)(message)
