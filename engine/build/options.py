"""What a build was asked for, apart from its context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.model.resources import Ulimit
from engine.model.system import AuthConfig
from engine.wire.references import Reference


@dataclass(frozen=True)
class BuildOptions:
    """The parameters of ``POST /build``.

    Sizes are bytes. ``cache_from`` None lets every cached step count. ``secrets`` are contents by ID, ``agents``
    the paths of SSH agents' sockets by ID; both are given to RUN steps alone and kept nowhere.
    """

    dockerfile: str = ""
    tags: list[Reference] = field(default_factory=list)
    target: str = ""
    arguments: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    no_cache: bool = False
    cache_from: list[str] | None = None
    pull: bool = False
    remove: bool = True
    force_remove: bool = False
    network_mode: str = ""
    extra_hosts: list[str] = field(default_factory=list)
    shm_size: int = 0
    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""
    ulimits: list[Ulimit] = field(default_factory=list)
    credentials: Mapping[str, AuthConfig] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    agents: Mapping[str, str] = field(default_factory=dict)
    is_detailed: bool = False  # a client of ours asks: what becomes of each step, and why it is built anew
    is_check: bool = False  # say what the build checks find, and build nothing
    is_debug: bool = False  # keep what a step that fails began with as an image without a name
    id: str = ""
