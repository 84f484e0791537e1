"""What the client promises of any engine, shown on dockerd, podman's service and our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from engine.client import EngineClient
from engine.errors import Conflict, Internal, NotFound, PortsideError, Unavailable
from engine.model.container import ContainerCreateRequest, HostConfig
from engine.model.execution import ExecCreateRequest
from engine.model.volume import VolumeCreateRequest
from tests.contract.client_engines import RealEngine, run_dockerd, run_podman, run_portside

RUNNERS = {"dockerd": run_dockerd, "podman": run_podman, "portside": run_portside}


@pytest.fixture(scope="module", params=sorted(RUNNERS))
def real_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    with RUNNERS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
async def client(real_engine: RealEngine) -> AsyncIterator[EngineClient]:
    async with EngineClient(real_engine.endpoint) as client:
        yield client
        for container in await client.containers.list(all=True):
            await client.containers.remove(container.id, force=True, volumes=True)


def request_of(*command: str, stdin: bool = False, tty: bool = False) -> ContainerCreateRequest:
    return ContainerCreateRequest(
        image="busybox",
        cmd=list(command),
        tty=tty,
        open_stdin=stdin,
        stdin_once=stdin,
        attach_stdin=stdin,
        attach_stdout=True,
        attach_stderr=True,
        host_config=HostConfig(network_mode="none"),
    )


async def test_what_an_engine_says_of_itself(client: EngineClient) -> None:
    ping = await client.system.ping()
    assert client.api_version == "" or client.api_version <= ping.api_version
    version = await client.system.version()
    assert version.version
    assert version.api_version == ping.api_version
    info = await client.system.info()
    assert info["OSType"] == "linux"


async def test_a_container_from_create_to_remove(client: EngineClient) -> None:
    created = await client.containers.create(request_of("sh", "-c", "echo out; echo err >&2; exit 3"), name="life")
    assert (await client.containers.inspect("life")).state.status in ("created", "configured")
    wait = await client.containers.start_wait(created.id, condition="next-exit")
    await client.containers.start(created.id)
    assert (await wait.result()).status_code == 3
    state = (await client.containers.inspect("life")).state
    assert (state.status, state.exit_code) == ("exited", 3)
    logs = [output async for output in client.containers.logs("life")]
    assert b"".join(output.data for output in logs if output.stream == "stdout") == b"out\n"
    assert b"".join(output.data for output in logs if output.stream == "stderr") == b"err\n"
    listed = await client.containers.list(all=True, filters={"name": ["life"]})
    assert [container.id for container in listed] == [created.id]
    await client.containers.rename("life", "after")
    await client.containers.remove("after")
    with pytest.raises(NotFound):
        await client.containers.inspect("after")


async def test_attached_input_is_whole_and_its_end_is_seen(client: EngineClient) -> None:
    created = await client.containers.create(request_of("sh", "-c", "wc -c; echo done", stdin=True))
    data = bytes(range(256)) * 8192
    async with await client.containers.attach(created.id, stdin=True, is_tty=False) as attached:
        wait = await client.containers.start_wait(created.id, condition="next-exit")
        await client.containers.start(created.id)
        await attached.write(data)
        await attached.close_write()
        seen = b"".join([output.data async for output in attached])
    assert seen.split() == [str(len(data)).encode(), b"done"]
    assert (await wait.result()).status_code == 0


async def test_a_terminal_is_one_raw_stream_of_the_asked_size(client: EngineClient) -> None:
    created = await client.containers.create(
        request_of("sh", "-c", "read x; stty size; echo err >&2", stdin=True, tty=True)
    )
    async with await client.containers.attach(created.id, stdin=True) as attached:
        await client.containers.start(created.id)
        for _ in range(100):
            try:
                await client.containers.resize(created.id, height=33, width=99)
                break
            except PortsideError:
                await asyncio.sleep(0.02)
        await attached.write(b"go\n")
        outputs = [output async for output in attached]
    text = b"".join(output.data for output in outputs)
    assert b"33 99\r\n" in text
    assert b"err\r\n" in text
    assert {output.stream for output in outputs} == {"stdout"}


async def test_exec_has_input_output_and_exit_code(client: EngineClient) -> None:
    created = await client.containers.create(request_of("sleep", "60"))
    await client.containers.start(created.id)
    command = ["sh", "-c", "cat; echo err >&2; exit 4"]
    exec_id = await client.exec.create(
        created.id, ExecCreateRequest(attach_stdin=True, attach_stdout=True, attach_stderr=True, cmd=command)
    )
    async with await client.exec.start(exec_id) as running:
        await running.write(b"hello")
        await running.close_write()
        outputs = [output async for output in running]
    assert b"".join(output.data for output in outputs if output.stream == "stdout") == b"hello"
    assert b"".join(output.data for output in outputs if output.stream == "stderr") == b"err\n"
    assert (await client.exec.inspect(exec_id)).exit_code == 4
    top = await client.containers.top(created.id)
    assert any("sleep" in " ".join(row) for row in top.processes)


async def test_events_are_followed_and_end_when_nobody_listens(client: EngineClient) -> None:
    async with client.system.events(filters={"type": ["container"]}) as events:
        created = await client.containers.create(request_of("true"))
        async with asyncio.timeout(10):
            event = await anext(events)
        assert (event.action, event.actor.id) == ("create", created.id)
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_stop_kill_pause_and_restart(client: EngineClient, real_engine: RealEngine) -> None:
    created = await client.containers.create(request_of("sleep", "60"))
    await client.containers.start(created.id)
    await client.containers.start(created.id)  # a second time changes nothing
    await client.containers.pause(created.id)
    assert (await client.containers.inspect(created.id)).state.paused
    await client.containers.unpause(created.id)
    await client.containers.restart(created.id, timeout_s=0)
    await client.containers.kill(created.id)
    assert (await client.containers.wait(created.id)).status_code == 137
    # Podman answers 500 where Docker's API has 409.
    with pytest.raises(Internal if real_engine.kind == "podman" else Conflict):
        await client.containers.kill(created.id)
    await client.containers.stop(created.id, timeout_s=0)  # of a stopped one changes nothing


async def test_what_is_not_there_is_not_found(client: EngineClient) -> None:
    with pytest.raises(NotFound):
        await client.containers.start("nope")
    with pytest.raises(NotFound):
        await client.images.inspect("nope")
    with pytest.raises(NotFound):
        await client.volumes.inspect("nope")
    with pytest.raises(NotFound):
        await client.exec.inspect("nope")
    with pytest.raises(NotFound):
        await client.containers.create(ContainerCreateRequest(image="nope", cmd=["true"]))


async def test_images_go_out_and_come_back(client: EngineClient) -> None:
    async def archive() -> AsyncIterator[bytes]:
        async for data in client.images.save(["busybox"]):
            yield data

    loaded = "".join([step.stream async for step in client.images.load(archive())])
    assert "busybox:latest" in loaded
    await client.images.tag("busybox", "other/name", "1.2")
    assert any("other/name:1.2" in tag for image in await client.images.list() for tag in image.repo_tags)
    assert len(await client.images.history("busybox")) >= 1
    assert await client.images.remove("other/name:1.2")


async def test_volumes_are_kept_until_they_are_removed(client: EngineClient) -> None:
    created = await client.volumes.create(VolumeCreateRequest(name="kept", labels={"a": "b"}))
    assert created.name == "kept"
    assert (await client.volumes.inspect("kept")).labels == {"a": "b"}
    assert "kept" in [volume.name for volume in (await client.volumes.list()).volumes]
    await client.volumes.remove("kept")
    assert "kept" not in [volume.name for volume in (await client.volumes.list()).volumes]


async def test_a_hundred_calls_at_once(client: EngineClient) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.system.version()) for _ in range(100)]
    assert len({task.result().version for task in tasks}) == 1


async def test_nobody_listening_is_said_with_the_way_out(tmp_path: Path) -> None:
    async with EngineClient(f"unix://{tmp_path}/none.sock") as client:
        with pytest.raises(Unavailable) as caught:
            await client.system.ping()
    assert f"{tmp_path}/none.sock" in caught.value.message
    assert "start the engine" in caught.value.hint
