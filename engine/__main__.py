"""``portsided``: read the configuration, build the engine, serve until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import replace

from engine import config as settings
from engine import lean
from engine.errors import PortsideError

log = logging.getLogger("engine")

EXIT_FAILED = 1
EXIT_CONFIG = 2
_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40, "fatal": 50}


def main(arguments: list[str] | None = None) -> int:
    """Run the engine; returns the exit code: 0 after a stop in order, 1 for a failure, 2 for a bad setting."""
    try:
        command = settings.load(sys.argv[1:] if arguments is None else arguments)
        settings.check_files(command.config)
    except settings.ConfigError as error:
        sys.stderr.write(f"portsided: {error.message.removeprefix('portsided: ')}\n")
        return EXIT_CONFIG
    if command.validate:
        sys.stdout.write("configuration OK\n")
        return 0
    _set_up_logging(command.config)
    try:
        asyncio.run(_serve(command))
    except (PortsideError, BaseExceptionGroup) as error:
        failure = _first(error)
        if not isinstance(failure, PortsideError):
            raise
        hint = f" ({failure.hint})" if failure.hint else ""
        sys.stderr.write(f"portsided: {failure.message}{hint}\n")
        return EXIT_FAILED
    return 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _set_up_logging(config: settings.EngineConfig) -> None:
    level = 10 if config.debug else _LEVELS[config.log_level]
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # A client that leaves in the middle of a request is no event for a log.
    server = logging.getLogger("aiohttp.server")
    server.setLevel(logging.ERROR)
    server.filters[:] = [_NoMalformedRequests()]


def _allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one: every published port and every container holds some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(command: settings.CommandLine) -> None:
    _allow_many_files()
    lean.limit_arenas()
    lean.defer_http_client()
    gc.disable()  # nothing that imports make is garbage
    from engine.engine import Engine  # after the settings are checked: a bad one is told at once

    gc.enable()
    os.umask(0o022)
    engine = Engine(command.config)
    loop = asyncio.get_running_loop()
    stops = 0

    def stop() -> None:
        nonlocal stops
        stops += 1
        if stops > 1:
            log.warning("stopping at once")
            os._exit(EXIT_FAILED)
        engine.stop()

    def reload() -> None:
        try:
            fresh = settings.load(list(command.arguments)).config
            settings.check_files(fresh)
        except settings.ConfigError as error:
            log.error("settings are not reloaded: %s", error.message)  # noqa: TRY400 - its words say it all
            return
        changed = settings.changed_fields(engine.config, fresh)
        kept = changed - settings.RELOADABLE
        if kept:
            log.warning("these settings change only with a restart: %s", ", ".join(sorted(kept)))
        taken = {name: getattr(fresh, name) for name in changed & settings.RELOADABLE}
        engine.reload(replace(engine.config, **taken))
        _set_up_logging(engine.config)
        log.info("settings reloaded: %s", ", ".join(sorted(taken)) or "nothing has changed")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await engine.run()


class _NoMalformedRequests(logging.Filter):
    """Keeps requests that are no HTTP out of the log: their senders have their answer."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record stays."""
        error = record.exc_info[1] if record.exc_info else None
        return type(error).__module__ != "aiohttp.http_exceptions"


if __name__ == "__main__":
    sys.exit(main())
