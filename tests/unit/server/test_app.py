"""The server's edge: routes, versions, statuses and what is not there."""

from __future__ import annotations

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from engine import errors
from engine.errors import InvalidArgument, NotFound, NotSupported, PortsideError, Unavailable
from engine.server.absent import absent_routes
from engine.server.app import Router, check_version, parse_version
from engine.server.http import Route, query_bool, query_int
from engine.server.status import status_of


async def _handler(request: web.Request) -> web.StreamResponse:
    return web.Response()


def _router(*paths: str) -> Router:
    return Router([Route("GET", path, _handler) for path in paths])


def _found(router: Router, path: str) -> tuple[str, dict[str, str]] | None:
    found = router.find("GET", path)
    return None if found is None else (found[0].path, found[1])


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/containers/json", ("/containers/json", {})),
        ("/containers/web/json", ("/containers/{name}/json", {"name": "web"})),
        ("/containers/a/b/json", ("/containers/{name}/json", {"name": "a/b"})),
        ("/images/host:5000/a/b:tag/json", ("/images/{name:.+}/json", {"name": "host:5000/a/b:tag"})),
        ("/plugins/x/enable", ("/plugins/{name:.+}/{verb:enable|disable}", {"name": "x", "verb": "enable"})),
        ("/plugins/x/destroy", None),
        ("/containers//json", None),
        ("/containers", None),
        ("/", None),
        ("", None),
        ("/a.b", ("/a.b", {})),
        ("/aXb", None),
    ],
)
def test_the_first_route_that_fits_is_taken(path: str, wanted: tuple[str, dict[str, str]] | None) -> None:
    router = _router(
        "/containers/json",
        "/containers/{name}/json",
        "/images/{name:.+}/json",
        "/plugins/{name:.+}/{verb:enable|disable}",
        "/a.b",
    )
    assert _found(router, path) == wanted


def test_another_method_is_another_route() -> None:
    assert _router("/info").find("POST", "/info") is None
    assert _router("/info").find("HEAD", "/info") is None


@pytest.mark.parametrize(
    ("text", "version"),
    [("1.51", (1, 51)), ("1", (1, 0)), ("1.41.5", (1, 41)), ("..", (0, 0)), ("9" * 5000, (999_999_999, 0))],
)
def test_versions_are_read_as_moby_compares_them(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["1.24", "1.51", "1.51.9"])
def test_versions_from_the_least_to_ours_are_spoken(text: str) -> None:
    assert check_version(text) == parse_version(text)


def test_versions_outside_are_refused_with_mobys_texts() -> None:
    with pytest.raises(InvalidArgument) as old:
        check_version("1.23")
    assert old.value.message == (
        "client version 1.23 is too old. Minimum supported API version is 1.24, "
        "please upgrade your client to a newer version"
    )
    for text in ("1.52", "2", "9" * 5000):
        with pytest.raises(InvalidArgument) as new:
            check_version(text)
        assert new.value.message == f"client version {text} is too new. Maximum supported API version is 1.51"


def test_each_kind_of_failure_has_its_status() -> None:
    kinds = {name: item for name, item in vars(errors).items() if isinstance(item, type)}
    statuses = {name: status_of(kind("x")) for name, kind in kinds.items() if issubclass(kind, PortsideError)}
    assert statuses == {
        "PortsideError": 500,
        "InvalidArgument": 400,
        "Unauthorized": 401,
        "Forbidden": 403,
        "NotFound": 404,
        "Conflict": 409,
        "NotModified": 304,
        "NotSupported": 501,
        "Unavailable": 503,
        "Internal": 500,
    }

    class Particular(NotFound):
        pass

    assert status_of(Particular("x")) == 404


ABSENT = [
    ("GET", "/services", Unavailable, "This node is not a swarm manager. Use "),
    ("GET", "/nodes/x", Unavailable, "This node is not a swarm manager. Use "),
    ("POST", "/secrets/create", Unavailable, "This node is not a swarm manager. Use "),
    ("POST", "/swarm/leave", Unavailable, "This node is not part of a swarm"),
    ("POST", "/swarm/init", NotSupported, "Portside has no swarm mode"),
]


@pytest.mark.parametrize(("method", "path", "kind", "text"), ABSENT)
async def test_what_is_not_there_says_so_by_name(method: str, path: str, kind: type[PortsideError], text: str) -> None:
    found = Router(absent_routes()).find(method, path)
    assert found is not None
    with pytest.raises(kind) as caught:
        await found[0].handler(make_mocked_request(method, path))
    assert caught.value.message.startswith(text)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [("", False), ("x=", False), ("x=0", False), ("x=False", False), ("x=none", False), ("x=no", False),
     ("x=1", True), ("x=true", True), ("x=anything", True)],
)  # fmt: skip
def test_booleans_are_read_as_docker_reads_them(query: str, wanted: bool) -> None:
    assert query_bool(make_mocked_request("GET", f"/?{query}"), "x") is wanted


def test_a_boolean_that_is_not_given_is_the_default() -> None:
    assert query_bool(make_mocked_request("GET", "/"), "x", default=True)
    assert not query_bool(make_mocked_request("GET", "/?x="), "x", default=True)


@pytest.mark.parametrize(("text", "wanted"), [("", None), ("5", 5), ("-1", -1), ("%2B7", 7)])
def test_whole_numbers(text: str, wanted: int | None) -> None:
    assert query_int(make_mocked_request("GET", f"/?t={text}"), "t") == wanted


@pytest.mark.parametrize("text", ["x", "1.5", "1_000", " 5", "٣", "0x10"])
def test_what_is_no_number_gets_gos_text(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        query_int(make_mocked_request("GET", f"/?t={text}"), "t")
    assert caught.value.message == f'strconv.Atoi: parsing "{text}": invalid syntax'


@pytest.mark.parametrize("text", ["9223372036854775808", "9" * 5000])
def test_a_number_above_64_bits_gets_gos_text(text: str) -> None:
    with pytest.raises(InvalidArgument, match="value out of range"):
        query_int(make_mocked_request("GET", f"/?t={text}"), "t")


def test_errors_are_encoded_as_docker_encodes_them() -> None:
    from engine.server.app import error_response

    response = error_response(404, 'No such container: "ä"')
    assert response.content_type == "application/json"
    assert isinstance(response.body, bytes)
    assert msgspec.json.decode(response.body) == {"message": 'No such container: "ä"'}
    assert response.body.endswith(b"\n")
