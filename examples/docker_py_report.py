"""Run several jobs in containers with docker-py and report what each said, how it ended and how long it took.

``DOCKER_HOST=… python examples/docker_py_report.py``; needs ``pip install docker`` and an image ``busybox``.
"""

from __future__ import annotations

import datetime
import sys
import threading

import docker

JOBS = {
    "words": ["sh", "-c", "echo one two three | wc -w"],
    "hash": ["sh", "-c", "echo hello | sha256sum | cut -c1-12"],
    "fails": ["sh", "-c", "echo about to fail; exit 3"],
}
LABEL = "example=report"


def watch_ends(client: docker.DockerClient, ended: dict[str, int], all_ended: threading.Event) -> None:
    """Collect exit codes from the engine's events until every job has ended."""
    filters = {"type": "container", "event": "die", "label": LABEL}
    for event in client.events(
        decode=True, filters=filters, since=datetime.datetime.now() - datetime.timedelta(seconds=1)
    ):
        attributes = event["Actor"]["Attributes"]
        ended[attributes["name"]] = int(attributes["exitCode"])
        if len(ended) == len(JOBS):
            all_ended.set()
            return


def main() -> int:
    """Run the jobs and print the report; returns the exit code."""
    client = docker.from_env()
    ended: dict[str, int] = {}
    all_ended = threading.Event()
    watcher = threading.Thread(target=watch_ends, args=(client, ended, all_ended), daemon=True)
    watcher.start()
    key, value = LABEL.split("=")
    containers = {
        name: client.containers.run("busybox", command, name=name, detach=True, labels={key: value})
        for name, command in JOBS.items()
    }
    try:
        if not all_ended.wait(60):
            sys.stderr.write(f"only {sorted(ended)} ended\n")
            return 1
        for name, container in containers.items():
            said = container.logs().decode().strip()
            sys.stdout.write(f"{name}: {said!r}, exit code {ended[name]}\n")
    finally:
        for container in containers.values():
            container.remove(force=True)
        watcher.join(10)
        client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
