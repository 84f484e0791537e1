"""Searching a registry by the first version of its protocol, which is all that has a search."""

from __future__ import annotations

import msgspec

from engine.errors import Internal, InvalidArgument, Unavailable
from engine.model.system import AuthConfig
from engine.registry.auth import basic, user_and_password
from engine.registry.connection import RegistryConnection, RegistryProblem
from engine.registry.hosts import RegistrySettings, is_insecure
from engine.wire.filters import Filters, single_bool

DOCKER_HUB_INDEX = "index.docker.io"
FILTERS = frozenset({"is-automated", "is-official", "stars"})
_DEFAULT_LIMIT = 25
_MAX_LIMIT = 100
_MAX_ANSWER_BYTES = 4 * 1024 * 1024


class SearchResult(msgspec.Struct, kw_only=True):
    """One repository that was found."""

    star_count: int = 0
    is_official: bool = False
    name: str = ""
    is_automated: bool = False
    description: str = ""


class _Answer(msgspec.Struct):
    results: list[SearchResult] | None = None


async def search(
    settings: RegistrySettings, term: str, limit: int, filters: Filters, credentials: AuthConfig | None
) -> list[SearchResult]:
    """Return the repositories that a registry, Docker Hub unless ``term`` names one, finds for a term.

    Raises InvalidArgument with moby's texts, Internal when the registry has no search, Unavailable when it does
    not answer.
    """
    wants_automated = single_bool(filters, "is-automated", default=False)
    wants_official = single_bool(filters, "is-official", default=False) if "is-official" in filters else None
    stars = _least_stars(filters)
    if wants_automated:
        return []
    if "://" in term:
        raise InvalidArgument(f"invalid repository name: repository name ({term}) should not have a scheme")
    index, name = _split(term)
    limit = limit or _DEFAULT_LIMIT
    if not 1 <= limit <= _MAX_LIMIT:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {_MAX_LIMIT}]")
    found = await _ask(settings, index, name, limit, credentials)
    for result in found:
        result.is_automated = False  # as Docker: what the index says of it is not to be trusted
    return [
        result
        for result in found
        if result.star_count >= stars and (wants_official is None or result.is_official == wants_official)
    ]


def _least_stars(filters: Filters) -> int:
    least = 0
    for value in filters.get("stars", []):
        try:
            least = max(least, int(value))
        except ValueError:
            reason = f'strconv.Atoi: parsing "{value}": invalid syntax'
            raise InvalidArgument(f"invalid filter 'stars={value}': {reason}") from None
    return least


def _split(term: str) -> tuple[str, str]:
    """Return the registry that a term names, or Docker Hub, and what is searched for there."""
    first, slash, rest = term.partition("/")
    if not slash or (not any(char in first for char in ".:") and first != "localhost"):
        return DOCKER_HUB_INDEX, term.removeprefix("library/")
    if first in ("docker.io", DOCKER_HUB_INDEX):
        return DOCKER_HUB_INDEX, rest.removeprefix("library/")
    return first, rest


async def _ask(
    settings: RegistrySettings, index: str, name: str, limit: int, credentials: AuthConfig | None
) -> list[SearchResult]:
    login = user_and_password(credentials)
    headers = {"X-Docker-Token": "true"} | ({"Authorization": basic(*login)} if login else {})
    async with RegistryConnection(index, "", settings) as registry:
        if index != DOCKER_HUB_INDEX:
            await _ping(registry, index, settings)
        from yarl import URL

        query = URL.build(query={"q": name, "n": str(limit)}).raw_query_string
        try:
            async with registry.open("GET", f"{{base}}/v1/search?{query}", headers) as answer:
                data = bytearray()
                async for block in answer.content.iter_any():
                    data += block
                    if len(data) > _MAX_ANSWER_BYTES:
                        raise Internal("error decoding registry search results: the answer is too long")
        except RegistryProblem as problem:
            raise Internal(f"Unexpected status code {problem.status}") from problem
    try:
        return msgspec.json.decode(data, type=_Answer).results or []
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise Internal(f"error decoding registry search results: {error}") from error


async def _ping(registry: RegistryConnection, index: str, settings: RegistrySettings) -> None:
    """Find out how the registry is reached; raises InvalidArgument with moby's text when it is not."""
    try:
        async with registry.open("GET", "{base}/v1/_ping"):
            return
    except RegistryProblem:
        return  # it answers, whatever it says
    except Unavailable as error:
        if is_insecure(index, settings.insecure):
            raise InvalidArgument(f'invalid registry endpoint "{registry.asked.url}/v1/": {error.message}') from error
        raise InvalidArgument(
            f"invalid registry endpoint https://{index}/v1/: {error.message}. If this private registry supports only "
            f"HTTP or HTTPS with an unknown CA certificate, please add `--insecure-registry {index}` to the daemon's "
            "arguments. In the case of HTTPS, if you have access to the registry's CA certificate, no need for the "
            f"flag; simply place the CA certificate at /etc/docker/certs.d/{index}/ca.crt",
            hint=f"add {index} to insecure-registries if it is to be trusted",
        ) from error
