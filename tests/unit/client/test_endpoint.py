"""How an engine's address is read and chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.client.dial import unix_error
from engine.client.endpoint import parse_endpoint, resolve_endpoint
from engine.errors import Forbidden, InvalidArgument, NotSupported, Unavailable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("unix:///run/x.sock", "unix:///run/x.sock"),
        ("tcp://host:1234", "tcp://host:1234"),
        ("tcp://host", "tcp://host:2375"),
        ("host:1234", "tcp://host:1234"),
        ("tcp://[::1]:99", "tcp://[::1]:99"),
        ("https://host", "tcp://host:2376"),
    ],
)
def test_addresses_are_read_as_docker_reads_them(text: str, shown: str) -> None:
    assert str(parse_endpoint(text)) == shown


@pytest.mark.parametrize("text", ["unix://", "tcp://", "foo://x", "tcp://h:99999", "tcp://h:1/path", "tcp://u@h:1"])
def test_malformed_addresses_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_endpoint(text)


@pytest.mark.parametrize("text", ["ssh://host", "npipe:////./pipe/x"])
def test_transports_that_come_later_say_so(text: str) -> None:
    with pytest.raises(NotSupported, match="not supported yet"):
        parse_endpoint(text)


def test_the_flag_wins_then_our_variable_then_dockers() -> None:
    environ = {"PORTSIDE_HOST": "unix:///p", "DOCKER_HOST": "unix:///d"}
    assert str(resolve_endpoint("unix:///flag", environ)) == "unix:///flag"
    assert str(resolve_endpoint(None, environ)) == "unix:///p"
    assert str(resolve_endpoint(None, {"DOCKER_HOST": "unix:///d"})) == "unix:///d"
    assert str(resolve_endpoint(None, {})) == "unix:///run/portside/engine.sock"


def test_tls_files_come_from_dockers_variables() -> None:
    environ = {"DOCKER_HOST": "tcp://h", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}
    endpoint = resolve_endpoint(None, environ)
    assert endpoint.port == 2376
    assert endpoint.tls is not None
    assert endpoint.tls.ca == Path("/certs/ca.pem")
    assert endpoint.tls.verify


def test_a_socket_that_cannot_be_used_names_itself_and_the_way_out() -> None:
    denied = unix_error("/nowhere/engine.sock", PermissionError(13, "Permission denied"))
    assert isinstance(denied, Forbidden)
    assert denied.message == "permission denied on /nowhere/engine.sock"
    assert "usermod -aG portside" in denied.hint
    missing = unix_error("/nowhere/engine.sock", FileNotFoundError(2, "No such file"))
    assert isinstance(missing, Unavailable)
    assert "unix:///nowhere/engine.sock" in missing.message
    assert "start the engine" in missing.hint
    refused = unix_error("/nowhere/engine.sock", ConnectionRefusedError(111, "Connection refused"))
    assert "no engine listens" in refused.hint
