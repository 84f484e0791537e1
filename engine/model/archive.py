"""What a path in a container is: the header ``X-Docker-Container-Path-Stat`` (API 1.51)."""

from __future__ import annotations

import base64
import binascii

import msgspec

STAT_HEADER = "X-Docker-Container-Path-Stat"
FOLDER_BIT, LINK_BIT, DEVICE_BIT = 1 << 31, 1 << 27, 1 << 26
"""Bits of Go's os.FileMode."""


class PathStat(msgspec.Struct, rename={"link_target": "linkTarget"}):
    """A path: ``size`` in bytes, ``mode`` with the bits of Go's os.FileMode, ``mtime`` in RFC 3339."""

    name: str = ""
    size: int = 0
    mode: int = 0
    mtime: str = ""
    link_target: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return bool(self.mode & FOLDER_BIT)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return bool(self.mode & LINK_BIT)


def encode_stat(found: PathStat) -> str:
    """Return the header's value."""
    return base64.b64encode(msgspec.json.encode(found)).decode()


def decode_stat(text: str) -> PathStat | None:
    """Return what a header says, None when it is none."""
    try:
        return msgspec.json.decode(base64.b64decode(text), type=PathStat)
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError):
        return None
