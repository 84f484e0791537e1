"""Blobs by digest, in the OCI layout (``blobs/sha256/…``): written aside, hashed, synced, then renamed."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path
from types import TracebackType

from engine.errors import InvalidArgument, NotFound, Unavailable

_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")


def check_digest(digest: str) -> str:
    """Return a digest that can be a file's name; raises InvalidArgument for anything else than sha256."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f"invalid or unsupported digest {digest[:80]!r}: sha256 is expected")
    return digest


def digest_of(data: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class DiskFull(Unavailable):
    """A blob could not be written; trying again at once does not help."""


class BlobWriter:
    """One blob that is being written; ``commit`` names it, leaving the context without that removes it."""

    def __init__(self, store: BlobStore, path: Path, *, append: bool) -> None:
        """Write to ``path``, behind what is there when ``append``."""
        self._store = store
        self.path = path
        self._hash = hashlib.sha256()
        self.size = 0
        self._keep = False
        mode = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if append else os.O_TRUNC)
        self._fd = os.open(path, mode, 0o600)
        if append:
            while block := os.read(self._fd, 1 << 20):
                self._hash.update(block)
                self.size += len(block)

    def __enter__(self) -> BlobWriter:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; remove what was not committed or kept."""
        os.close(self._fd)
        if not self._keep:
            self.path.unlink(missing_ok=True)

    def _refusal(self, error: OSError) -> DiskFull:
        return DiskFull(
            f"writing a blob to {self.path.parent}: {error.strerror}", hint="free disk space, then try again"
        )

    def write(self, data: bytes | bytearray) -> None:
        """Append bytes (blocking); raises DiskFull when the disk does not take them."""
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise self._refusal(error) from error
        self._hash.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Forget what was written."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        """The digest of what was written."""
        return f"sha256:{self._hash.hexdigest()}"

    def commit(self) -> str:
        """Sync the blob and give it its name (blocking); return its digest."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._refusal(error) from error
        self.path.rename(self._store.path(self.digest))
        self._store.sync()
        self._keep = True
        return self.digest


class BlobStore:
    """The blobs of an engine."""

    def __init__(self, root: Path) -> None:
        """Use ``root``; unfinished blobs of an earlier engine are removed."""
        self._folder = root / "blobs" / "sha256"
        self._ingest = root / "ingest"
        for folder in (self._folder, self._ingest):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for entry in self._ingest.iterdir():
            entry.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """Return where a blob is or would be."""
        return self._folder / check_digest(digest).removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        """Whether a blob is there."""
        return self.path(digest).exists()

    def read(self, digest: str) -> bytes:
        """Return a small blob (blocking); raises NotFound."""
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"content {digest} is not in the store") from None

    def size(self, digest: str) -> int:
        """Return a blob's size in bytes; 0 when it is not there."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return 0

    def writer(self) -> BlobWriter:
        """Return a writer of a new blob."""
        return BlobWriter(self, self._ingest / secrets.token_hex(16), append=False)

    def ingest_path(self, name: str) -> Path:
        """Return where another program may write a blob, to be adopted; the next start sweeps what is left."""
        return self._ingest / name

    def adopt(self, path: Path, digest: str) -> None:
        """Give a file of ``ingest_path``, synced by its writer, its name as a blob (blocking)."""
        path.rename(self.path(digest))
        self.sync()

    def compression(self, digest: str) -> str:
        """Return how a blob is compressed, by what it begins with: gzip, zstd or "" (blocking)."""
        with self.path(digest).open("rb") as file:
            head = file.read(4)
        if head.startswith(b"\x1f\x8b"):
            return "gzip"
        return "zstd" if head == b"\x28\xb5\x2f\xfd" else ""

    def add(self, data: bytes) -> str:
        """Store a small blob (blocking, synced) and return its digest."""
        digest = digest_of(data)
        if not self.has(digest):
            with self.writer() as writer:
                writer.write(data)
                writer.commit()
        return digest

    def sync(self) -> None:
        """Make the folder's entries durable (blocking)."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def delete(self, digest: str) -> int:
        """Remove a blob and return its bytes; none is no error."""
        size = self.size(digest)
        self.path(digest).unlink(missing_ok=True)
        return size

    def all(self) -> list[str]:
        """Return all digests (blocking)."""
        return [f"sha256:{entry.name}" for entry in self._folder.iterdir()]
