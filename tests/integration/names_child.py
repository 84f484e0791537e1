"""An engine's names in a process of their own, which the test kills: ``FOLDER NAMESPACE…``."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from engine.networks.naming import NameService
from tests.integration.names_lab import endpoint, names


async def main() -> None:
    """Give each namespace a name server, say so and wait to be killed."""
    folder = Path(sys.argv[1])
    service = NameService(folder)
    await service.restore({})
    for number, path in enumerate(sys.argv[2:]):
        namespace = os.open(path, os.O_RDONLY)
        await service.join(f"c{number}", namespace, names(endpoint(f"c{number}", addresses=f"10.0.0.{number + 2}")))
        os.close(namespace)
    (folder / "ready").touch()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
