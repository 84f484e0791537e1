from __future__ import annotations

import errno
import struct
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from engine.runtime import conntrack, netlink


def test_attributes_are_padded_and_read_back() -> None:
    data = netlink.text_attribute(3, "eth0") + netlink.attribute(1, b"\1\2") + netlink.number_attribute(4, 1500)
    assert len(data) % 4 == 0
    assert list(netlink.attributes(data)) == [(3, b"eth0\0"), (1, b"\1\2"), (4, struct.pack("=I", 1500))]


def test_truncated_attributes_end_the_reading() -> None:
    data = netlink.text_attribute(3, "eth0")
    assert list(netlink.attributes(data[:-4])) == []
    assert list(netlink.attributes(b"\0\0\0\0" + data)) == []


def test_message_is_laid_out_as_the_kernel_wants_it() -> None:
    message = netlink.build_address(7, ip_interface("172.17.0.2/16"))
    assert netlink.encode(message, 5).hex() == (
        "30000000" "1400" "0505" "05000000" "00000000"  # header: 48 bytes, RTM_NEWADDR, create|replace|ack|request
        "02100000" "07000000"  # AF_INET, /16, link 7
        "08000200" "ac110002" "08000100" "ac110002" "08000400" "ac11ffff"  # IFA_LOCAL, IFA_ADDRESS, IFA_BROADCAST
    )  # fmt: skip


def test_veth_peer_is_not_up_and_lands_in_the_namespace() -> None:
    body = netlink.build_veth("veth1", "eth0", 9, bridge=3, mac="02:42:ac:11:00:02", mtu=1400).body
    outer = dict(netlink.attributes(body[16:]))
    assert struct.unpack("=BxHiII", body[:16]) == (0, 0, 0, 0, 0)
    assert outer[netlink.IFLA_MASTER] == struct.pack("=I", 3)
    info = dict(netlink.attributes(outer[netlink.IFLA_LINKINFO]))
    peer = dict(netlink.attributes(info[2]))[1]
    inner = dict(netlink.attributes(peer[16:]))
    assert peer[8:16] == bytes(8)  # flags and change
    assert inner[netlink.IFLA_IFNAME] == b"eth0\0"
    assert inner[netlink.IFLA_NET_NS_FD] == struct.pack("=I", 9)
    assert inner[netlink.IFLA_ADDRESS] == bytes.fromhex("0242ac110002")
    assert inner[netlink.IFLA_MTU] == outer[netlink.IFLA_MTU] == struct.pack("=I", 1400)


def test_what_is_built_is_read_back() -> None:
    link = netlink.parse_link(netlink.build_bridge("br0", "02:42:00:00:00:01").body)
    assert (link.name, link.kind, link.up) == ("br0", "bridge", False)
    for text in ("172.17.0.2/16", "fd00::2/64"):
        message = netlink.build_address(7, ip_interface(text))
        assert netlink.parse_address(message.body) == (7, ip_interface(text))
    route = netlink.build_default_route(7, ip_address("172.17.0.1"))
    assert netlink.parse_route(route.body) == (ip_network("0.0.0.0/0"), 7)


def test_routes_of_other_tables_and_families_do_not_count() -> None:
    body = bytearray(netlink.build_default_route(7, ip_address("172.17.0.1")).body)
    body[4] = 255
    assert netlink.parse_route(bytes(body)) is None


@pytest.mark.parametrize("text", ["02:42:ac:11:00", "zz:42:ac:11:00:02", "", "02:42:ac:11:00:02:03"])
def test_malformed_mac_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"MAC address|hexadecimal"):
        netlink.mac_bytes(text)


def test_answers_of_one_datagram() -> None:
    two = netlink.encode(netlink.build_link_up(1), 1) + netlink.encode(netlink.build_port_up("veth12"), 2)
    assert [(answer.kind, answer.sequence) for answer in netlink.parse_answers(two + b"rest")] == [(16, 1), (16, 2)]


def test_refusals_carry_the_kernels_words() -> None:
    text = netlink.text_attribute(1, "peer may not be up")
    body = struct.pack("=i", -errno.ENOTCONN) + bytes(16) + text
    error = netlink.failure_of(netlink.Answer(netlink.NLMSG_ERROR, 0x300, 1, body), "veth1")
    assert error is not None
    assert (error.errno, error.filename) == (errno.ENOTCONN, "veth1")
    assert str(error.strerror).endswith("(peer may not be up)")
    assert netlink.failure_of(netlink.Answer(netlink.NLMSG_ERROR, 0, 1, bytes(20)), "x") is None


def test_udp_flows_are_told_by_their_port() -> None:
    protocol = netlink.attribute(1, b"\x11") + netlink.attribute(3, (5353).to_bytes(2, "big"))
    assert conntrack.udp_port(netlink.attribute(2, protocol)) == 5353
    assert conntrack.udp_port(netlink.attribute(2, netlink.attribute(1, b"\x06") + protocol[8:])) == 0
    assert conntrack.udp_port(b"") == 0
