"""What an image is between two steps: configuration, layers, history; and the file that it becomes.

Values without I/O: a step makes a new state of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from engine.images.blobs import digest_of
from engine.images.layers import LayerRecord
from engine.images.records import ImageFile
from engine.model.base import given
from engine.model.image import ImageConfig
from engine.wire.times import format_ns

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ["/bin/sh", "-c"]


@dataclass(frozen=True)
class State:
    """An image in the making. ``base_id`` is the image that it began with, "" for scratch."""

    config: ImageConfig
    os: str = "linux"
    architecture: str = ""
    variant: str = ""
    layers: tuple[LayerRecord, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    author: str = ""
    base_id: str = ""
    has_command: bool = False  # whether a CMD of this stage was seen
    cached: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def chain(self) -> str:
        """The chain ID of the topmost layer, "" for none."""
        return self.layers[-1].chain_id if self.layers else ""

    @property
    def shell(self) -> list[str]:
        """The shell of commands in shell form."""
        return given(self.config.shell, []) or DEFAULT_SHELL

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the image."""
        return dict(item.partition("=")[::2] for item in given(self.config.env, []))

    @property
    def file(self) -> bytes:
        """The configuration file that this is as an image (OCI image-spec, config.md)."""
        parts: dict[str, Any] = {"architecture": self.architecture}
        if self.author:
            parts["author"] = self.author
        parts["config"] = msgspec.to_builtins(self.config)
        if self.history:
            parts["created"] = self.history[-1].get("created", "")
            parts["history"] = list(self.history)
        parts["os"] = self.os
        parts["rootfs"] = {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]}
        if self.variant:
            parts["variant"] = self.variant
        return msgspec.json.encode(parts)

    @property
    def image_id(self) -> str:
        """The ID that this has as an image; that of the base while nothing was done; "" for an empty scratch."""
        if "id" not in self.cached:
            self.cached["id"] = digest_of(self.file) if self.history else ""
        return self.cached["id"]

    def changed(self, **fields: object) -> State:
        """Return a state whose configuration differs in some fields."""
        return replace(self, config=msgspec.structs.replace(self.config, **fields), cached={})

    def after(self, created_ns: int, created_by: str, layer: LayerRecord | None) -> State:
        """Return the state after a step."""
        entry: dict[str, Any] = {"created": format_ns(created_ns), "created_by": created_by}
        if self.author:
            entry["author"] = self.author
        if layer is None:
            entry["empty_layer"] = True
        layers = (*self.layers, layer) if layer is not None else self.layers
        return replace(self, layers=layers, history=(*self.history, entry), cached={})


def begin(file: ImageFile, image_id: str, layers: Sequence[LayerRecord], history: Sequence[Mapping[str, Any]]) -> State:
    """Return the state that an image is."""
    state = State(
        config=msgspec.convert(msgspec.to_builtins(given(file.config, ImageConfig())), ImageConfig),
        os=file.os or "linux",
        architecture=file.architecture,
        variant=given(file.variant, ""),
        layers=tuple(layers),
        history=tuple(history),
        author=given(file.author, ""),
        base_id=image_id,
    )
    state.cached["id"] = image_id
    return state


def with_default_path(state: State) -> State:
    """Return a state that has a PATH; its ID stays that of its image until a step changes it."""
    env = given(state.config.env, [])
    if any(item.startswith("PATH=") for item in env):
        return state
    changed = state.changed(env=[*env, DEFAULT_PATH])
    changed.cached.update(state.cached)
    return changed
