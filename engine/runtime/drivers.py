"""OCI runtimes behind one interface: crun, and runc where crun cannot run.

A driver is chosen by trying: what works on this host is found out at start, never guessed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.errors import Internal, NotFound, NotSupported
from engine.runtime.conmon import runtime_message
from engine.runtime.spawner import Spawner, has_hybrid_cgroups


@dataclass(frozen=True)
class RuntimeBinary:
    """A runtime on this host. ``kind`` is crun, runc or other (an OCI runtime by its command line)."""

    name: str
    kind: str
    path: Path
    arguments: tuple[str, ...] = ()


class OciRuntime:
    """One OCI runtime with its state folder: what conmon does not do itself."""

    def __init__(self, binary: RuntimeBinary, state_root: Path, spawner: Spawner) -> None:
        """``state_root`` holds the runtime's state of each container."""
        self.binary = binary
        self.spawner = spawner
        self._root = state_root / binary.name

    @property
    def arguments(self) -> list[str]:
        """Global arguments that conmon passes on (``--root=…``)."""
        return [f"--root={self._root}", *self.binary.arguments]

    def state_dir(self, container_id: str) -> Path:
        """Return the folder with the runtime's own state of a container."""
        return self._root / container_id

    async def start(self, container_id: str, *, has_hooks: bool = False) -> None:
        """Let a created container's process run its program.

        For crun by its fifo (0.03 ms where ``crun start`` takes 6), unless it has hooks that follow its start.
        """
        if self.binary.kind == "crun" and not has_hooks:
            fifo = self.state_dir(container_id) / "exec.fifo"
            if await self._open_fifo(fifo):
                return
        await self._command("start", container_id)

    async def _open_fifo(self, fifo: Path) -> bool:
        for _ in range(200):  # the process opens its end within a millisecond or two of create's return
            try:
                descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    await asyncio.sleep(0.0005)
                    continue
                return False
            try:
                fifo.unlink()
                os.write(descriptor, b"\0")
            except OSError as error:
                raise Internal(f"container {fifo.parent.name[:12]} ended before it was started: {error}") from error
            finally:
                os.close(descriptor)
            return True
        return False

    async def pause(self, container_id: str) -> None:
        """Freeze all processes of a container."""
        await self._command("pause", container_id)

    async def resume(self, container_id: str) -> None:
        """Let a frozen container go on."""
        await self._command("resume", container_id)

    async def update(self, container_id: str, resources: dict[str, object]) -> None:
        """Change the limits of a running container to OCI ``linux.resources``."""
        await self._command("update", "-r", "-", container_id, stdin=msgspec.json.encode(resources))

    async def delete(self, container_id: str) -> None:
        """Kill what is left of a container and remove the runtime's state; none is no error."""
        if self.state_dir(container_id).exists():
            with suppress(NotFound):
                await self._command("delete", "--force", container_id)

    async def _command(self, verb: str, *words: str, stdin: bytes = b"") -> None:
        argv = [str(self.binary.path), *self.arguments, verb, *words]
        env = {"PATH": os.environ.get("PATH", os.defpath)}
        code, output = await self.spawner.run(argv, env=env, stdin=stdin)
        if code == 0:
            return
        text = runtime_message(output.decode(errors="replace"))
        if "does not exist" in text or "No such file" in text:
            raise NotFound(text)
        raise Internal(f"{self.binary.name} {verb} {words[-1][:12]}: {text or f'exit code {code}'}")


class RuntimeCatalog:
    """The runtimes of this host by name, and which one is taken when none is named."""

    def __init__(self, state_root: Path, configured: dict[str, RuntimeBinary] | None = None) -> None:
        """``configured`` are those of daemon.json's ``runtimes``, besides crun and runc on PATH."""
        self._state_root = state_root
        self._binaries = dict(configured or {})
        for name in ("crun", "runc"):
            found = shutil.which(name)
            if found and name not in self._binaries:
                self._binaries[name] = RuntimeBinary(name=name, kind=name, path=Path(found))
        self._plain = Spawner()
        hides = has_hybrid_cgroups() and os.geteuid() == 0
        self._hidden = Spawner(stand_in=state_root / ".unified") if hides else None
        self.default_name = ""

    @property
    def binaries(self) -> dict[str, RuntimeBinary]:
        """What was found, by name."""
        return dict(self._binaries)

    def choose_default(self, wanted: str) -> None:
        """Take ``wanted`` (auto, or a name) for containers that name none.

        Raises NotSupported when there is none.
        """
        names = ("crun", "runc") if wanted in ("", "auto") else (wanted,)
        for name in names:
            if name in self._binaries:
                self.default_name = name
                return
        raise NotSupported(
            f"no OCI runtime {' or '.join(names)} on this host", hint="install the package crun (or runc)"
        )

    def get(self, name: str = "") -> OciRuntime:
        """Return a runtime by name, the default for an empty one.

        Raises NotFound with moby's text for an unknown name.
        """
        binary = self._binaries.get(name or self.default_name)
        if binary is None:
            raise NotFound(f"unknown or invalid runtime name: {name}")
        hidden = self._hidden if binary.kind == "crun" else None
        return OciRuntime(binary, self._state_root, hidden or self._plain)

    def close(self) -> None:
        """End the spawners' threads."""
        self._plain.close()
        if self._hidden is not None:
            self._hidden.close()
