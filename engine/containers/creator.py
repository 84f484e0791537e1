"""From a request to a record: the image looked up, options checked and filled in, mounts planned."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from engine.containers.interfaces import ImageSource, Networks, ResolvedImage, Volumes
from engine.containers.mounts import plan_mounts, undo_mounts
from engine.containers.options import CreateDefaults, build_record
from engine.containers.resources import apply_update, verify_resources
from engine.containers.validate import check_restart_policy
from engine.errors import Conflict, InvalidArgument, NotFound
from engine.model.base import given
from engine.model.container import ContainerCreateRequest, ContainerUpdateRequest, HostConfig
from engine.model.record import ContainerRecord
from engine.runtime import cgroups
from engine.runtime.host import HostFacts, has_ipv4_forwarding

IMAGE_WARNING = "Image mount is an experimental feature"


class Creator:
    """Makes records of new containers and changes those of present ones."""

    def __init__(
        self,
        images: ImageSource,
        networks: Networks,
        volumes: Volumes,
        defaults: CreateDefaults,
        host: HostFacts,
        find: Callable[[str], ContainerRecord],
        data_root: Path,
    ) -> None:
        """``find`` returns the record that a reference means."""
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self.defaults = defaults
        self._host = host
        self._find = find
        self._data_root = data_root
        self._creating: dict[str, tuple[str, set[str]]] = {}

    def creating(self, image_id: str) -> list[tuple[str, str, bool]]:
        """Return (ID, name, false) of each container on its way that is made from an image or mounts it."""
        return [(key, name, False) for key, (name, images) in self._creating.items() if image_id in images]

    def settle(self, container_id: str) -> None:
        """Say that a container has been stored, or will not be."""
        self._creating.pop(container_id, None)

    async def create(
        self,
        request: ContainerCreateRequest,
        name: str,
        container_id: str,
        platform: str | None,
        api_version: tuple[int, int],
    ) -> tuple[ContainerRecord, list[str]]:
        """Return a complete record and the warnings of its creation; volumes that it names exist then.

        Its images count as used from the moment in which they are found until ``settle``.
        Raises NotFound for an unknown image, InvalidArgument for an unknown container and for wrong options,
        NotSupported for those that Portside lacks.
        """
        if not request.image:
            # moby has two texts: for a body without anything of the container's own, and for one without an image.
            rest = msgspec.structs.replace(request, host_config=UNSET, networking_config=UNSET)
            is_empty = rest == ContainerCreateRequest()
            raise InvalidArgument(
                "config cannot be empty in order to create a container" if is_empty else "no command specified"
            )
        self._creating[container_id] = (name, set())
        image = self._found(container_id, request.image, platform)
        try:
            return await self._build(request, image, name, container_id, platform, api_version)
        except NotFound as error:
            # moby's kind for every other object: a 404 would make the docker command line pull the image
            raise InvalidArgument(error.message, hint=error.hint) from error

    def _found(self, container_id: str, image_ref: str, platform: str | None = None) -> ResolvedImage:
        image = self._images.resolve(image_ref, platform)
        self._creating[container_id][1].add(image.id)
        return image

    async def _build(
        self,
        request: ContainerCreateRequest,
        image: ResolvedImage,
        name: str,
        container_id: str,
        platform: str | None,
        api_version: tuple[int, int],
    ) -> tuple[ContainerRecord, list[str]]:
        record, warnings = build_record(
            request,
            name=name,
            container_id=container_id,
            created_ns=time.time_ns(),
            image=image,
            defaults=self.defaults,
            host=self._host,
            find_container=self._find,
            api_version=api_version,
            platform=platform,
            ipv4_forwarding=has_ipv4_forwarding(),
        )
        if any(mount.type == "image" for mount in given(record.host_config.mounts, [])):
            warnings.insert(0, IMAGE_WARNING)
        warnings += self._networks.validate(record)
        record.mounts = await plan_mounts(
            record,
            request,
            image,
            self._volumes,
            self._find,
            find_image=partial(self._found, container_id),
            data_root=self._data_root,
            api_version=api_version,
        )
        return record, warnings

    async def undo(self, record: ContainerRecord) -> None:
        """Take back the volumes that ``create`` made."""
        await undo_mounts(record.id, record.mounts, self._volumes)

    def check_update(self, request: ContainerUpdateRequest) -> list[str]:
        """Check what an update asks for, drop what this host lacks and return the warnings about it.

        Raises InvalidArgument with moby's texts.
        """
        check_restart_policy(request.restart_policy)
        return verify_resources(request, self._host, update=True)

    def update(self, record: ContainerRecord, request: ContainerUpdateRequest) -> tuple[HostConfig, dict[str, Any]]:
        """Return the changed host configuration and the OCI resources that a running container gets.

        Raises Conflict with moby's texts; the record itself is not touched.
        """
        changed = msgspec.convert(msgspec.to_builtins(record.host_config), HostConfig)
        apply_update(changed, request)
        policy = request.restart_policy
        if policy.name:
            if record.host_config.auto_remove and policy.name != "no":
                raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
            changed.restart_policy = policy
        return changed, cgroups.changes(request)
