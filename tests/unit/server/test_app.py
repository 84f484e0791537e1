"""Routes, versions and errors, without a server."""

from __future__ import annotations

import pytest
from aiohttp import web

from engine.errors import (
    Conflict,
    Forbidden,
    Internal,
    InvalidArgument,
    NotFound,
    NotModified,
    NotSupported,
    PortsideError,
    Unauthorized,
    Unavailable,
)
from engine.server.absent import absent_routes
from engine.server.app import Router, check_version, error_response, parse_version
from engine.server.http import Route
from engine.server.status import status_of


async def handler(request: web.Request) -> web.StreamResponse:
    """Answer nothing."""
    return web.Response()


ROUTER = Router(
    [
        Route("GET", "/images/json", handler),
        Route("GET", "/images/{name:.+}/json", handler),
        Route("GET", "/containers/{name}/json", handler),
        Route("POST", "/containers/prune", handler, since=(1, 25)),
        Route("POST", "/plugins/{name:.+}/{verb:enable|disable}", handler),
        Route("GET", "/a.b", handler),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "variables"),
    [
        ("GET", "/images/json", {}),
        ("GET", "/images/registry.example:5000/team/app:1/json", {"name": "registry.example:5000/team/app:1"}),
        ("GET", "/containers/web/json", {"name": "web"}),
        ("POST", "/plugins/vieux/sshfs:latest/enable", {"name": "vieux/sshfs:latest", "verb": "enable"}),
        ("GET", "/a.b", {}),
        ("GET", "/containers/a/b/json", {"name": "a/b"}),
    ],
)
def test_a_path_finds_its_route_and_its_variables(method: str, path: str, variables: dict[str, str]) -> None:
    found = ROUTER.find(method, path)
    assert found is not None
    assert found[1] == variables


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/images/json"),
        ("GET", "/containers//json"),
        ("GET", "/axb"),
        ("GET", "/containers/web/json/"),
        ("GET", ""),
        ("GET", "/"),
        ("POST", "/plugins/x/remove"),
    ],
)
def test_other_paths_find_none(method: str, path: str) -> None:
    assert ROUTER.find(method, path) is None


@pytest.mark.parametrize(("text", "version"), [("1.41", (1, 41)), ("1", (1, 0)), ("1.24.5", (1, 24)), ("", (0, 0))])
def test_versions_are_read_as_moby_compares_them(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["1.24", "1.30", "1.51"])
def test_versions_that_are_served(text: str) -> None:
    assert check_version(text) == parse_version(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1.23",
            "client version 1.23 is too old. Minimum supported API version is 1.24, "
            "please upgrade your client to a newer version",
        ),
        ("1.52", "client version 1.52 is too new. Maximum supported API version is 1.51"),
        ("2.0", "client version 2.0 is too new. Maximum supported API version is 1.51"),
    ],
)
def test_versions_that_are_not_have_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_version(text)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (NotModified, 304), (InvalidArgument, 400), (Unauthorized, 401), (Forbidden, 403), (NotFound, 404),
        (Conflict, 409), (Internal, 500), (NotSupported, 501), (Unavailable, 503), (PortsideError, 500),
    ],
)  # fmt: skip
def test_each_kind_of_failure_has_a_status(kind: type[PortsideError], status: int) -> None:
    assert status_of(kind("x")) == status


def test_an_error_is_a_json_message() -> None:
    response = error_response(404, 'No such container: "ä"\n')
    assert response.body == '{"message":"No such container: \\"ä\\"\\n"}\n'.encode()
    assert response.content_type == "application/json"


async def test_what_is_not_there_says_which_and_what_is_of_a_swarm_says_so() -> None:
    router = Router(absent_routes())
    for method, path, kind, words in (
        ("POST", "/build", NotSupported, "building images is not supported by Portside yet"),
        ("POST", "/commit", NotSupported, "committing containers"),
        ("GET", "/containers/web/export", NotSupported, "exporting containers"),
        ("PUT", "/containers/web/archive", NotSupported, "copying into containers"),
        ("GET", "/services", Unavailable, "This node is not a swarm manager"),
        ("POST", "/swarm/init", NotSupported, "no swarm mode"),
    ):
        found = router.find(method, path)
        assert found is not None
        with pytest.raises(kind, match=words):
            await found[0].handler(None)  # type: ignore[arg-type]
