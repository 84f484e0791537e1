"""Searching and inspecting at registries that answer nonsense."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from engine.errors import Forbidden, Internal, InvalidArgument, NotFound, PortsideError, Unauthorized
from engine.model.system import AuthConfig
from engine.registry.hosts import RegistrySettings
from engine.registry.inspection import Registries
from engine.wire.references import parse_reference
from tests.fakes.registry import DOCKER_MANIFEST, OCI_INDEX, FakeRegistry
from tests.integration.images_world import tar_of

SETTINGS = RegistrySettings(certificate_folders=(), connect_timeout_s=2, read_timeout_s=2, retry_pause_s=0)
LAYER = tar_of([("file", b"x")])


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def registries() -> Registries:
    return Registries(lambda: SETTINGS)


def answer_search(registry: FakeRegistry, body: bytes, status: int = 200) -> list[web.Request]:
    """Let searches be answered so; returns a list of what was asked."""
    seen: list[web.Request] = []

    async def fault(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/v1/search":
            return web.Response(status=404)
        seen.append(request)
        return web.Response(body=body, status=status)

    registry.fault = fault
    return seen


def results(*items: dict[str, Any]) -> bytes:
    return json.dumps({"results": list(items)}).encode()


async def test_a_search_asks_and_filters(registry: FakeRegistry, registries: Registries) -> None:
    seen = answer_search(
        registry,
        results(
            {"name": "a", "star_count": 5, "is_official": True, "is_automated": True, "description": "d"},
            {"name": "b", "star_count": 50, "is_official": False},
            {"name": "c"},
        ),
    )

    async def names(filters: dict[str, list[str]]) -> list[str]:
        return [item.name for item in await registries.search(f"{registry.host}/x y", 3, filters, None)]

    assert await names({}) == ["a", "b", "c"]
    assert dict(seen[0].query) == {"q": "x y", "n": "3"}
    assert await names({"stars": ["5", "2"]}) == ["a", "b"]
    assert await names({"is-official": ["true"]}) == ["a"]
    assert await names({"is-official": ["0"]}) == ["b", "c"]
    found = await registries.search(f"{registry.host}/x", 0, {}, AuthConfig(username="me", password="p"))
    assert not any(item.is_automated for item in found)
    assert seen[-1].query["n"] == "25"
    assert seen[-1].headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 404, "Unexpected status code 404"),
        (b"", 500, "Unexpected status code 500"),
        (b"<html>", 200, "error decoding registry search results: "),
        (b'{"results": 5}', 200, "error decoding registry search results: "),
        (b'{"results": [{"name": 5}]}', 200, "error decoding registry search results: "),
        (b"[" * 100_000, 200, "error decoding registry search results: "),
        (b'{"x": "' + b"y" * 5_000_000 + b'"}', 200, "error decoding registry search results: the answer is too long"),
    ],
)
async def test_a_search_that_fails(
    registry: FakeRegistry, registries: Registries, body: bytes, status: int, message: str
) -> None:
    answer_search(registry, body, status)
    with pytest.raises(Internal) as caught:
        await registries.search(f"{registry.host}/x", 0, {}, None)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("body", [b"{}", b'{"results": null}', b'{"results": []}'])
async def test_a_search_that_finds_nothing(registry: FakeRegistry, registries: Registries, body: bytes) -> None:
    answer_search(registry, body)
    assert await registries.search(f"{registry.host}/x", 0, {}, None) == []


async def test_a_registry_that_is_not_there_has_no_search(registries: Registries) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await registries.search("127.0.0.1:1/x", 0, {}, None)
    assert caught.value.message.startswith('invalid registry endpoint "http://127.0.0.1:1/v1/": ')


async def test_an_index_has_its_platforms(registry: FakeRegistry, registries: Registries) -> None:
    one = registry.put_image("app", "amd64", [LAYER])
    two = registry.put_image("app", "arm", [LAYER], architecture="arm")
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {**one, "platform": {"os": "linux", "architecture": "amd64"}},
            {**two, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
            {**two, "platform": None},
        ],
    }
    made = registry.put_manifest("app", "all", index)
    found = await registries.inspect(parse_reference(f"{registry.host}/app:all"), None)
    assert found["Descriptor"] == {"mediaType": OCI_INDEX, "digest": made["digest"], "size": made["size"]}
    assert found["Platforms"] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm", "os": "linux", "variant": "v7"},
        {"architecture": "", "os": ""},
    ]


@pytest.mark.parametrize(
    ("manifest", "platforms"),
    [
        ({"mediaType": DOCKER_MANIFEST}, None),
        ({"mediaType": DOCKER_MANIFEST, "config": {"digest": 5}}, None),
        ({"mediaType": DOCKER_MANIFEST, "config": {}}, None),
    ],
)
async def test_a_manifest_of_nothing(
    registry: FakeRegistry, registries: Registries, manifest: dict[str, Any], platforms: object
) -> None:
    registry.put_manifest("app", "1", manifest)
    assert (await registries.inspect(parse_reference(f"{registry.host}/app:1"), None))["Platforms"] == platforms


@pytest.mark.parametrize("config", [b"", b"[]", b"{}", b'{"os": ""}', b"\xff"])
async def test_a_configuration_of_nothing(registry: FakeRegistry, registries: Registries, config: bytes) -> None:
    manifest = {"mediaType": DOCKER_MANIFEST, "config": registry.put_blob(config)}
    registry.put_manifest("app", "1", manifest)
    assert (await registries.inspect(parse_reference(f"{registry.host}/app:1"), None))["Platforms"] is None


@pytest.mark.parametrize(
    ("status", "code", "told", "kind", "message"),
    [
        (401, "UNAUTHORIZED", "who are you", Unauthorized, "unauthorized: who are you"),
        (403, "DENIED", "not you", Forbidden, "denied: not you"),
        (403, "", "", Forbidden, "denied: denied"),
        (404, "NAME_UNKNOWN", "no such", NotFound, "name unknown: no such"),
        (500, "", "", Internal, "received unexpected HTTP status: 500 Internal Server Error"),
    ],
)
async def test_a_registry_that_refuses(
    registry: FakeRegistry,
    registries: Registries,
    status: int,
    code: str,
    told: str,
    kind: type[PortsideError],
    message: str,
) -> None:
    async def fault(request: web.Request) -> web.StreamResponse | None:
        if "manifests" not in request.path:
            return None
        return web.json_response({"errors": [{"code": code, "message": told}]} if code else {}, status=status)

    registry.fault = fault
    with pytest.raises(kind) as caught:
        await registries.inspect(parse_reference(f"{registry.host}/app:1"), None)
    assert caught.value.message == message


async def test_what_is_no_manifest(registry: FakeRegistry, registries: Registries) -> None:
    registry.manifests[("app", "1")] = (DOCKER_MANIFEST, b"nonsense")
    with pytest.raises(Internal, match="invalid manifest"):
        await registries.inspect(parse_reference(f"{registry.host}/app:1"), None)
    registry.put_manifest("app", "2", {"mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws"})
    with pytest.raises(InvalidArgument, match="schema 1 support has been removed"):
        await registries.inspect(parse_reference(f"{registry.host}/app:2"), None)


async def test_credentials_are_asked_for(registry: FakeRegistry, registries: Registries) -> None:
    registry.put_image("app", "1", [LAYER])
    registry.login = ("me", "pass")
    with pytest.raises(Internal, match="no basic auth credentials"):
        await registries.inspect(parse_reference(f"{registry.host}/app:1"), None)
    login = AuthConfig(username="me", password="pass")
    assert (await registries.inspect(parse_reference(f"{registry.host}/app:1"), login))["Platforms"]
