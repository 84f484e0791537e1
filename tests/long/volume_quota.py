"""Quotas of volumes on a real file system: ``python -m tests.long.volume_quota FOLDER`` as root.

``FOLDER`` lies on ext4 or xfs mounted with ``prjquota``; a kernel without them is told by the first line. Written to
as a user without CAP_SYS_RESOURCE, whom alone quotas bind.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

from engine.volumes.disk import VolumeFolders

_MIB = 1 << 20
_USER = 65534


def fill(folder: Path, name: str, size_mib: int) -> int:
    """Write a file as a plain user; return the MiB that fitted."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setgroups([])
        os.setgid(_USER)
        os.setuid(_USER)
        done = 0
        try:
            with (folder / name).open("wb", buffering=0) as file:
                for _ in range(size_mib):
                    file.write(bytes(_MIB))
                    done += 1
        except OSError as error:
            if error.errno != errno.EDQUOT:
                raise
        os.write(write, str(done).encode())
        os._exit(0)
    os.wait()
    os.close(write)
    try:
        return int(os.read(read, 20))
    finally:
        os.close(read)


def main(folder: Path) -> int:
    """Make volumes with limits and without, fill them, remove one and use its place again."""
    root = folder / "volumes"
    shutil.rmtree(root, ignore_errors=True)
    folders = VolumeFolders(root)
    if not folders.has_quotas:
        print(f"{folder} has no project quotas")
        return 2
    places = {name: folders.make(name, size) for name, size in (("one", 2 * _MIB), ("two", 4 * _MIB), ("free", 0))}
    for place in places.values():
        place.chmod(0o777)
    held = {name: fill(place, "file", 8) for name, place in places.items()}
    folders.make("one", 6 * _MIB)
    held["one, more"] = fill(places["one"], "more", 8)
    trash = folders.set_aside("one")
    assert trash is not None
    folders.delete(trash)
    again = folders.make("again", 3 * _MIB)
    again.chmod(0o777)
    held["again"] = fill(again, "file", 8)
    print(held)
    expected = {"one": (1, 2), "two": (3, 4), "free": (8, 8), "one, more": (3, 5), "again": (2, 3)}
    wrong = {name: size for name, size in held.items() if not expected[name][0] <= size <= expected[name][1]}
    print(f"wrong: {wrong}" if wrong else "every limit is kept")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
