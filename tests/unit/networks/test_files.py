from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from engine.errors import InvalidArgument, Unavailable
from engine.networks import files


def test_hosts_of_a_container() -> None:
    text = files.build_hosts(
        "web", "example.org", ["172.17.0.2", ""], [("db", "10.0.0.1"), ("six", "fd00::1")], ipv6=True
    )
    assert text.splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::\tip6-localnet",
        "ff00::\tip6-mcastprefix",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
        "10.0.0.1\tdb",
        "fd00::1\tsix",
        "172.17.0.2\tweb.example.org web",
    ]


def test_hosts_without_ipv6_and_with_a_dotted_hostname() -> None:
    text = files.build_hosts("web.local", "", ["172.17.0.2"], [("six", "fd00::1")], ipv6=False)
    assert text == "127.0.0.1\tlocalhost\n172.17.0.2\tweb.local web\n"


def test_extra_hosts() -> None:
    gateways = [ip_address("172.17.0.1"), ip_address("fd00::1")]
    found = files.resolve_extra_hosts(["a:1.2.3.4", "b:[::1]", "c:::1", "d:host-gateway"], gateways)
    assert found == [("a", "1.2.3.4"), ("b", "::1"), ("c", "::1"), ("d", "172.17.0.1"), ("d", "fd00::1")]


@pytest.mark.parametrize("item", ["a", ":1.2.3.4", "a:", "a:1.2.3", "a:name"])
def test_malformed_extra_hosts(item: str) -> None:
    with pytest.raises(InvalidArgument):
        files.resolve_extra_hosts([item], [])


def test_host_gateway_that_is_not_known() -> None:
    with pytest.raises(InvalidArgument, match="unable to derive the IP value for host-gateway"):
        files.resolve_extra_hosts(["a:host-gateway"], [])


_HOST = """\
# a comment
; another
nameserver 127.0.0.53
nameserver 10.0.0.2
nameserver fd00::2
nameserver nonsense
domain old.example
search a.example b.example
options ndots:2
options edns0
sortlist 10.0.0.0
nameserver
"""


def test_what_containers_cannot_reach_is_left_out() -> None:
    conf = files.parse_resolv_conf(_HOST, "/etc/resolv.conf")
    conf.adapt_to_bridge(ipv6=False)
    body = [line for line in conf.render().splitlines() if line and not line.startswith("#")]
    assert body == [
        "nameserver 10.0.0.2",
        "search a.example b.example",
        "options ndots:2 edns0",
        "sortlist 10.0.0.0",
    ]
    assert "# Invalid nameservers: [nonsense]" in conf.render()


def test_public_servers_where_none_is_left() -> None:
    conf = files.parse_resolv_conf("nameserver 127.0.0.1\nnameserver fd00::2\n", "x")
    conf.adapt_to_bridge(ipv6=False)
    assert conf.nameservers == ["8.8.8.8", "8.8.4.4"]
    conf = files.parse_resolv_conf("nameserver ::1\n", "x")
    conf.adapt_to_bridge(ipv6=True)
    assert conf.nameservers == ["8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"]


def test_what_a_user_asks_for_stands() -> None:
    conf = files.parse_resolv_conf(_HOST, "x")
    conf.override(["127.0.0.1"], ["."], ["timeout:1"])
    conf.adapt_to_bridge(ipv6=False)
    assert (conf.nameservers, conf.search, conf.options) == (["127.0.0.1"], [], ["timeout:1"])
    assert conf.render().endswith("# Overrides: [nameservers search options]\n")
    with pytest.raises(InvalidArgument, match="bad nameserver address dns"):
        conf.override(["dns"], [], [])


def test_files_are_replaced_whole_and_edits_stay(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    files.write_unless_edited(path, "one\n")
    files.write_unless_edited(path, "two\n")
    assert path.read_text() == "two\n"
    path.write_text("edited in the container\n")
    files.write_unless_edited(path, "three\n")
    assert path.read_text() == "edited in the container\n"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["resolv.conf", "resolv.conf.hash"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_shared_files_are_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for _ in range(2):
        files.share(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").write_text("y")
    assert (tmp_path / "b").read_text() == "y"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a", "b"]


def test_own_lines_of_a_hosts_file_are_settled_in_place(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1\tlocalhost\n10.0.0.2\tweb\n10.0.1.2\tweb\n10.9.9.9\tother\n")
    inode = path.stat().st_ino
    files.settle_hosts(path, "web", ["10.0.0.2"])
    assert path.read_text() == "127.0.0.1\tlocalhost\n10.9.9.9\tother\n10.0.0.2\tweb\n"
    assert path.stat().st_ino == inode
    before = path.stat().st_mtime_ns
    files.settle_hosts(path, "web", ["10.0.0.2"])
    assert path.stat().st_mtime_ns == before


def test_lines_come_and_go_without_touching_what_others_wrote(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1\tlocalhost\n10.0.0.2\tweb\nmine mine\n")
    files.edit_hosts(path, remove=[("10.0.0.2", "web")], add=[("10.0.1.2", "web")])
    assert path.read_text() == "127.0.0.1\tlocalhost\nmine mine\n10.0.1.2\tweb\n"
    files.readdress_hosts(path, "web", "10.0.3.3")
    assert path.read_text().endswith("10.0.3.3\tweb\n")
    with pytest.raises(Unavailable, match="cannot change"):
        files.edit_hosts(tmp_path / "nowhere", remove=[], add=[])


def test_resolv_conf_is_rewritten_unless_the_container_has_changed_it(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    files.write_unless_edited(path, "nameserver 192.0.2.1\n")
    files.rewrite_unless_edited(path, "nameserver 127.0.0.11\n")
    assert path.read_text() == "nameserver 127.0.0.11\n"
    path.write_text("nameserver 192.0.2.9\n")
    files.rewrite_unless_edited(path, "nameserver 192.0.2.1\n")
    assert path.read_text() == "nameserver 192.0.2.9\n"
