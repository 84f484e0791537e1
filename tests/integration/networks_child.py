"""An engine's networks in a process that can be killed: ``python -m tests.integration.networks_child``.

Arguments: folder, instance, bridge, number of containers, port of the first. Each container is a ``sleep`` in its
namespace. Writes the records to ``folder/records``, one a line, then waits to be killed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from engine.model.record import encode_record
from engine.networks.manager import NetworkManager, read_host
from engine.networks.settings import NetworkSettings
from engine.store.database import Database
from tests.integration.networks_lab import Lab, published


async def main(folder: Path, instance: str, bridge: str, count: int, first_port: int) -> None:
    lab = Lab(folder, NetworkSettings())
    lab.instance, lab.bridge = instance, bridge
    lab.manager = NetworkManager(
        Database(folder / "engine.db"), read_host(instance, bridge, folder), NetworkSettings(), lab.journal, lab.find
    )
    await lab.manager.restore([])
    for number in range(count):
        record = await lab.run(f"web{number}", ports=published(f":{first_port + number}:80/tcp"))
        sleeper = await asyncio.create_subprocess_exec(
            "nsenter", f"--net={lab.namespace(record)}", "sleep", "300", start_new_session=True
        )
        record.state.pid = sleeper.pid
    records = b"\n".join(encode_record(record) for record in lab.records.values())
    (folder / "records.new").write_bytes(records)
    (folder / "records.new").rename(folder / "records")
    await asyncio.sleep(300)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
