"""Containers in user namespaces (``userns-remap``): which are, and where they see files with their own IDs.

Files lie under the data root with the IDs that containers see, the same for every container. Where a container has a
user namespace, its root file system, volumes and /etc files come from an idmapped mount of the data root instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from engine.containers.paths import ContainerPaths
from engine.errors import Conflict, NotFound
from engine.model.record import ContainerRecord
from engine.runtime.mounts import Mounter, unmount
from engine.runtime.usernamespaces import IdMap, Namespaces, make_namespaces, show_idmapped

_FOLDER = "idmapped"
_JOINING = ("network_mode", "pid_mode", "ipc_mode")


class Remapping:
    """The mapping of an engine and the mount that goes with it."""

    def __init__(
        self, mapping: IdMap, paths: ContainerPaths, layers: Path, find: Callable[[str], ContainerRecord]
    ) -> None:
        """Make the mount (blocking); ``layers`` is the folder of all layers, ``find`` returns a record by its ID.

        Raises NotSupported where the kernel or the file system cannot, Unavailable without user namespaces.
        """
        self.mapping = mapping
        self._paths = paths
        self._find = find
        self._shown = paths.exec_root / _FOLDER
        forget_remapping(paths.exec_root)  # an earlier engine's, whose mapping may have been another
        self._shown.mkdir(mode=0o711)
        own = make_namespaces(mapping)
        try:
            show_idmapped(paths.data_root, self._shown, own.user)
        finally:
            own.close()
        self.mounter = Mounter(self.place(layers), mapping.root)
        # Whoever is root inside is nobody on the host, and walks through these folders.
        for folder in (paths.exec_root, paths.bundles, paths.data_root, paths.containers):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            folder.chmod(0o711)

    @staticmethod
    def covers(record: ContainerRecord) -> bool:
        """Whether a container has a user namespace of an engine that remaps."""
        return record.host_config.userns_mode != "host"

    def place(self, path: Path) -> Path:
        """Return where a path under the data root is seen with shifted IDs; any other path as it is."""
        if path.is_relative_to(self._paths.data_root):
            return self._shown / path.relative_to(self._paths.data_root)
        return path

    def open(self, record: ContainerRecord) -> Namespaces | None:
        """Return the namespaces for a container that starts (blocking); None for one in the host's.

        One that joins another's namespaces is in that one's user namespace, since that owns them.
        """
        if not self.covers(record):
            return None
        for attribute in _JOINING:
            mode = str(getattr(record.host_config, attribute))
            if not mode.startswith("container:"):
                continue
            try:
                donor = self._find(mode.removeprefix("container:"))
                if not self.covers(donor):
                    return None
                return Namespaces(os.open(f"/proc/{donor.state.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC), -1)
            except OSError as error:
                raise Conflict(f"container {mode.removeprefix('container:')} is not running") from error
            except NotFound:
                continue  # the namespace's own check says so
        return make_namespaces(self.mapping)

    def close(self) -> None:
        """Take the mount away; containers that run have their own."""
        self.mounter.close()
        forget_remapping(self._paths.exec_root)


def forget_remapping(exec_root: Path) -> None:
    """Take away the mount that an engine had made; none is no error (blocking)."""
    shown = exec_root / _FOLDER
    with suppress(OSError):
        while shown.is_dir():
            unmount(shown)
            shown.rmdir()
