"""The engine's composition root: makes every manager once, starts and stops them in order."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import shutil
import socket
import uuid
from collections.abc import Awaitable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from engine.build.cache import BuildCache
from engine.config import EngineConfig, RuntimeSetting
from engine.containers.announce import ContainerEvents
from engine.containers.archive import ContainerArchives
from engine.containers.copies import Copies
from engine.containers.creator import Creator
from engine.containers.execs import ExecManager
from engine.containers.health import HealthMonitor
from engine.containers.index import ContainerIndex
from engine.containers.launcher import Launcher
from engine.containers.lifecycle import Lifecycle, Observer
from engine.containers.listing import ContainerListing
from engine.containers.logforwarding import LogForwarding
from engine.containers.logrotate import LogRotator
from engine.containers.manager import ContainerManager
from engine.containers.networking import ContainerNetworking
from engine.containers.options import CreateDefaults
from engine.containers.paths import ContainerPaths
from engine.containers.questions import ContainerQuestions
from engine.containers.remapping import Remapping, forget_remapping
from engine.containers.snapshots import ContainerSnapshots
from engine.containers.specs import ContainerSpecs
from engine.containers.store import ContainerStore
from engine.containers.watcher import ExitWatcher
from engine.errors import NotSupported, PortsideError, Unavailable
from engine.events import EventBus
from engine.images.archives import ImageArchives
from engine.images.commits import ImageCommits
from engine.images.exports import TreeExports
from engine.images.listing import ImageListing
from engine.images.manager import ImageManager
from engine.images.pull import Puller
from engine.images.push import Pusher
from engine.lean import give_back_memory
from engine.lock import DataRootLock, PidFile
from engine.model.container import LogConfig
from engine.model.record import ContainerRecord
from engine.model.system import AuthConfig, AuthResponse, Event
from engine.model.volume import Volume
from engine.networks.manager import NetworkManager, read_host
from engine.networks.settings import NetworkSettings
from engine.plugins.protocol import PluginCatalog
from engine.plugins.volumes import PluginVolumeDrivers
from engine.registry.hosts import RegistrySettings
from engine.registry.inspection import Registries
from engine.runtime import apparmor, cgrouptree
from engine.runtime.drivers import RuntimeBinary, RuntimeCatalog
from engine.runtime.host import probe_host
from engine.runtime.inotify import Inotify
from engine.runtime.mounts import Mounter, make_shared
from engine.runtime.spec import SpecDefaults
from engine.runtime.usernamespaces import read_map
from engine.server.absent import absent_routes
from engine.server.app import build_app
from engine.server.archive import ArchiveApi
from engine.server.buildroutes import BuildRoutes
from engine.server.commit import CommitApi
from engine.server.containers import ContainersApi
from engine.server.events import EventsApi
from engine.server.exec import ExecApi
from engine.server.grpc import GrpcApi
from engine.server.images import ImagesApi
from engine.server.info import InfoSource
from engine.server.listeners import (
    ACCEPTED_AT_ONCE,
    Listener,
    OutOfDescriptors,
    close_listeners,
    notify_ready,
    open_listeners,
    restore_backlogs,
)
from engine.server.networks import NetworksApi
from engine.server.plugins import plugin_routes
from engine.server.push import PushApi
from engine.server.runner import Runner
from engine.server.system import SystemApi, go_arch
from engine.server.volumes import VolumesApi
from engine.store.database import Database
from engine.volumes.manager import VolumeManager

if TYPE_CHECKING:
    from engine.build.manager import Builder

log = logging.getLogger(__name__)

_DRAIN_S = 2.0
_KERNEL_MTU = 1500


class Engine:
    """One engine: ``run`` serves until ``stop`` is called."""

    def __init__(self, config: EngineConfig) -> None:
        """Take the lock, listen, open the store and make the managers; must run in a loop.

        Clients that come meanwhile wait until ``run`` serves them. Raises Conflict when another engine has the
        data root or the socket, NotSupported when this host lacks what is needed.
        """
        self.config = config
        self._stopping = asyncio.Event()
        self._lock = DataRootLock(config.data_root)
        conmon = shutil.which("conmon")
        if conmon is None:
            raise NotSupported("conmon is not installed", hint="install the package conmon")
        self._conmon = Path(conmon)
        self._database = Database(config.data_root / "engine.db")
        self._pidfile = PidFile(config.pidfile)
        self._listeners: list[Listener] = []
        try:
            self._listeners = open_listeners(config)
            self._compose(config)
        except BaseException:
            self._give_up_place()
            raise

    def _compose(self, config: EngineConfig) -> None:
        _make_exec_root(config.exec_root)
        os.environ.setdefault("TMPDIR", str(config.data_root))
        self._events = EventBus(self._database)
        self._inotify = Inotify()
        self._host = probe_host()
        if self._host.apparmor:
            try:
                apparmor.ensure_loaded()
            except PortsideError as error:
                # Each start of a container tries again, and fails with this text; the rest goes on.
                log.warning("%s", error.message)
        self._runtimes = RuntimeCatalog(config.exec_root / "runtimes", _binaries(config.runtimes))
        self._runtimes.choose_default(config.runtime)
        self._images = ImageManager(self._database, config.data_root, self._events)
        self._puller = Puller(
            self._images, lambda: _registry_settings(self.config), go_arch(), config.max_concurrent_downloads
        )
        self._pusher = Pusher(self._images, lambda: _registry_settings(self.config), config.max_concurrent_uploads)
        self._mounter = Mounter(self._images.layers.root)
        self._paths = ContainerPaths(config.data_root, config.exec_root)
        index = ContainerIndex()
        self._build_steps: dict[str, ContainerRecord] = {}  # containers of builds, which no list shows

        def find_for_networks(container_ref: str) -> ContainerRecord:
            return self._build_steps.get(container_ref) or index.find(container_ref)

        self._networks = NetworkManager(
            self._database,
            read_host(config.instance, config.bridge, config.exec_root),
            _network_settings(config),
            self._events,
            find_for_networks,
        )
        self._volumes = VolumeManager(config.data_root / "volumes", self._database, self._events)
        self._volumes.drivers = PluginVolumeDrivers(PluginCatalog())
        specs = ContainerSpecs(self._paths, self._host, _spec_defaults(config), index.find)
        self._copies = Copies()
        self._remapping = self._remap(config, index)
        launcher = Launcher(
            self._paths,
            config.instance,
            self._conmon,
            self._runtimes,
            self._mounter,
            self._images,
            self._networks,
            self._volumes,
            specs,
            self._copies,
            self._remapping,
        )
        store = ContainerStore(self._database)
        announce = ContainerEvents(self._events)
        self._listing = ContainerListing(self._image_name)
        self._rotator = LogRotator(self._paths)
        self._forwarding = LogForwarding(self._paths)
        observers: list[Observer] = [self._listing, self._rotator, self._forwarding]
        self._lifecycle = Lifecycle(launcher, self._networks, store, announce, observers)
        creator = Creator(
            self._images,
            self._networks,
            self._volumes,
            _create_defaults(config, self._runtimes),
            self._host,
            index.find,
            config.data_root,
        )
        self._containers = ContainerManager(
            self._lifecycle,
            launcher,
            self._images,
            self._networks,
            self._volumes,
            store,
            announce,
            index,
            creator,
        )
        self._questions = ContainerQuestions(
            self._containers,
            launcher,
            self._images,
            self._networks,
            announce,
            self._host.cgroups.version,
            self._lifecycle.spawn,
        )
        self._snapshots = ContainerSnapshots(
            self._containers,
            launcher,
            self._images,
            ImageCommits(self._images, go_arch()),
            TreeExports(self._images.layers.root),
            announce,
        )
        self._archives = ContainerArchives(
            self._containers, self._images, self._volumes, self._paths, self._copies, announce
        )
        self._networking = ContainerNetworking(self._containers, self._networks, self._lifecycle, store, self._paths)
        self._snapshots = ContainerSnapshots(
            self._containers,
            launcher,
            self._images,
            ImageCommits(self._images, go_arch()),
            TreeExports(self._images.layers.root),
            announce,
        )
        self._execs = ExecManager(self._containers, launcher, announce, self._inotify)
        observers.append(
            HealthMonitor(self._execs.run, announce, self._lifecycle.spawn, self._containers.health_changed)
        )
        self._watcher = ExitWatcher(self._paths, self._containers, self._lifecycle, self._inotify)
        self._images.users = self._volumes.users = self._containers
        self._build_cache = self._images.keeper = BuildCache(self._database, self._images.layers)
        self._builds = BuildRoutes(lambda: self._make_builder(config, specs, index))
        self._events.listen(self._notice)

    def _make_builder(self, config: EngineConfig, specs: ContainerSpecs, index: ContainerIndex) -> Builder:
        """Return the builder; its steps run in containers that are made of states instead of images."""
        from engine.build.manager import Builder, Host  # only who builds loads it
        from engine.build.records import BuildRecords
        from engine.build.runner import BuildRoots, StepRunner

        roots = BuildRoots(self._images.layers)
        launcher = Launcher(
            self._paths,
            config.instance,
            self._conmon,
            self._runtimes,
            self._mounter,
            roots,
            self._networks,
            self._volumes,
            specs,
            self._copies,
            self._remapping,
        )
        creator = Creator(
            roots,
            self._networks,
            self._volumes,
            _create_defaults(config, self._runtimes),
            self._host,
            index.find,
            config.data_root,
        )
        return Builder(
            self._images,
            self._puller,
            self._build_cache,
            BuildRecords(self._database),
            StepRunner(creator, launcher, self._networks, roots, self._inotify, self._build_steps),
            self._paths,
            self._mounter,
            Host("linux", go_arch()),
        )

    def _remap(self, config: EngineConfig, index: ContainerIndex) -> Remapping | None:
        """Return what shows containers their files under ``userns-remap``."""
        mapping = read_map(config.userns_remap, makes_default=True) if config.userns_remap else None
        if mapping is None:
            forget_remapping(config.exec_root)
            return None
        return Remapping(mapping, self._paths, self._images.layers.root, index.find)

    def _image_name(self, record: ContainerRecord) -> str:
        """Return what the list calls a container's image: its name as long as that means the same image."""
        name = record.config.image
        if self._questions.image_id(name) == record.image_id or name.startswith("sha256:"):
            return name
        return record.image_id

    def _notice(self, event: Event) -> None:
        if event.type == "image":
            self._listing.forget_all()
        elif event.action == "destroy" and event.type == "container" and self._images.table.hidden():
            self._lifecycle.spawn(_nothing(self._images.collect()), "freeing an image that was kept for a container")

    def _app(self) -> web.Application:
        listing = ImageListing(self._images)
        info = InfoSource(
            self._engine_id(),
            lambda: self.config,
            self._host,
            self._runtimes,
            self._containers,
            self._events,
            lambda: self._images.count,
            self._conmon,
        )

        async def login(credentials: AuthConfig) -> AuthResponse:
            from engine.registry.client import login as check  # only who logs in loads the client

            return await check(_registry_settings(self.config), credentials)

        usage = _VolumeUsage(self._volumes)
        system = SystemApi(info, listing, usage, self._all_containers, self._builds.usage, login)
        apis = (
            system,
            EventsApi(self._events),
            # Before the containers: a link is named CONTAINER/ALIAS.
            NetworksApi(self._networks.administration, self._networking),
            ContainersApi(self._containers, self._questions, self._listing, self._paths, self._inotify),
            ArchiveApi(self._archives),
            ExecApi(self._execs),
            CommitApi(self._snapshots),
            ImagesApi(self._images, ImageArchives(self._images), listing, self._puller),
            PushApi(self._pusher, Registries(lambda: _registry_settings(self.config))),
            self._builds,
            GrpcApi(),
            VolumesApi(self._volumes),
        )
        return build_app([route for api in apis for route in api.routes()] + plugin_routes() + absent_routes())

    async def _all_containers(self) -> bytes:
        records = self._containers.index.records()
        sizes = {record.id: await self._questions.sizes(record) for record in records}
        return self._listing.encode(records, sizes)

    def _engine_id(self) -> str:
        rows = self._database.read("SELECT value FROM meta WHERE key = 'engine_id'")
        if rows:
            return str(rows[0][0])
        made = str(uuid.uuid4())
        self._database.write_soon(("INSERT INTO meta VALUES ('engine_id', ?)", (made,)))
        return made

    async def run(self) -> None:
        """Recover what an earlier engine left, then serve until ``stop``."""
        try:
            asyncio.get_running_loop().set_exception_handler(OutOfDescriptors())
            async with asyncio.TaskGroup() as tasks:
                self._lifecycle.use_tasks(tasks)
                await self._start()
                runner = Runner(self._app(), handler_cancellation=True, access_log=None, shutdown_timeout=_DRAIN_S)
                await runner.setup()
                for listener in self._listeners:
                    await web.SockSite(
                        runner, listener.socket, ssl_context=listener.context, backlog=ACCEPTED_AT_ONCE
                    ).start()
                restore_backlogs(self._listeners)
                notify_ready()
                gc.collect()
                gc.freeze()
                give_back_memory()
                log.info("ready: %s", ", ".join(self.config.hosts))
                await self._stopping.wait()
                log.info("stopping; containers go on")
                self._watcher.close()
                self._events.close()
                await runner.cleanup()
                self._lifecycle.end_tasks()
        finally:
            self._give_up_place()
            await self._close()

    def _give_up_place(self) -> None:
        close_listeners(self._listeners)
        self._pidfile.release()

    async def _start(self) -> None:
        self._volumes.load()
        await self._containers.recover()
        self._forwarding.restore(item.id for item in self._containers.all() if item.is_running)
        self._volumes.restore(self._containers.volumes_in_use())
        self._watcher.start()
        self._lifecycle.spawn(self._rotator.run(), "rotating logs")
        self._lifecycle.spawn(_nothing(self._images.sweep()), "sweeping images")

    def stop(self) -> None:
        """Make ``run`` end in order; containers go on."""
        self._stopping.set()

    def reload(self, config: EngineConfig) -> None:
        """Take over the settings that can change while the engine runs."""
        if config.max_concurrent_downloads != self.config.max_concurrent_downloads:
            self._puller.limit(config.max_concurrent_downloads)
        if config.max_concurrent_uploads != self.config.max_concurrent_uploads:
            self._pusher.limit(config.max_concurrent_uploads)
        self.config = config
        attributes = {
            "name": socket.gethostname(),
            "debug": str(config.debug).lower(),
            "labels": json.dumps(config.labels),
            "insecure-registries": json.dumps(config.insecure_registries),
            "registry-mirrors": json.dumps(config.registry_mirrors),
            "live-restore": "true",
            "max-concurrent-downloads": str(config.max_concurrent_downloads),
            "max-concurrent-uploads": str(config.max_concurrent_uploads),
        }
        self._events.publish("daemon", "reload", self._engine_id(), attributes)

    async def _close(self) -> None:
        try:
            await self._networks.aclose()
        except PortsideError as error:
            log.warning("networks are not closed in order: %s", error.message)
        self._forwarding.close()
        if self._remapping is not None:
            self._remapping.close()
        self._inotify.close()
        self._archives.close()
        self._copies.close()
        self._mounter.close()
        self._runtimes.close()
        cgrouptree.remove_empty(self.config.instance)
        self._database.close()
        self._lock.release()


class _VolumeUsage:
    def __init__(self, volumes: VolumeManager) -> None:
        self._volumes = volumes

    async def disk_usage(self) -> list[Volume]:
        return await self._volumes.usage()


def _make_exec_root(folder: Path) -> None:
    try:
        make_shared(folder)
    except OSError as error:
        raise Unavailable(f"exec root {folder}: {error.strerror}", hint="choose another --exec-root") from error


async def _nothing(work: Awaitable[object]) -> None:
    await work


def _binaries(configured: dict[str, RuntimeSetting]) -> dict[str, RuntimeBinary]:
    found: dict[str, RuntimeBinary] = {}
    for name, setting in configured.items():
        path = shutil.which(setting.path)
        if path is None:
            raise NotSupported(f"runtime {name}: {setting.path} is not there or cannot be run")
        base = Path(path).name
        kind = base if base in ("crun", "runc") else "other"
        found[name] = RuntimeBinary(name, kind, Path(path), setting.arguments)
    return found


def _network_settings(config: EngineConfig) -> NetworkSettings:
    settings = NetworkSettings(
        bip=config.bip,
        bridge_mtu=0 if config.mtu == _KERNEL_MTU else config.mtu,
        icc=config.icc,
        dns=config.dns,
        dns_search=config.dns_search,
        dns_options=config.dns_options,
    )
    if config.default_address_pools:
        pools = [(pool.base, pool.size) for pool in config.default_address_pools]
        settings = replace(
            settings,
            pools=tuple((base, size) for base, size in pools if isinstance(base, IPv4Network)),
            pools6=tuple((base, size) for base, size in pools if isinstance(base, IPv6Network)),
        )
    if config.publish_address is not None:
        settings = replace(settings, default_ip=config.publish_address)
    return settings


def _spec_defaults(config: EngineConfig) -> SpecDefaults:
    return SpecDefaults(
        init=config.init,
        init_path=config.init_path,
        no_new_privileges=config.no_new_privileges,
        ulimits=config.default_ulimits,
        seccomp=config.seccomp_profile.read_text() if config.seccomp_profile else "",
        cdi_folders=config.used_cdi_folders,
    )


def _create_defaults(config: EngineConfig, runtimes: RuntimeCatalog) -> CreateDefaults:
    return CreateDefaults(
        runtime=runtimes.default_name,
        runtimes=frozenset(runtimes.binaries),
        log=LogConfig(type=config.log_driver, config=dict(config.log_options)),
        shm_size_bytes=config.default_shm_size_bytes,
        ulimits=config.default_ulimits,
        remaps=bool(config.userns_remap),
    )


def _registry_settings(config: EngineConfig) -> RegistrySettings:
    return RegistrySettings(
        mirrors=config.registry_mirrors, insecure=config.insecure_registries, proxies=config.proxies
    )
