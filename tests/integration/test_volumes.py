"""Volumes on a real disk with a real database: what a crash leaves, mounts, removal, sizes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.errors import Conflict, Internal, InvalidArgument, NotFound, Unavailable
from engine.model.base import given
from engine.model.volume import VolumeUsage
from engine.runtime.mountinfo import is_mount_point
from engine.store.database import Database
from engine.volumes.manager import ANONYMOUS_LABEL, VolumeManager


@dataclass
class Events:
    """Remembers what was published."""

    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def publish(
        self,
        kind: str,
        action: str,
        actor_id: str,
        attributes: dict[str, str] | None = None,
        *,
        time_ns: int | None = None,
    ) -> None:
        """Remember an event."""
        assert kind == "volume"
        self.seen.append((action, actor_id, attributes or {}))

    def actions(self) -> list[str]:
        """Return the actions in order."""
        return [action for action, _, _ in self.seen]


@dataclass
class Users:
    """Containers that have volumes."""

    volumes: dict[str, list[str]] = field(default_factory=dict)

    def containers_using_volume(self, name: str) -> list[str]:
        """Return who has a volume."""
        return self.volumes.get(name, [])


class Engine:
    """A manager that can be started anew on the same folder."""

    def __init__(self, folder: Path) -> None:
        """Start the first one."""
        self.folder = folder
        self.events = Events()
        self.users = Users()
        self.start()

    def start(self) -> None:
        """Start a manager on what the last one left."""
        self.database = Database(self.folder / "state.db")
        self.manager = VolumeManager(self.folder / "volumes", self.database, self.events)
        self.manager.users = self.users
        self.manager.load()

    def restart(self) -> None:
        """End and start again."""
        self.database.close()
        self.start()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    found = Engine(tmp_path)
    yield found
    found.manager.restore([])
    found.database.close()


async def test_create_is_idempotent_and_survives(engine: Engine) -> None:
    first = await engine.manager.create("data", "", {}, {"a": "b"})
    again = await engine.manager.create("data", "local", None, None)
    assert again == first
    assert Path(first.mountpoint).stat().st_mode & 0o777 == 0o755
    assert Path(first.mountpoint).parent.stat().st_mode & 0o777 == 0o701
    engine.restart()
    assert engine.manager.get("data") == first
    assert engine.events.actions() == ["create"]


async def test_anonymous_volume_has_docker_s_label(engine: Engine) -> None:
    made = await engine.manager.create()
    assert len(made.name) == 64
    assert made.labels == {ANONYMOUS_LABEL: ""}


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("a", {}, "create a: volume name is too short, names should be at least two alphanumeric characters"),
        (
            "../x",
            {},
            'create ../x: "../x" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path',
        ),
        ("data", {"colour": "red"}, 'create data: invalid option: "colour"'),
        ("data", {"type": "tmpfs"}, 'create data: missing required option: "device"'),
        ("data", {"o": "bind", "device": "/x"}, 'create data: missing required option: "type"'),
        ("data", {"size": "1g"}, "create data: quota size requested but no quota support"),
        ("data", {"size": "big"}, "create data: invalid size: 'big'"),
    ],
)
async def test_bad_names_and_options(engine: Engine, name: str, options: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await engine.manager.create(name, "", options)
    assert raised.value.message == text
    assert engine.manager.all() == []
    assert list((engine.folder / "volumes").iterdir()) == []


async def test_the_longest_name(engine: Engine) -> None:
    with pytest.raises(Internal) as raised:
        await engine.manager.create("x" * 256)
    assert raised.value.message == (
        f"create {'x' * 256}: error while creating volume root path '{engine.folder}/volumes/{'x' * 256}': "
        f"mkdir {engine.folder}/volumes/{'x' * 256}: file name too long"
    )
    assert engine.manager.all() == []
    made = await engine.manager.create("x" * 255, "", {"size": "0"})
    await engine.manager.remove(made.name)
    assert list((engine.folder / "volumes").iterdir()) == []


async def test_unknown_driver_is_refused_by_name(engine: Engine) -> None:
    await engine.manager.create("data")
    with pytest.raises(NotFound, match='create data: error looking up volume plugin nfs2: plugin "nfs2" not found'):
        await engine.manager.create("data", "nfs2")


async def test_remove_deletes_content_and_tells_who_uses_it(engine: Engine) -> None:
    made = await engine.manager.create("data")
    (Path(made.mountpoint) / "file").write_text("x")
    engine.users.volumes["data"] = ["c2", "c1"]
    with pytest.raises(Conflict) as raised:
        await engine.manager.remove("data", force=True)
    assert raised.value.message == "remove data: volume is in use - [c1, c2]"
    engine.users.volumes.clear()
    await engine.manager.remove("data")
    assert list((engine.folder / "volumes").iterdir()) == []
    with pytest.raises(NotFound, match="get data: no such volume"):
        await engine.manager.remove("data")
    await engine.manager.remove("data", force=True)
    engine.restart()
    assert engine.manager.all() == []
    assert engine.events.actions() == ["create", "destroy"]


async def test_two_removals_at_once_leave_one_error(engine: Engine) -> None:
    await engine.manager.create("data")
    outcomes = await asyncio.gather(*(engine.manager.remove("data") for _ in range(3)), return_exceptions=True)
    assert [type(item) for item in outcomes].count(NotFound) == 2
    assert outcomes.count(None) == 1


async def test_removal_cut_off_before_its_record_went_is_undone(engine: Engine) -> None:
    made = await engine.manager.create("data")
    (Path(made.mountpoint) / "file").write_text("kept")
    engine.database.close()
    (engine.folder / "volumes/.trash-0123abcd").mkdir()
    Path(made.mountpoint).parent.rename(engine.folder / "volumes/.trash-0123abcd/data")
    engine.start()
    assert (Path(engine.manager.get("data").mountpoint) / "file").read_text() == "kept"


async def test_removal_cut_off_after_its_record_went_is_finished(engine: Engine) -> None:
    trash = engine.folder / "volumes/.trash-0123abcd/data"
    (trash / "_data").mkdir(parents=True)
    (trash / "_data/file").write_text("x")
    (engine.folder / "volumes/.trash-fedcba98").mkdir()
    engine.restart()
    assert list((engine.folder / "volumes").iterdir()) == []
    assert engine.manager.all() == []


async def test_creation_cut_off_is_finished_or_dropped(engine: Engine) -> None:
    made = await engine.manager.create("data")
    Path(made.mountpoint).rmdir()
    Path(made.mountpoint).parent.rmdir()
    (engine.folder / "volumes/never/_data").mkdir(parents=True)
    engine.restart()
    assert Path(made.mountpoint).is_dir()
    assert not (engine.folder / "volumes/never").exists()


async def test_a_folder_with_content_but_no_record_is_left_alone(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    stray = engine.folder / "volumes/stray/_data/file"
    stray.parent.mkdir(parents=True)
    stray.write_text("someone's")
    engine.restart()
    assert stray.read_text() == "someone's"
    assert "belongs to no volume" in caplog.text


async def test_tmpfs_volume_is_mounted_while_it_is_used(engine: Engine) -> None:
    await engine.manager.create("fast", "", {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,noexec,mode=700"})
    path = await engine.manager.mount("fast", "c1", destination="/fast")
    assert is_mount_point(path)
    (path / "file").write_text("x")
    assert await engine.manager.mount("fast", "c2") == path
    await engine.manager.unmount("fast", "c1")
    await engine.manager.unmount("fast", "c1")
    assert (path / "file").read_text() == "x"
    with pytest.raises(Conflict):
        await engine.manager.remove("fast")
    await engine.manager.unmount("fast", "c2")
    assert not is_mount_point(path)
    assert engine.events.actions() == ["create", "mount", "mount", "unmount", "unmount"]
    assert engine.events.seen[1][2] == {
        "driver": "local",
        "container": "c1",
        "destination": "/fast",
        "read/write": "true",
        "propagation": "",
    }


async def test_mounts_of_running_containers_are_taken_over(engine: Engine) -> None:
    for name in ("one", "two"):
        await engine.manager.create(name, "", {"type": "tmpfs", "device": "tmpfs"})
    one = await engine.manager.mount("one", "c1")
    two = await engine.manager.mount("two", "c2")
    engine.restart()
    engine.manager.restore([("one", "c1")])
    assert is_mount_point(one)
    assert not is_mount_point(two)
    await engine.manager.unmount("one", "c1")
    assert not is_mount_point(one)


async def test_bind_volume_shows_the_folder_read_only(engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("x")
    await engine.manager.create("bound", "", {"type": "none", "device": str(source), "o": "bind,ro"})
    path = await engine.manager.mount("bound", "c1")
    assert (path / "file").read_text() == "x"
    with pytest.raises(OSError, match="Read-only"):
        (path / "other").write_text("y")
    await engine.manager.unmount("bound", "c1")
    await engine.manager.remove("bound")
    assert (source / "file").exists()


async def test_a_mount_that_fails_hides_the_password(engine: Engine) -> None:
    options = {"type": "tmpfs", "device": "x", "o": "password=secret,colour=red"}
    await engine.manager.create("bad", "", options)
    with pytest.raises(Unavailable) as raised:
        await engine.manager.mount("bad", "c1")
    assert "failed to mount local volume" in raised.value.message
    assert "secret" not in raised.value.message
    await engine.manager.remove("bad")


async def test_ensure_holds_a_volume_until_its_container_is_known(engine: Engine) -> None:
    path = await engine.manager.ensure("data", "", {}, {}, container_id="c1")
    assert path.is_dir()
    with pytest.raises(Conflict):
        await engine.manager.remove("data")
    assert (await engine.manager.prune({"all": ["true"]})).volumes_deleted == []
    await engine.manager.unmount("data", "c1")
    assert (await engine.manager.prune({"all": ["true"]})).volumes_deleted == ["data"]
    assert engine.events.actions() == ["create", "prune", "destroy", "prune"]


async def test_prune_takes_anonymous_ones_and_counts_what_came_free(engine: Engine) -> None:
    anonymous = await engine.manager.create()
    await engine.manager.create("named")
    await engine.manager.create("mounted", "", {"type": "tmpfs", "device": "tmpfs"})
    folder = Path(anonymous.mountpoint)
    (folder / "file").write_bytes(b"x" * 1000)
    (folder / "link").hardlink_to(folder / "file")
    report = await engine.manager.prune({})
    assert report.volumes_deleted == [anonymous.name]
    assert report.space_reclaimed == 1000
    assert (await engine.manager.prune({"all": ["1"], "label!": ["keep"]})).volumes_deleted == ["named"]
    assert [volume.name for volume in engine.manager.all()] == ["mounted"]


async def test_usage_measures_local_volumes(engine: Engine) -> None:
    made = await engine.manager.create("data")
    (Path(made.mountpoint) / "file").write_bytes(b"x" * 500)
    engine.users.volumes["data"] = ["c1", "c2"]
    await engine.manager.create("mounted", "", {"type": "tmpfs", "device": "tmpfs"})
    (found,) = await engine.manager.usage()
    usage = given(found.usage_data, VolumeUsage())
    assert (usage.size, usage.ref_count) == (500, 2)


async def test_list_filters(engine: Engine) -> None:
    await engine.manager.create("web-data", labels={"tier": "web"})
    await engine.manager.create("db-data", labels={"tier": "db"})
    engine.users.volumes["db-data"] = ["c1"]

    def names(**filters: list[str]) -> list[str]:
        return [volume.name for volume in engine.manager.all(filters)]

    assert names() == ["db-data", "web-data"]
    assert names(name=["web"]) == ["web-data"]
    assert names(label=["tier=db"]) == ["db-data"]
    assert names(dangling=["true"]) == ["web-data"]
    assert names(dangling=["false"]) == ["db-data"]
    assert names(driver=["other"]) == []


async def test_a_limited_volume_where_nothing_can_be_limited_any_more(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The file system was mounted otherwise: the engine starts, and the volume is refused when it is used."""
    monkeypatch.setattr("engine.volumes.quota.has_quotas", lambda _: True)
    monkeypatch.setattr("engine.volumes.quota.limit", lambda *_: None)
    await engine.manager.create("small", "", {"size": "1m"})
    monkeypatch.undo()
    engine.restart()
    assert "volume small" in caplog.text
    with pytest.raises(Internal, match="size quota requested for volume but no quota support"):
        await engine.manager.mount("small", "c1")
    await engine.manager.remove("small")
