"""From the flags of ``portside build`` to a request: query, secrets, SSH agents.

Reads the files and variables that flags name; knows no engine.
"""

from __future__ import annotations

import os
import secrets as random
from pathlib import Path

import msgspec

from engine.cli.failures import CommandError
from engine.cli.flags import Parsed
from engine.errors import InvalidArgument
from engine.wire.references import parse_reference

_PROGRESS = ("auto", "plain", "tty", "rawjson", "json", "quiet")
_MAX_SECRETS = 44 * 1024


def check_flags(parsed: Parsed) -> None:
    """Raise CommandError for what there is not: a kind of progress, an output besides an image."""
    for item in parsed.items("output"):
        if item not in ("type=image", "type=docker"):
            raise CommandError(
                f"--output {item} is not supported yet: a build makes an image",
                hint="then portside save -o FILE IMAGE writes an archive, portside cp copies files out of a container",
            )
    if parsed.text("progress") not in ("", *_PROGRESS):
        raise CommandError(f"invalid progress mode {parsed.text('progress')}: one of {', '.join(_PROGRESS)}")


def build_query(
    parsed: Parsed, dockerfile: str, remote: str
) -> tuple[dict[str, str | int | bool | None], list[tuple[str, str]]]:
    """Return the query of ``POST /build`` and what is in it several times; raises CommandError for a wrong tag."""
    for name in parsed.items("tag"):
        try:
            parse_reference(name)
        except InvalidArgument as error:
            raise CommandError(
                f'invalid tag "{name}": {error.message}', hint="a tag is NAME[:TAG] in small letters"
            ) from error
    arguments: dict[str, str | None] = {}
    for item in parsed.items("build-arg"):
        name, equals, value = item.partition("=")
        arguments[name] = value if equals else os.environ.get(name)
    labels = dict(item.partition("=")[::2] for item in parsed.items("label"))
    network = parsed.text("network")
    query: dict[str, str | int | bool | None] = {
        "dockerfile": dockerfile or None,
        "remote": remote or None,
        "target": parsed.text("target") or None,
        "buildargs": msgspec.json.encode(arguments).decode() if arguments else None,
        "labels": msgspec.json.encode(labels).decode() if labels else None,
        "cachefrom": msgspec.json.encode(parsed.items("cache-from")).decode() if parsed.items("cache-from") else None,
        "ulimits": msgspec.json.encode(parsed.objects("ulimit")).decode() if parsed.objects("ulimit") else None,
        "nocache": True if parsed.on("no-cache") else None,
        "pull": True if parsed.on("pull") else None,
        "forcerm": True if parsed.on("force-rm") else None,
        "rm": parsed.on("rm"),
        "networkmode": None if network in ("", "default") else network,
        "platform": parsed.text("platform") or os.environ.get("DOCKER_DEFAULT_PLATFORM") or None,
        "buildid": random.token_hex(12),
        "squash": True if parsed.on("squash") else None,
        "cpusetcpus": parsed.text("cpuset-cpus") or None,
        "cpusetmems": parsed.text("cpuset-mems") or None,
        "cgroupparent": parsed.text("cgroup-parent") or None,
    }
    numbers = {
        "memory": "memory", "memory-swap": "memswap", "cpu-shares": "cpushares", "cpu-period": "cpuperiod",
        "cpu-quota": "cpuquota", "shm-size": "shmsize",
    }  # fmt: skip
    query |= {parameter: parsed.number(name) or None for name, parameter in numbers.items()}
    repeated = [("t", name) for name in parsed.items("tag")]
    repeated += [("extrahosts", _host(item)) for item in parsed.items("add-host")]
    return query, repeated


def _host(item: str) -> str:
    name, sign, address = item.partition("=")
    return f"{name}:{address}" if sign else item


def read_secrets(items: list[str]) -> dict[str, bytes]:
    """Return secrets by ID: of files (``id=x,src=FILE``) or of variables (``id=x,env=NAME``)."""
    found: dict[str, bytes] = {}
    for item in items:
        fields = dict(part.partition("=")[::2] for part in item.split(","))
        identifier = fields.pop("id", "")
        kind = fields.pop("type", "")
        path = fields.pop("src", fields.pop("source", ""))
        variable = fields.pop("env", "")
        if fields or kind not in ("", "file", "env") or not identifier:
            raise CommandError(f"invalid secret {item!r}: give id=NAME,src=FILE or id=NAME,env=VARIABLE")
        if variable or kind == "env" or (not path and identifier in os.environ):
            name = variable or path or identifier
            if name not in os.environ:
                raise CommandError(f"secret {identifier}: there is no variable {name}")
            found[identifier] = os.environb[os.fsencode(name)]
            continue
        try:
            found[identifier] = Path(path or identifier).read_bytes()
        except OSError as error:
            raise CommandError(f"secret {identifier}: {path or identifier}: {error.strerror}") from error
    if sum(len(value) for value in found.values()) > _MAX_SECRETS:
        raise CommandError(f"secrets are larger than {_MAX_SECRETS} bytes together")
    return found


def find_agents(items: list[str]) -> dict[str, str]:
    """Return the sockets of SSH agents by ID: ``default``, ``NAME`` or ``NAME=SOCKET``."""
    found: dict[str, str] = {}
    for item in items:
        name, _, path = item.partition("=")
        path = path or os.environ.get("SSH_AUTH_SOCK", "")
        if not path or not Path(path).is_socket():
            raise CommandError(
                f"SSH agent {name}: {path or 'SSH_AUTH_SOCK'} is no socket",
                hint="start an agent, or name its socket: --ssh NAME=SOCKET",
            )
        found[name or "default"] = str(Path(path).resolve())
    return found
