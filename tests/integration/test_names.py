"""The name server at 127.0.0.11 in real namespaces: what it answers, what it passes on, and to whom."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from engine.networks.nameserver.forwarding import Budget, Forwarder
from engine.networks.nameserver.loop import Loop
from engine.networks.nameserver.packets import Query, parse_query
from engine.networks.naming import NameService, Upstream
from engine.runtime.netns import path_of
from tests.integration.names_lab import (
    AAAA,
    MX,
    PTR,
    TXT,
    A,
    Answer,
    Server,
    answering,
    ask,
    ask_raw,
    build_query,
    build_reply,
    endpoint,
    names,
    namespaces,
    parse_answer,
    process_behind,
    read_message,
    within,
)
from tests.integration.networks_lab import run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces and nftables")
SERVFAIL, REFUSED, FORMERR = 2, 5, 1
WEB, DB = "a" * 64, "b" * 64


@pytest.fixture
def boxes() -> Iterator[list[int]]:
    with namespaces(2) as made:
        yield made


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[NameService]:
    made = NameService(tmp_path)
    await made.restore({})
    yield made
    made.close(keep=False)
    await until(lambda: not process_behind(tmp_path))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - what another process does cannot be awaited
            await asyncio.sleep(0.01)


async def asked(fd: int, name: str, kind: int = A, **options: object) -> Answer:
    return await asyncio.to_thread(lambda: ask(fd, name, kind, **options))  # type: ignore[arg-type]


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_containers_find_one_another(service: NameService, boxes: list[int], tmp_path: Path) -> None:
    assert process_behind(tmp_path) == 0, "no process before there is need of one"
    await service.join(WEB, boxes[0], names(endpoint("web", "app", "aaaaaaaaaaaa", addresses="10.0.0.2 fd00::2")))
    await service.join(DB, boxes[1], names(endpoint("db", "app", addresses="10.0.0.3", links=(("Store", "Web"),))))
    for by_tcp in (False, True):
        assert (await asked(boxes[0], "db", by_tcp=by_tcp)).values == ["10.0.0.3"]
        found = await asked(boxes[1], "WEB.Net.", by_tcp=by_tcp)
        assert (found.values, found.ttls, found.code) == (["10.0.0.2"], {600}, 0)
    assert (await asked(boxes[1], "aaaaaaaaaaaa")).values == ["10.0.0.2"]
    assert (await asked(boxes[1], "web", AAAA)).values == ["fd00::2"]
    nodata = await asked(boxes[0], "db", AAAA)
    assert (nodata.code, nodata.values) == (0, [])
    assert (await asked(boxes[1], "store")).values == ["10.0.0.2"]
    assert (await asked(boxes[0], "store")).code == SERVFAIL
    assert (await asked(boxes[0], "3.0.0.10.in-addr.arpa", PTR)).values == ["db.net"]
    nibbles = ".".join(reversed("fd000000000000000000000000000002"))
    assert (await asked(boxes[1], f"{nibbles}.ip6.arpa", PTR)).values == ["web.net"]
    assert (await asked(boxes[0], "db", MX)).code == 0
    assert (await asked(boxes[0], "db", TXT)).code == SERVFAIL


async def test_an_alias_of_several_is_answered_with_all_in_changing_order(
    service: NameService, boxes: list[int]
) -> None:
    await service.join(WEB, boxes[0], names(endpoint("web", "app", addresses="10.0.0.2")))
    await service.join(DB, boxes[1], names(endpoint("web2", "app", addresses="10.0.0.3")))
    answers = [(await asked(boxes[0], "app")).values for _ in range(40)]
    assert {tuple(sorted(values)) for values in answers} == {("10.0.0.2", "10.0.0.3")}
    assert len({tuple(values) for values in answers}) == 2


async def test_more_addresses_than_a_datagram_holds(service: NameService, boxes: list[int]) -> None:
    addresses = " ".join(f"10.0.1.{number}" for number in range(100))
    await service.join(WEB, boxes[0], names(endpoint("all", addresses=addresses)))
    short = await asked(boxes[0], "all")
    assert short.truncated
    assert len(short.raw) <= 512
    longer = await asked(boxes[0], "all", edns=1232)
    assert longer.truncated
    assert 512 < len(longer.raw) <= 1232
    for options in ({"by_tcp": True}, {"edns": 4096}):
        whole = await asked(boxes[0], "all", **options)
        assert not whole.truncated
        assert len(whole.values) == 100


async def test_networks_are_apart_and_names_change_without_a_lost_query(service: NameService, boxes: list[int]) -> None:
    web = endpoint("web", addresses="10.0.0.2")
    await service.join(WEB, boxes[0], names(web))
    await service.join(DB, boxes[1], names(endpoint("db", addresses="10.1.0.3", network="other")))
    assert (await asked(boxes[1], "web")).code == SERVFAIL
    both = names(endpoint("db", addresses="10.1.0.3", network="other"), endpoint("db", addresses="10.0.0.3"))
    service.update(DB, both)
    assert (await asked(boxes[1], "web")).values == ["10.0.0.2"]
    assert (await asked(boxes[0], "db")).values == ["10.0.0.3"]

    def look_up(count: int) -> list[Answer]:
        return [ask(boxes[1], "web") for _ in range(count)]

    asking = asyncio.create_task(asyncio.to_thread(look_up, 500))
    changes = 0
    while not asking.done():
        changes += 1
        service.update(WEB, names(endpoint("web", f"alias{changes}", addresses="10.0.0.2")))
        await asyncio.sleep(0)
    assert changes > 100
    assert {tuple(answer.values) for answer in await asking} == {("10.0.0.2",)}
    service.update(WEB, names(endpoint("renamed", addresses="10.0.0.2")))
    while (await asked(boxes[1], "renamed")).code:  # so many changes may have to wait for the process
        continue
    assert (await asked(boxes[1], "web")).code == SERVFAIL
    service.update("c" * 64, names(web))


async def test_the_rules_are_those_that_nft_would_make(service: NameService, boxes: list[int]) -> None:
    for _ in range(2):  # in place of those before
        await service.join(WEB, boxes[0], names(endpoint("web", addresses="10.0.0.2")))
    words = ["nsenter", f"--net={path_of(boxes[0])}", "nft", "list", "ruleset"]
    lines = [line.strip() for line in run(words).splitlines()]
    assert sum("dport 53 udp dport set" in line or "dport 53 tcp dport set" in line for line in lines) == 2
    assert sum("sport set 53" in line for line in lines) == 2
    assert "type filter hook output priority raw; policy accept;" in lines
    assert "type filter hook input priority mangle; policy accept;" in lines


async def test_a_container_may_have_a_server_of_its_own_on_port_53(service: NameService, boxes: list[int]) -> None:
    await service.join(WEB, boxes[0], names(endpoint("web", addresses="10.0.0.2")))
    with Server(answering("192.0.2.1"), fd=boxes[0], address="0.0.0.0", port=53) as own:
        assert (await asked(boxes[0], "web")).values == ["10.0.0.2"]
        assert (await asked(boxes[0], "web", by_tcp=True)).values == ["10.0.0.2"]
        assert (await asked(boxes[0], "web", server="127.0.0.1")).values == ["192.0.2.1"]
        assert len(own.queries) == 1


async def test_a_container_that_left_is_forgotten_and_its_sockets_closed(
    service: NameService, boxes: list[int], tmp_path: Path
) -> None:
    await service.join(WEB, boxes[0], names(endpoint("web", addresses="10.0.0.2")))
    await service.join(DB, boxes[1], names(endpoint("db", addresses="10.0.0.3")))
    assert (await asked(boxes[1], "web")).values
    pid = process_behind(tmp_path)
    open_before = descriptors(pid)
    service.leave(DB)
    service.leave(DB)
    assert (await asked(boxes[0], "db")).code == SERVFAIL
    await until(lambda: descriptors(pid) <= open_before - 2)
    with pytest.raises(ConnectionRefusedError):
        await asked(boxes[1], "web", by_tcp=True)
    # The same namespace again: the older rules must not lead to nowhere.
    await service.join(DB, boxes[1], names(endpoint("db", addresses="10.0.0.3")))
    assert (await asked(boxes[1], "web")).values == ["10.0.0.2"]
    assert (await asked(boxes[1], "web", by_tcp=True)).values == ["10.0.0.2"]


async def test_an_unknown_name_is_asked_of_the_hosts_servers_from_the_host(
    service: NameService, boxes: list[int]
) -> None:
    with Server(answering("198.51.100.7")) as upstream:
        await service.join(
            WEB, boxes[0], names(endpoint("web", addresses="10.0.0.2"), upstreams=(upstream.upstream(),))
        )
        query = build_query("Example.com", edns=1400)
        found = await asyncio.to_thread(ask_raw, boxes[0], query)
        assert found.values == ["198.51.100.7"]
        assert upstream.queries[0][2:] == query[2:], "the query is passed on as it is, EDNS too"
        assert (await asked(boxes[0], "example.com", by_tcp=True)).values == ["198.51.100.7"]
        assert upstream.by_tcp == 1
        assert (await asked(boxes[0], "web")).values == ["10.0.0.2"]
        assert (await asked(boxes[0], "web", TXT)).code == 0
        assert (await asked(boxes[0], "9.0.0.10.in-addr.arpa", PTR)).code == 0
        assert len(upstream.queries) == 4


async def test_servers_of_a_container_are_asked_from_its_namespace(service: NameService, boxes: list[int]) -> None:
    with Server(answering("198.51.100.8"), fd=boxes[0], address="127.0.0.5", port=5353) as upstream:
        for forwards in (True, False):
            known = names(
                endpoint("web", addresses="10.0.0.2"),
                upstreams=(upstream.upstream(from_host=False),),
                forwards=forwards,
            )
            await service.join(WEB, boxes[0], known)
            assert (await asked(boxes[0], "example.com")).values == ["198.51.100.8"]
            assert (await asked(boxes[0], "example.com", by_tcp=True)).values == ["198.51.100.8"]
        assert len(upstream.queries) == 4


async def test_nothing_leaves_an_internal_network_through_the_host(service: NameService, boxes: list[int]) -> None:
    with Server(answering("198.51.100.7")) as upstream:
        known = names(endpoint("web", addresses="10.0.0.2"), upstreams=(upstream.upstream(),), forwards=False)
        await service.join(WEB, boxes[0], known)
        assert (await asked(boxes[0], "example.com")).code == SERVFAIL
        assert upstream.queries == []


async def test_with_ndots_of_its_own_a_bare_name_is_not_passed_on(service: NameService, boxes: list[int]) -> None:
    with Server(answering("198.51.100.7")) as upstream:
        known = names(endpoint("web", addresses="10.0.0.2"), upstreams=(upstream.upstream(),), ndots_set=True)
        await service.join(WEB, boxes[0], known)
        bare = await asked(boxes[0], "printer")
        assert (bare.code, bare.values) == (0, [])
        assert (await asked(boxes[0], "printer.lan")).values == ["198.51.100.7"]
        assert len(upstream.queries) == 1


async def test_a_server_that_fails_is_followed_by_the_next(service: NameService, boxes: list[int]) -> None:
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.bind(("127.0.0.1", 0))
    dead = Upstream(ip_address("127.0.0.1"), from_host=True, port=closed.getsockname()[1])
    closed.close()
    for code in (SERVFAIL, REFUSED):
        with (
            Server(lambda query, code=code: [build_reply(query, code=code)]) as failing,  # type: ignore[misc]
            Server(answering("198.51.100.9")) as good,
        ):
            servers = (dead, failing.upstream(), good.upstream())
            await service.join(WEB, boxes[0], names(endpoint("web", addresses="10.0.0.2"), upstreams=servers))
            for by_tcp in (False, True):
                assert (await asked(boxes[0], "example.com", by_tcp=by_tcp)).values == ["198.51.100.9"]
            assert len(failing.queries) == 2
            service.update(WEB, names(endpoint("web", addresses="10.0.0.2"), upstreams=servers[:2]))
            assert (await asked(boxes[0], "example.com")).code == SERVFAIL


async def test_a_silent_server_is_given_up(service: NameService, boxes: list[int]) -> None:
    with Server(lambda query: []) as silent, Server(answering("198.51.100.9")) as good:
        servers = (silent.upstream(), good.upstream())
        await service.join(WEB, boxes[0], names(endpoint("web", addresses="10.0.0.2"), upstreams=servers))
        found = await asyncio.gather(asked(boxes[0], "example.com"), asked(boxes[0], "example.com", by_tcp=True))
        assert [answer.values for answer in found] == [["198.51.100.9"]] * 2
        service.update(WEB, names(endpoint("web", addresses="10.0.0.2"), upstreams=servers[:1]))
        assert (await asked(boxes[0], "example.com")).code == SERVFAIL


async def test_only_the_answer_to_the_question_counts(service: NameService, boxes: list[int]) -> None:
    def behave(query: bytes) -> list[bytes]:
        other = build_query("example.org", ident=int.from_bytes(query[:2], "big"))
        return [
            b"", b"\xff" * 40, query, query[:5],
            bytes((query[0] ^ 1,)) + build_reply(query, "203.0.113.1")[1:],
            build_reply(other, "203.0.113.2"),
            build_reply(query, "198.51.100.9"),
            build_reply(query, "203.0.113.3"),
        ]  # fmt: skip

    with Server(behave) as upstream:
        known = names(endpoint("web", addresses="10.0.0.2"), upstreams=(upstream.upstream(),))
        await service.join(WEB, boxes[0], known)
        for by_tcp in (False, True):
            assert (await asked(boxes[0], "example.com", by_tcp=by_tcp)).values == ["198.51.100.9"]


async def test_a_truncated_answer_makes_the_client_come_again_by_tcp(service: NameService, boxes: list[int]) -> None:
    def behave(query: bytes) -> list[bytes]:
        first = len(upstream.queries) == 1
        return [build_reply(query, "" if first else "198.51.100.9", truncated=first)]

    with Server(behave) as upstream:
        known = names(endpoint("web", addresses="10.0.0.2"), upstreams=(upstream.upstream(),))
        await service.join(WEB, boxes[0], known)
        assert (await asked(boxes[0], "example.com")).truncated
        assert (await asked(boxes[0], "example.com", by_tcp=True)).values == ["198.51.100.9"]


async def test_an_answer_longer_than_asked_for_is_passed_on_whole(service: NameService, boxes: list[int]) -> None:
    with Server(lambda query: [build_reply(query, "198.51.100.9") + bytes(8000)]) as upstream:
        known = names(endpoint("web", addresses="10.0.0.2"), upstreams=(upstream.upstream(),))
        await service.join(WEB, boxes[0], known)
        assert len((await asked(boxes[0], "example.com")).raw) > 8000


async def test_1024_queries_are_on_their_way_at_most_and_the_others_wait(
    service: NameService, boxes: list[int]
) -> None:
    held: list[bytes] = []
    released = asyncio.Event()
    loop = asyncio.get_running_loop()
    enough = asyncio.Event()

    def behave(query: bytes) -> list[bytes]:
        answers = [build_reply(query, "198.51.100.9")] if released.is_set() else []
        held.append(query)
        if len(held) == 1024:
            loop.call_soon_threadsafe(enough.set)
        return answers

    with Server(behave) as upstream:
        upstream.udp.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        known = names(endpoint("web", addresses="10.0.0.2"), upstreams=(upstream.upstream(),))
        await service.join(WEB, boxes[0], known)
        with within(boxes[0], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as raw:
            raw.connect(("127.0.0.11", 53))
            raw.settimeout(15)
            raw.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
            # In portions: the server's socket holds what was not read yet, and not all of 1,100 packets.
            for first in range(0, 1100, 100):
                for number in range(first, first + 100):
                    raw.send(build_query(f"n{number}.example", ident=number))
                await asyncio.sleep(0)
                await asked(boxes[0], "web")
            await asyncio.wait_for(enough.wait(), 15)
            assert len({query[12:] for query in held}) == 1024
            released.set()
            # What waited is asked once the held ones time out at their only server.
            answers = [await asyncio.to_thread(raw.recv, 1000) for _ in range(1100)]
        codes = [data[3] & 15 for data in answers]
        assert codes.count(SERVFAIL) >= 1024
        assert codes.count(0) + codes.count(SERVFAIL) + codes.count(REFUSED) == 1100
        assert len({data[:2] for data in answers}) == 1100, "each was answered once"


async def test_many_queries_on_one_connection_are_all_answered(service: NameService, boxes: list[int]) -> None:
    with Server(answering("198.51.100.9")) as upstream:
        known = names(endpoint("web", addresses="10.0.0.2"), upstreams=(upstream.upstream(),))
        await service.join(WEB, boxes[0], known)

        def talk() -> set[str]:
            seen = set()
            with within(boxes[0], lambda: socket.create_connection(("127.0.0.11", 53), 15)) as raw:
                queries = {}
                for number in range(200):
                    query = build_query("web" if number % 2 else f"n{number}.example", ident=number)
                    queries[query[:2]] = query
                raw.sendall(b"".join(len(query).to_bytes(2, "big") + query for query in queries.values()))
                raw.shutdown(socket.SHUT_WR)
                for _ in range(200):
                    data = read_message(raw)
                    seen.update(parse_answer(data, queries.pop(data[:2])).values)
                assert raw.recv(1) == b""
            return seen

        assert await asyncio.to_thread(talk) == {"10.0.0.2", "198.51.100.9"}


async def test_a_thousand_queries_that_fail_at_once_do_not_exhaust_the_stack(
    service: NameService, boxes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    await service.join(WEB, boxes[0], names(endpoint("web", addresses="10.0.0.2")))

    def talk() -> int:
        query = build_query("nobody.example")
        with within(boxes[0], lambda: socket.create_connection(("127.0.0.11", 53), 15)) as raw:
            raw.sendall((len(query).to_bytes(2, "big") + query) * 2000)
            return sum(parse_answer(read_message(raw), query).code == SERVFAIL for _ in range(2000))

    assert await asyncio.to_thread(talk) == 2000
    assert not caplog.records


async def test_garbage_harms_nobody(
    service: NameService, boxes: list[int], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    import random

    source = random.Random(4)
    await service.join(WEB, boxes[0], names(endpoint("web", addresses="10.0.0.2")))
    before = process_behind(tmp_path)

    def bother() -> list[socket.socket]:
        kept = []
        with within(boxes[0], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as raw:
            raw.connect(("127.0.0.11", 53))
            good = build_query("web", edns=1232)
            for _ in range(3000):
                packet = bytearray(good if source.random() < 0.7 else source.randbytes(source.randrange(0, 600)))
                for _ in range(source.randrange(4)):
                    if packet:
                        packet[source.randrange(len(packet))] = source.randrange(256)
                raw.send(packet[: source.randrange(len(packet) + 1)] if source.random() < 0.3 else packet)
            raw.send(b"")
            raw.send(bytes(60000))
        for number in range(300):
            caller = within(boxes[0], lambda: socket.create_connection(("127.0.0.11", 53), 15))
            kept.append(caller)
            try:
                if number % 3 == 0:
                    caller.sendall(source.randbytes(3000))
                elif number % 3 == 1:
                    caller.sendall(b"\xff\xff" + good)
                else:
                    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    caller.close()
            except OSError:
                continue
        return kept

    kept = await asyncio.to_thread(bother)
    assert (await asked(boxes[0], "web")).values == ["10.0.0.2"]
    for caller in kept:
        caller.close()
    assert (await asked(boxes[0], "web", by_tcp=True)).values == ["10.0.0.2"]
    assert process_behind(tmp_path) == before
    assert not caplog.records


def send_for_ever(raw: socket.socket, data: bytes) -> None:
    for _ in range(5000):
        raw.sendall(data)


async def test_a_client_that_does_not_read_is_not_waited_for(service: NameService, boxes: list[int]) -> None:
    addresses = " ".join(f"10.0.{high}.{low}" for high in range(4) for low in range(250))
    await service.join(WEB, boxes[0], names(endpoint("all", addresses=addresses)))
    query = build_query("all")
    with within(boxes[0], lambda: socket.create_connection(("127.0.0.11", 53), 2)) as raw:
        many = (len(query).to_bytes(2, "big") + query) * 100
        with pytest.raises(TimeoutError):
            send_for_ever(raw, many)
        assert (await asked(boxes[0], "all", by_tcp=True)).values


def test_all_containers_together_cannot_use_up_the_descriptors() -> None:
    """Two of them share three queries on their way; what waits begins when one of its own ends."""
    problems: list[Exception] = []
    loop = Loop(problems.append)
    deadlines, budget = loop.deadlines_of(60), Budget(3)
    answers: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        many, few = (Forwarder(loop, deadlines, budget, server) for _ in range(2))
        many.servers = few.servers = (("127.0.0.1", server.getsockname()[1], True),)
        for forwarder in (many, many, many, many, few):
            query = parse_query(build_query("a.example"))
            assert isinstance(query, Query)
            forwarder.ask(query, answers.append, by_tcp=False)
        assert [len(item.active) for item in (many, few)] == [3, 0]
        assert [len(item.waiting) for item in (many, few)] == [1, 1]
        for left in (3, 2):
            data, sender = server.recvfrom(512)
            server.sendto(build_reply(data, "192.0.2.1"), sender)
            loop.turn(10)
            assert len(many.active) == left
        for waiting in list(few.waiting):
            del few.waiting[waiting]
            few.ask(waiting.query, answers.append, by_tcp=False)
        assert len(few.active) == 1
        many.close()
        few.close()
        assert budget.left == 3
    assert len(answers) == 2
    assert not problems
