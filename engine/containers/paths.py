"""Where a container's files lie: what must last under the data root, what goes with a boot under the exec root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ContainerPaths:
    """Folders and files of all containers, by their full ID."""

    data_root: Path
    exec_root: Path

    @property
    def containers(self) -> Path:
        """Everything that lasts, a folder a container."""
        return self.data_root / "containers"

    @property
    def trash(self) -> Path:
        """What is being deleted."""
        return self.data_root / "trash"

    @property
    def init_layer(self) -> Path:
        """The layer that lies on top of every image: what Docker's containers find beside it."""
        return self.data_root / "init-layer"

    @property
    def bundles(self) -> Path:
        """Everything that goes with a boot, a folder a container."""
        return self.exec_root / "containers"

    @property
    def exits(self) -> Path:
        """The folder where each conmon leaves its container's exit code, named by the ID."""
        return self.exec_root / "exits"

    @property
    def runtime_state(self) -> Path:
        """The OCI runtimes' own state."""
        return self.exec_root / "runtimes"

    def data(self, container_id: str) -> Path:
        """Return the folder that lasts."""
        return self.containers / container_id

    def upper(self, container_id: str) -> Path:
        """Return the overlay's upper folder: what the container has written."""
        return self.containers / container_id / "upper"

    def work(self, container_id: str) -> Path:
        """Return the overlay's work folder."""
        return self.containers / container_id / "work"

    def log(self, container_id: str) -> Path:
        """Return the log, in conmon's form."""
        return self.containers / container_id / "container.log"

    def bundle(self, container_id: str) -> Path:
        """Return the OCI bundle."""
        return self.bundles / container_id

    def merged(self, container_id: str) -> Path:
        """Return where the root file system is mounted while the container runs."""
        return self.bundles / container_id / "merged"

    def shm(self, container_id: str) -> Path:
        """Return the shared memory of a container that shares it."""
        return self.bundles / container_id / "shm"

    @property
    def view(self) -> Path:
        """An empty folder where each copy mounts its view of a container, in a namespace of its own."""
        return self.exec_root / "view"

    @property
    def image_view(self) -> Path:
        """The same for an image that is mounted in a container."""
        return self.exec_root / "image-view"

    def subpaths(self, container_id: str) -> Path:
        """Return where parts of volumes are bound while a container is made; nothing beneath is ever deleted."""
        return self.exec_root / "subpaths" / container_id

    def execs(self, container_id: str) -> Path:
        """Return the folder of a container's execs."""
        return self.bundles / container_id / "execs"
