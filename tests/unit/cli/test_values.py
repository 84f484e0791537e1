"""Values of ``run`` with a syntax of their own."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from engine.cli.detach_keys import Detached, DetachFilter, parse_detach_keys
from engine.cli.limit_values import parse_cpus, parse_device, parse_gpus, parse_restart, parse_ulimit
from engine.cli.mount_values import parse_mount, parse_volume
from engine.cli.network_values import check_extra_host, parse_network
from engine.cli.port_display import display_ports
from engine.cli.port_values import parse_expose, parse_port_spec, parse_publish
from engine.cli.table import align, ellipsis, go_quote
from engine.model.container import PortBinding
from engine.model.inspect import PortSummary


@pytest.mark.parametrize(
    ("spec", "pairs"),
    [
        ("80", [("80/tcp", "", "")]),
        ("8080:80", [("80/tcp", "", "8080")]),
        ("127.0.0.1::80/udp", [("80/udp", "127.0.0.1", "")]),
        ("[::1]:8080:80", [("80/tcp", "::1", "8080")]),
        ("8000-8001:80-81", [("80/tcp", "", "8000"), ("81/tcp", "", "8001")]),
        ("9000-9010:80", [("80/tcp", "", "9000-9010")]),
    ],
)
def test_ports_are_read(spec: str, pairs: list[tuple[str, str, str]]) -> None:
    assert parse_port_spec(spec) == [(port, PortBinding(host_ip=ip, host_port=host)) for port, ip, host in pairs]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("abc", "invalid containerPort: abc"),
        ("x:80", "invalid hostPort: x"),
        ("1-3:5-6", "invalid ranges specified for container and host Ports: 5-6 and 1-3"),
        ("80/foo", "invalid proto: foo"),
        ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        ("70000", "invalid containerPort: 70000"),
    ],
)
def test_wrong_ports_are_refused_with_dockers_texts(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        parse_publish([spec])


def test_the_same_port_may_be_published_twice() -> None:
    exposed, bindings = parse_publish(["80:80", "81:80", "published=82,target=80,protocol=udp"])
    assert exposed == {"80/tcp": {}, "80/udp": {}}
    assert [binding.host_port for binding in bindings["80/tcp"] or ()] == ["80", "81"]
    assert parse_expose("90-91/udp") == ["90/udp", "91/udp"]


def test_neighbouring_ports_are_shown_as_a_range() -> None:
    ports = [PortSummary(ip="0.0.0.0", private_port=80 + n, public_port=80 + n) for n in range(3)]
    ports += [PortSummary(ip="::", private_port=80 + n, public_port=80 + n) for n in range(3)]
    ports += [PortSummary(private_port=53, type="udp"), PortSummary(ip="127.0.0.1", private_port=90, public_port=9090)]
    shown = "53/udp, 0.0.0.0:80-82->80-82/tcp, [::]:80-82->80-82/tcp, 127.0.0.1:9090->90/tcp"
    assert display_ports(ports) == shown


def test_mounts_are_read() -> None:
    bind = parse_mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave")
    assert (bind.type, bind.source, bind.target, bind.read_only) == ("bind", "/a", "/b", True)
    tmpfs = parse_mount("type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770")
    assert tmpfs.tmpfs_options is not None
    assert tmpfs.tmpfs_options is not UNSET
    assert (tmpfs.tmpfs_options.size_bytes, tmpfs.tmpfs_options.mode) == (2**26, 0o1770)
    assert parse_mount('type=bind,"src=/a,b",dst=/c').source == "/a,b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=bind", "target is required"),
        ("foo", "invalid field 'foo' must be a key=value pair"),
        ("type=bind,dst=/x,tmpfs-size=1", r"cannot mix 'tmpfs-\*' options with mount type 'bind'"),
        ("type=bind,dst=/x,foo=1", "unexpected key 'foo' in 'foo=1'"),
        ("type=tmpfs,dst=/x,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
    ],
)
def test_wrong_mounts_are_refused_with_dockers_texts(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        parse_mount(text)


def test_volumes_are_binds_or_anonymous() -> None:
    assert parse_volume("/a:/b:ro,z") == "/a:/b:ro,z"
    assert parse_volume("name:/b") == "name:/b"
    assert parse_volume("/anonymous") is None
    with pytest.raises(ValueError, match="too many colons"):
        parse_volume("/a:/b:c:d")


def test_limits_are_read() -> None:
    limit = parse_ulimit("nofile=10:20")
    assert (limit.name, limit.soft, limit.hard) == ("nofile", 10, 20)
    assert parse_ulimit("core=-1").hard == -1
    assert parse_cpus("1.5") == 1_500_000_000
    assert parse_restart("on-failure:3").maximum_retry_count == 3
    assert parse_device("/dev/zero:/dev/z:r").cgroup_permissions == "r"
    assert parse_gpus("all").count == -1
    with pytest.raises(ValueError, match="soft limit must be less"):
        parse_ulimit("nofile=20:10")
    with pytest.raises(ValueError, match="too precise"):
        parse_cpus("0.1234567891")


def test_networks_are_read_in_both_forms() -> None:
    assert parse_network("web").target == "web"
    choice = parse_network("name=web,alias=a,alias=b,ip=1.2.3.4,driver-opt=k=v,gw-priority=-1")
    assert (choice.target, choice.aliases, choice.ipv4_address) == ("web", ["a", "b"], "1.2.3.4")
    assert (choice.driver_opts, choice.gw_priority) == ({"k": "v"}, -1)
    assert parse_network("web").aliases == [], "one network's aliases must not reach the next"
    assert check_extra_host("db=[::1]") == "db:::1"


def test_detach_keys_are_found_across_reads_and_let_go_when_they_are_none() -> None:
    keys = DetachFilter()
    assert keys.feed(b"ls\x10") == b"ls"
    assert keys.feed(b"x\x10\x10") == b"\x10x\x10"
    with pytest.raises(Detached):
        keys.feed(b"\x11")
    assert parse_detach_keys("ctrl-a,b,ctrl-@") == b"\x01b\x00"
    with pytest.raises(ValueError, match="Unknown character"):
        parse_detach_keys("ctrl-1")


def test_columns_are_dockers() -> None:
    assert align("A\tBB\tC\n12345678901\tb\tc") == "A             BB        C\n12345678901   b         c"
    assert align("漢字\tx\nab\ty") == "漢字      x\nab        y"
    assert ellipsis("sh -c 'echo out; exit'", 20) == "sh -c 'echo out; ex…"
    assert go_quote('a"b\n\x01é') == '"a\\"b\\n\\x01é"'
