"""Images made of what a container has written (``docker commit``)."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from engine import __version__
from engine.containers.interfaces import NewImage
from engine.errors import NotFound
from engine.images.layers import LayerRecord
from engine.images.manager import ImageManager
from engine.images.records import ImageRecord
from engine.wire.references import Reference
from engine.wire.times import format_ns

EMPTY_DIFF_ID = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"  # a tar with nothing in it
_KEPT = ("architecture", "variant", "os", "os.version", "os.features")


class ImageCommits:
    """Makes images on top of others."""

    def __init__(self, images: ImageManager, architecture: str) -> None:
        """``architecture`` is that of an image which has none beneath it."""
        self._images = images
        self._architecture = architecture

    async def commit(self, wanted: NewImage, reference: Reference | None) -> str:
        """Make an image of a container's changes, named ``reference`` where there is one; return its ID.

        It is on the disk when this returns, and containers can start from it. Raises NotFound when the image
        beneath has gone, Unavailable when there is no room. A failure leaves nothing.
        """
        images = self._images
        async with images.working():
            parent = images.table.get(wanted.parent_id)
            if wanted.parent_id and parent is None:
                raise NotFound(f"No such image: {wanted.parent_id}")
            chain = parent.layers[-1] if parent and parent.layers else ""
            try:
                layer = await images.changesets.take(chain, wanted.upper)
            finally:
                wanted.check()  # that it is being removed explains whatever else failed
            is_empty = layer.diff_id == EMPTY_DIFF_ID
            beneath = self._layers_of(parent)
            layers = beneath if is_empty else [*beneath, layer]
            config = self._file(wanted, parent, layers, is_empty=is_empty)
            record, _ = await images.add(config, layers, [reference] if reference else [], parent=wanted.parent_id)
        if is_empty:
            await images.collect()  # the layer with nothing in it
        images.publish("create", record.id, record.id)
        if reference is not None:
            images.publish("tag", record.id, reference.familiar)
        return record.id

    def _layers_of(self, parent: ImageRecord | None) -> list[LayerRecord]:
        found = [self._images.layers.get(chain) for chain in (parent.layers if parent else [])]
        if None in found:
            raise NotFound(f"a layer of image {parent.id if parent else ''} is not in the store")
        return [layer for layer in found if layer is not None]

    def _file(
        self, wanted: NewImage, parent: ImageRecord | None, layers: list[LayerRecord], *, is_empty: bool
    ) -> bytes:
        """Return the configuration file; what the parent's file has that we do not read stays out, as in Docker."""
        before: dict[str, Any] = msgspec.json.decode(self._images.blobs.read(parent.id)) if parent else {}
        created = format_ns(time.time_ns())
        step: dict[str, Any] = {"created": created, "created_by": wanted.created_by}
        step |= {"author": wanted.author} if wanted.author else {}
        step |= {"comment": wanted.comment} if wanted.comment else {}
        step |= {"empty_layer": True} if is_empty else {}
        file: dict[str, Any] = {key: before[key] for key in _KEPT if before.get(key)}
        file.setdefault("architecture", self._architecture)
        file.setdefault("os", "linux")
        file |= {
            "created": created,
            "docker_version": __version__,
            "container": wanted.container_id,
            "config": msgspec.to_builtins(wanted.config),
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [*(before.get("history") or []), step],
        }
        file |= {"author": wanted.author} if wanted.author else {}
        return msgspec.json.encode(file)
