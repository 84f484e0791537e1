"""A volume plugin for tests, as a process: ``python -m tests.fakes.volume_plugin SOCKET FOLDER [MOOD]``.

Its volumes are folders in FOLDER; each call is a line in FOLDER/calls. MOOD: good, hangs, dies, nonsense, refuses,
elsewhere (implements something else), escapes (mounts at a place that is none).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from aiohttp import web

MOODS = ("good", "hangs", "dies", "nonsense", "refuses", "elsewhere", "escapes")


class VolumePlugin:
    """The plugin."""

    def __init__(self, folder: Path, mood: str) -> None:
        """Keep volumes in ``folder``."""
        self._folder = folder
        self._mood = mood

    def application(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_post("/{method}", self._call)
        return app

    async def _call(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        body = json.loads(await request.read() or b"{}")
        with (self._folder / "calls").open("a") as calls:
            calls.write(f"{method} {json.dumps(body, sort_keys=True)}\n")
        if method == "Plugin.Activate":
            return web.json_response({"Implements": ["LogDriver" if self._mood == "elsewhere" else "VolumeDriver"]})
        await self._misbehave(method)
        if self._mood == "nonsense":
            return web.Response(body=b"\xff\xfe{not json")
        if self._mood == "refuses":
            return web.json_response({"Err": "the array is offline"}, status=500)
        return web.json_response(self._answer(method.removeprefix("VolumeDriver."), body["Name"]))

    async def _misbehave(self, method: str) -> None:
        if self._mood == "hangs":
            await asyncio.sleep(3600)
        if self._mood == "dies":
            os._exit(1)

    def _answer(self, method: str, name: str) -> dict[str, str]:
        place = self._folder / "volumes" / name
        if method == "Create":
            place.mkdir(parents=True, exist_ok=True)
        elif not place.is_dir():
            return {"Err": f"volume {name} is not known"}
        elif method == "Remove":
            for item in place.iterdir():
                item.unlink()
            place.rmdir()
        elif method in ("Mount", "Path"):
            return {"Mountpoint": "../etc" if self._mood == "escapes" else str(place), "Err": ""}
        return {"Err": ""}


def main() -> None:
    """Serve until killed."""
    socket, folder = sys.argv[1:3]
    mood = sys.argv[3] if len(sys.argv) > 3 else "good"
    web.run_app(VolumePlugin(Path(folder), mood).application(), path=socket, print=None)


if __name__ == "__main__":
    main()
