"""What was sent of a folder the last time: so that the next build sends only what has changed.

A file for each folder and engine in the user's cache folder. Losing one costs a whole transfer, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.cli.build_context import Facts

_MAX_AGE_FILES = 64


class Sent(msgspec.Struct):
    """What an engine has of a folder: the ID that it gave, and the files' facts by path."""

    context: str = ""
    entries: dict[str, Facts] = msgspec.field(default_factory=dict)


class BuildMemory:
    """The memory of one folder with one engine."""

    def __init__(self, environ: Mapping[str, str], engine: str, folder: Path) -> None:
        """Name it; nothing is read yet."""
        home = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "/nonexistent")) / ".cache")
        self._root = Path(home) / "portside" / "contexts"
        whole = os.fsencode(f"{engine}\0{folder.resolve()}\0{os.getuid()}")
        self.key = hashlib.sha256(whole).hexdigest()

    @property
    def _file(self) -> Path:
        return self._root / self.key

    def read(self) -> Sent:
        """Return what is remembered; nothing when that cannot be read."""
        with contextlib.suppress(OSError, msgspec.DecodeError, msgspec.ValidationError):
            return msgspec.msgpack.decode(self._file.read_bytes(), type=Sent)
        return Sent()

    def write(self, sent: Sent) -> None:
        """Remember; a folder that cannot be written to is no error."""
        with contextlib.suppress(OSError, UnicodeEncodeError):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            data = msgspec.msgpack.encode(sent)
            descriptor, name = tempfile.mkstemp(dir=self._root, prefix=".")
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(name).replace(self._file)
            files = sorted(self._root.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in files[:-_MAX_AGE_FILES]:
                path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remember nothing."""
        with contextlib.suppress(OSError):
            self._file.unlink()
