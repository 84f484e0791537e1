"""A small service with aiodocker: a server and a client on a network of their own, with a volume between them.

``DOCKER_HOST=… python examples/aiodocker_service.py``; needs ``pip install aiodocker`` and an image ``busybox``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import aiodocker
from aiodocker.containers import DockerContainer

NAME = "example-service"
SERVER = "echo served from the volume > /www/index.html; exec httpd -f -p 8080 -h /www"
FETCH = "until wget -q -O - http://server:8080/; do sleep 0.1; done"


async def start(docker: aiodocker.Docker, name: str, script: str, alias: str) -> DockerContainer:
    """Create and start a container on the example's network under an alias."""
    config: dict[str, Any] = {
        "Image": "busybox",
        "Cmd": ["sh", "-c", script],
        "HostConfig": {"Binds": [f"{NAME}:/www"], "NetworkMode": NAME, "Init": True},
        "NetworkingConfig": {"EndpointsConfig": {NAME: {"Aliases": [alias]}}},
    }
    container = await docker.containers.create(config, name=f"{NAME}-{name}")
    await container.start()
    return container


async def serve_and_fetch(docker: aiodocker.Docker) -> list[str]:
    """Run server and client; return what the client and a command in the server said."""
    said: list[str] = []
    containers = await asyncio.gather(
        start(docker, "server", SERVER, "server"), start(docker, "client", FETCH, "client")
    )
    server, client = containers
    try:
        ended = await client.wait(timeout=60)
        said.append(f"client ended with {ended['StatusCode']}: {''.join(await client.log(stdout=True)).strip()}")
        execution = await server.exec(["sh", "-c", "ls /www; wc -c < /www/index.html"])
        async with execution.start(detach=False) as stream:
            output = bytearray()
            while (message := await stream.read_out()) is not None:
                output += message.data
        said.append(f"server has {output.decode().split()}, exec ended with {(await execution.inspect())['ExitCode']}")
        figures = (await server.stats(stream=False))[0]
        said.append(f"server runs {figures['pids_stats']['current']} processes")
    finally:
        await asyncio.gather(*(container.delete(force=True, v=True) for container in containers))
    return said


async def main() -> int:
    """Run the example; returns the exit code."""
    docker = aiodocker.Docker(url=os.environ.get("DOCKER_HOST"))
    try:
        network = await docker.networks.create({"Name": NAME, "Internal": True})
        volume = await docker.volumes.create({"Name": NAME})
        try:
            for line in await serve_and_fetch(docker):
                sys.stdout.write(f"{line}\n")
        finally:
            await network.delete()
            await volume.delete()
    finally:
        await docker.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
