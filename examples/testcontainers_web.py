"""A web server for one test, with Testcontainers: started, waited for, asked through its published port, gone.

``DOCKER_HOST=… python examples/testcontainers_web.py``; needs ``pip install testcontainers`` and an image ``busybox``.
Testcontainers' reaper is an image of its own; ``TESTCONTAINERS_RYUK_DISABLED=true`` does without it.
"""

from __future__ import annotations

import sys
import urllib.request

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

SERVER = "mkdir /www; echo $GREETING > /www/index.html; echo ready; exec httpd -f -p 8080 -h /www"


def main() -> int:
    """Run the example; returns the exit code."""
    with Network() as network:
        server = DockerContainer("busybox", command=f"sh -c '{SERVER}'")
        server.with_env("GREETING", "hello from a container").with_exposed_ports(8080)
        server.with_network(network).with_network_aliases("web")
        server.waiting_for(LogMessageWaitStrategy("ready"))
        with server:
            address = f"http://{server.get_container_host_ip()}:{server.get_exposed_port(8080)}/"
            with urllib.request.urlopen(address, timeout=10) as answer:
                sys.stdout.write(f"from outside: {answer.read().decode().strip()}\n")
            code, output = server.exec(["wget", "-q", "-O", "-", "http://web:8080/"])
            sys.stdout.write(f"by its alias: {output.decode().strip()}, exit code {code}\n")
            stdout, _ = server.get_logs()
            sys.stdout.write(f"its log: {stdout.decode().strip()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
