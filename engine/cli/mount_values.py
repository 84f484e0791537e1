"""``--mount`` and ``-v``: what was typed as mounts and binds of the API.

Pure functions but for making a relative source absolute; they raise ValueError with Docker's texts.
"""

from __future__ import annotations

import csv
import posixpath
import re
from pathlib import Path

from msgspec import UNSET

from engine.cli.quantities import parse_go_bool, parse_size_bytes
from engine.model.mount import BindOptions, DriverConfig, ImageOptions, Mount, TmpfsOptions, VolumeOptions


def split_fields(text: str) -> list[str]:
    """Return the fields of a CSV value, quotes honoured."""
    if not text:
        raise ValueError("EOF")
    return next(csv.reader([text]))


def parse_mount(text: str) -> Mount:
    """Return one ``--mount``; raises ValueError with Docker's text."""
    reader = _MountReader()
    for part in split_fields(text):
        reader.take(part)
    return reader.finish()


class _MountReader:
    """Collects the fields of one mount."""

    def __init__(self) -> None:
        self.mount = Mount(type="volume")
        self.read_only = False
        self.bind: BindOptions | None = None
        self.volume: VolumeOptions | None = None
        self.driver: DriverConfig | None = None
        self.image: ImageOptions | None = None
        self.tmpfs: TmpfsOptions | None = None

    def take(self, part: str) -> None:
        """Read one field."""
        key, equals, value = part.partition("=")
        key = key.lower()
        if not equals:
            if key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive"):
                raise ValueError(f"invalid field '{part}' must be a key=value pair")
            value = "true"
        if key == "type":
            self.mount.type = value.lower()
        elif key in ("source", "src"):
            self.mount.source = str(Path(value).absolute()) if value.startswith(".") else value
            if value.startswith("."):
                self.mount.source = posixpath.normpath(self.mount.source)
        elif key in ("target", "dst", "destination"):
            self.mount.target = value
        elif key in ("readonly", "ro"):
            self.read_only = _flag(key, value)
        elif key == "consistency":
            self.mount.consistency = value.lower()
        elif key.startswith("bind-"):
            self._take_bind(key, value, part)
        elif key.startswith("volume-"):
            self._take_volume(key, value, part)
        elif key.startswith("tmpfs-"):
            self._take_tmpfs(key, value, part)
        elif key == "image-subpath":
            self.image = ImageOptions(subpath=value)
        else:
            raise ValueError(f"unexpected key '{key}' in '{part}'")

    def _take_bind(self, key: str, value: str, part: str) -> None:
        self.bind = self.bind or BindOptions()
        if key == "bind-propagation":
            self.bind.propagation = value.lower()
        elif key == "bind-nonrecursive":
            self.bind.non_recursive = _flag(key, value)
        elif key == "bind-recursive":
            if value == "disabled":
                self.bind.non_recursive = True
            elif value == "writable":
                self.bind.read_only_non_recursive = True
            elif value == "readonly":
                self.bind.read_only_force_recursive = True
            elif value != "enabled":
                choices = '(must be "enabled", "disabled", "writable", or "readonly")'
                raise ValueError(f"invalid value for {key}: {value} {choices}")
        else:
            raise ValueError(f"unexpected key '{key}' in '{part}'")

    def _take_volume(self, key: str, value: str, part: str) -> None:
        self.volume = self.volume or VolumeOptions(labels={})
        self.driver = self.driver or DriverConfig()
        name, _, setting = value.partition("=")
        if key == "volume-subpath":
            self.volume.subpath = value
        elif key == "volume-nocopy":
            self.volume.no_copy = _flag(key, value)
        elif key == "volume-driver":
            self.driver.name = value
        elif key == "volume-label":
            labels = self.volume.labels
            if name and isinstance(labels, dict):
                labels[name] = setting
        elif key == "volume-opt":
            options = self.driver.options if isinstance(self.driver.options, dict) else {}
            if name:
                options[name] = setting
            self.driver.options = options
        else:
            raise ValueError(f"unexpected key '{key}' in '{part}'")

    def _take_tmpfs(self, key: str, value: str, part: str) -> None:
        self.tmpfs = self.tmpfs or TmpfsOptions()
        if key == "tmpfs-size":
            try:
                self.tmpfs.size_bytes = parse_size_bytes(value)
            except ValueError:
                raise ValueError(f"invalid value for {key}: {value}") from None
        elif key == "tmpfs-mode":
            if not re.fullmatch(r"[0-7]{1,11}", value):
                raise ValueError(f"invalid value for {key}: {value}")
            self.tmpfs.mode = int(value, 8)
        else:
            raise ValueError(f"unexpected key '{key}' in '{part}'")

    def finish(self) -> Mount:
        """Return the mount; raises ValueError for options that do not go together."""
        mount = self.mount
        if not mount.type:
            raise ValueError("type is required")
        if mount.target is UNSET or not mount.target:
            raise ValueError("target is required")
        kinds = ((self.volume, "volume"), (self.image, "image"), (self.bind, "bind"), (self.tmpfs, "tmpfs"))
        for options, kind in kinds:
            if options is not None and mount.type != kind:
                raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount.type}'")
        if self.bind is not None:
            self._check_bind(self.bind)
            mount.bind_options = self.bind
        if self.volume is not None:
            self.volume.driver_config = self.driver
            mount.volume_options = self.volume
        if self.image is not None:
            mount.image_options = self.image
        if self.tmpfs is not None:
            mount.tmpfs_options = self.tmpfs
        if self.read_only:
            mount.read_only = True
        return mount

    def _check_bind(self, bind: BindOptions) -> None:
        need = "to be specified in conjunction"
        if bind.read_only_non_recursive is True and not self.read_only:
            raise ValueError(f"option 'bind-recursive=writable' requires 'readonly' {need}")
        if bind.read_only_force_recursive is True:
            if not self.read_only:
                raise ValueError(f"option 'bind-recursive=readonly' requires 'readonly' {need}")
            if bind.propagation != "rprivate":
                raise ValueError(f"option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' {need}")


def _flag(key: str, value: str) -> bool:
    try:
        return parse_go_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def parse_volume(text: str) -> str | None:
    """Return one ``-v`` as a bind, with a relative source made absolute; None for an anonymous volume.

    Raises ValueError with Docker's text.
    """
    if not text:
        raise ValueError("invalid empty volume spec")
    source, colon, rest = text.partition(":")
    if not colon:
        return None
    if "" in text.split(":"):
        raise ValueError(f"invalid spec: {text}: empty section between colons")
    if text.count(":") > 2:
        raise ValueError(f"invalid spec: {text}: too many colons")
    if source.startswith("."):
        source = posixpath.normpath(str(Path(source).absolute()))
    return f"{source}:{rest}"
