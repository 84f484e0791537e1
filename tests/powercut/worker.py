"""Runs in the guest: checks what the last life acknowledged, then creates, writes, pulls and removes until it dies.

``python -m tests.powercut.worker EXPECTED.json ROUND [REGISTRY_FOLDER]``; without the folder it only checks.
A line ``BEGIN …`` is printed before a removal, ``ACK …`` after an answer; the host knows from them what must
be there and what may be.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.engine_process import EngineProcess
from tests.fakes.images import busybox_archive
from tests.powercut.payload import IMAGES_A_ROUND, SIZE_BYTES, registry_config

REGISTRY = "127.0.0.1:5005"
_PULLED_FILE = "payload"


def say(text: str) -> None:
    """Print a line in one piece."""
    os.write(1, f"\n{text}\n".encode())


def make_engine() -> EngineProcess:
    """Return the engine of the guest: its data on the disk, the rest in memory."""
    folder = Path("/data/engine")
    folder.mkdir(exist_ok=True)
    engine = EngineProcess(folder)
    engine.exec_root = Path("/run/portside-exec")
    engine.socket = Path("/run/portside.sock")
    engine.log = Path("/run/portside.log")
    return engine


def check(engine: EngineProcess, expected: dict[str, Any]) -> list[str]:
    """Return what is wrong after the power cut."""
    faults: list[str] = []
    volumes = {item["Name"]: item for item in engine.api("GET", "/volumes")[1]["Volumes"]}
    containers = {item["Names"][0][1:] for item in engine.api("GET", "/containers/json?all=1")[1]}
    tags = {tag for item in engine.api("GET", "/images/json")[1] for tag in item["RepoTags"]}
    for kind, present in (("volume", set(volumes)), ("container", containers), ("image", tags)):
        faults += [f"{kind} {name} is lost" for name in expected[kind] if name not in present]
        faults += [f"{kind} {name} came back" for name in expected[f"no-{kind}"] if name in present]
    for name, volume in volumes.items():
        if not Path(volume["Mountpoint"]).is_dir():
            faults.append(f"volume {name} has no folder")
    for name in expected["write"]:
        volume, _, file = name.partition("/")
        path = Path(volumes[volume]["Mountpoint"]) / file if volume in volumes else Path("/nowhere")
        if not path.exists() or path.read_text() != file + "\n":
            faults.append(f"write {name} is lost")
    for tag in [tag for tag in expected["image"] if tag in tags][-3:]:
        code, output = run(engine, tag, ["sh", "-c", f"cat /{_PULLED_FILE} | wc -c"])
        if code != 0 or output != str(SIZE_BYTES):
            faults.append(f"image {tag} does not run or is damaged: {code} {output}")
    return faults


def run(engine: EngineProcess, image: str, command: list[str], binds: list[str] | None = None) -> tuple[int, str]:
    """Run a container and return its exit code and output."""
    body = {"Image": image, "Cmd": command, "HostConfig": {"Binds": binds or [], "NetworkMode": "none"}, "Tty": True}
    status, made = engine.api("POST", "/containers/create", body)
    if status != 201:
        return -1, str(made)
    engine.api("POST", f"/containers/{made['Id']}/start")
    _, waited = engine.api("POST", f"/containers/{made['Id']}/wait")
    _, output = engine.api("GET", f"/containers/{made['Id']}/logs?stdout=1")
    engine.api("DELETE", f"/containers/{made['Id']}?force=1")
    return int(waited["StatusCode"]), str(output).strip()


class Work:
    """What goes on until the power is cut."""

    def __init__(self, engine: EngineProcess, number: int) -> None:
        """``number`` is the round."""
        self.engine = engine
        self.number = number

    def volumes(self) -> None:
        """Make volumes and remove every third."""
        for count in itertools.count():
            self._make("volume", f"v{self.number}-{count}", "POST", "/volumes/create", count)

    def containers(self) -> None:
        """Make containers and remove every third."""
        for count in itertools.count():
            self._make("container", f"c{self.number}-{count}", "POST", "/containers/create", count)

    def _make(self, kind: str, name: str, method: str, path: str, count: int) -> None:
        body = {"Name": name} if kind == "volume" else {"Image": "busybox", "Cmd": ["true"]}
        query = "" if kind == "volume" else f"?name={name}"
        status, answer = self.engine.api(method, path + query, body)
        if status != 201:
            say(f"FAULT {kind} {name}: {answer}")
            return
        say(f"ACK {kind} {name}")
        if count % 3 == 2:
            say(f"BEGIN no-{kind} {name}")
            status, answer = self.engine.api("DELETE", f"/{kind}s/{name}")
            say(f"ACK no-{kind} {name}" if status == 204 else f"FAULT removal of {kind} {name}: {answer}")

    def writes(self) -> None:
        """Let containers write files into a volume and sync them."""
        for count in itertools.count():
            file = f"f{self.number}-{count}"
            command = ["sh", "-c", f"echo {file} > /d/{file} && sync"]
            code, output = run(self.engine, "busybox", command, ["shared:/d"])
            say(f"ACK write shared/{file}" if code == 0 else f"FAULT write {file}: {output}")

    def pulls(self) -> None:
        """Pull images and remove every third."""
        for count in range(IMAGES_A_ROUND):
            tag = f"r{self.number}-{count}"
            image = f"{REGISTRY}/payload:{tag}"
            status, answer = self.engine.api("POST", f"/images/create?fromImage={REGISTRY}/payload&tag={tag}")
            if status != 200 or "error" in str(answer):
                say(f"FAULT pull {image}: {str(answer)[-300:]}")
                continue
            say(f"ACK image {image}")
            if count % 3 == 2:
                say(f"BEGIN no-image {image}")
                status, answer = self.engine.api("DELETE", f"/images/{image}")
                say(f"ACK no-image {image}" if status == 200 else f"FAULT removal of {image}: {answer}")


def start_registry(storage: Path) -> None:
    """Serve the images that the host has prepared."""
    config = Path("/run/registry.yml")
    config.write_text(registry_config(storage, REGISTRY))
    subprocess.Popen(["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    """Check, then work."""
    expected = json.loads(Path(sys.argv[1]).read_text())
    number = int(sys.argv[2])
    engine = make_engine()
    started = time.monotonic()
    try:
        engine.start()
    except RuntimeError as error:
        say(f"FAULT the engine does not start: {error}".replace("\n", " | "))
        return
    say(f"READY after {time.monotonic() - started:.1f} s")
    for fault in check(engine, expected):
        say(f"FAULT {fault}")
    say("CHECKED")
    if len(sys.argv) < 4:
        return
    if number == 0:
        engine.docker("load", stdin=busybox_archive())
        engine.api("POST", "/volumes/create", {"Name": "shared"})
        say("ACK volume shared")
        os.sync()  # what the first round builds on
    start_registry(Path(sys.argv[3]))
    say("WORKING")
    work = Work(engine, number)
    threads = [
        threading.Thread(target=task, daemon=True) for task in (work.volumes, work.containers, work.writes, work.pulls)
    ]
    for thread in threads:
        thread.start()
    time.sleep(600)


if __name__ == "__main__":
    main()
