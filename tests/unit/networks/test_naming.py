from __future__ import annotations

import marshal
from ipaddress import ip_address

from engine.networks.naming import ContainerNames, EndpointNames, Upstream, _pack, _state_of


def names(*wanted: str, **options: object) -> ContainerNames:
    endpoint = EndpointNames("id", "Net", (ip_address("10.0.0.2"), ip_address("fd00::2")), wanted, (("Store", "Web"),))
    return ContainerNames((endpoint,), **options)  # type: ignore[arg-type]


def test_what_is_told_is_in_lower_case_and_each_name_once() -> None:
    (endpoint,), _, forwards, ndots = _state_of(names("Web", "web", "", "app."))
    assert endpoint[1] == b"net"
    assert endpoint[2:4] == ((b"\x0a\0\0\2",), (ip_address("fd00::2").packed,))
    assert endpoint[4] == (b"web", b"app")
    assert endpoint[5] == ((b"store", b"web"),)
    assert (forwards, ndots) == (True, False)


def test_names_that_no_encoding_has_are_told_all_the_same() -> None:
    (endpoint,), *_ = _state_of(names("\ud800", "ü"))
    assert endpoint[4] == (b"?", "ü".encode())


def test_three_servers_count_and_never_the_name_server_itself() -> None:
    servers = [
        Upstream(ip_address(text), from_host=False) for text in ("127.0.0.11", "::1", "1.1.1.1", "2.2.2.2", "3.3.3.3")
    ]
    _, upstreams, *_ = _state_of(names("web", upstreams=tuple(servers)))
    assert upstreams == (("::1", 53, False), ("1.1.1.1", 53, False), ("2.2.2.2", 53, False))


def test_a_long_command_goes_in_parts() -> None:
    command = ("know", "id", [b"x" * 1000] * 300)
    parts = _pack(*command)
    assert len(parts) == 11
    assert all(len(part) <= 30_001 for part in parts)
    assert [part[:1] for part in parts] == [b"+"] * 10 + [b"."]
    assert marshal.loads(b"".join(part[1:] for part in parts)) == command
