"""What every command works with: the console, the configuration, the engine's client.

Owns one command's surroundings; made by ``main.py`` and handed to the command, so that tests hand in others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.cli.console import Console

if TYPE_CHECKING:
    from engine.cli.configfile import ConfigFile
    from engine.client import Endpoint, EngineClient


@dataclass
class Session:
    """The surroundings of one command."""

    environ: Mapping[str, str]
    endpoint: Endpoint
    config_folder: str
    console: Console = field(default_factory=Console)
    command_path: str = ""
    is_debug: bool = False
    _client: EngineClient | None = None
    _config: ConfigFile | None = None

    @property
    def client(self) -> EngineClient:
        """The engine's client, made when it is first used."""
        if self._client is None:
            from engine.client import EngineClient

            version = None
            if self.environ.get("DOCKER_API_VERSION"):
                from engine.client.connection import parse_version

                version = parse_version(self.environ["DOCKER_API_VERSION"].removeprefix("v"))
            self._client = EngineClient(self.endpoint, api_version=version)
            for name, value in self.config.http_headers.items():
                self._client.set_header(name, value)
        return self._client

    @property
    def config(self) -> ConfigFile:
        """The configuration file, read when it is first used."""
        if self._config is None:
            from engine.cli.configfile import load_config

            self._config = load_config(self.config_folder, self.environ.get("DOCKER_AUTH_CONFIG", ""))
        return self._config

    def out(self, text: str) -> None:
        """Print a line to standard output."""
        self.console.out(f"{text}\n")

    def err(self, text: str) -> None:
        """Print a line to standard error."""
        self.console.err(f"{text}\n")

    async def aclose(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.aclose()
