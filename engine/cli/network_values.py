"""Networks, addresses and names of ``run`` and ``create``: what was typed, checked and split.

Pure functions; they raise ValueError with Docker's texts.
"""

from __future__ import annotations

import ipaddress
import re

import msgspec

from engine.cli.mount_values import split_fields

_LONG_NETWORK = re.compile(r"\w+=\w+(,\w+=\w+)*", re.ASCII)
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}|([0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}", re.ASCII)
_ENGINE_MODES = ("default", "bridge", "host", "none")
_SYSCTLS = frozenset(
    (
        "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "kernel.shm_rmid_forced",
    )
)  # fmt: skip


class NetworkChoice(msgspec.Struct, kw_only=True):
    """One ``--network``: a name or mode, and what its endpoint asks for."""

    target: str = ""
    aliases: list[str] = []
    driver_opts: dict[str, str] = {}
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: list[str] = []
    mac_address: str = ""
    gw_priority: int = 0


def parse_network(text: str) -> NetworkChoice:
    """Return one ``--network``, short or ``name=…,alias=…,ip=…``; raises ValueError with Docker's text."""
    if _LONG_NETWORK.search(text) is None:
        return NetworkChoice(target=text)
    choice = NetworkChoice()
    for part in split_fields(text):
        key, equals, value = part.lower().partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key:
            raise ValueError(f"invalid field {part}")
        if key == "name":
            choice.target = value
        elif key == "alias":
            choice.aliases.append(value)
        elif key == "ip":
            choice.ipv4_address = value
        elif key == "ip6":
            choice.ipv6_address = value
        elif key == "mac-address":
            choice.mac_address = value
        elif key == "link-local-ip":
            choice.link_local_ips.append(value)
        elif key == "driver-opt":
            name, has_value, setting = value.partition("=")
            if not has_value or not name:
                raise ValueError("invalid key value pair format in driver options")
            choice.driver_opts[name.strip()] = setting.strip()
        elif key == "gw-priority":
            if not re.fullmatch(r"[+-]?[0-9]+", value, re.ASCII):
                raise ValueError(f"invalid gw-priority ({value}): invalid syntax")
            choice.gw_priority = int(value)
        else:
            raise ValueError(f"invalid field key {key}")
    if not choice.target:
        raise ValueError("network name/id is not specified")
    return choice


def is_user_network(mode: str) -> bool:
    """Whether a network mode names a user's network."""
    return mode not in _ENGINE_MODES and not mode.startswith("container:")


def check_mac(text: str) -> str:
    """Return a MAC address; raises ValueError with Docker's text."""
    if text and _MAC.fullmatch(text.strip()) is None:
        raise ValueError(f"{text} is not a valid mac address")
    return text


def check_ip(text: str) -> str:
    """Return an IP address; raises ValueError with Docker's text."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise ValueError(f"IP address is not correctly formatted: {text.strip()}") from None


def check_extra_host(text: str) -> str:
    """Return one ``--add-host`` as ``name:address``; ``=`` and brackets are taken too."""
    mark = "=" if "=" in text else ":"
    name, separator, address = text.partition(mark)
    if not separator or not name or ":" in name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if len(address) > 2 and address[0] == "[" and address[-1] == "]":
        address = address[1:-1]
    if address != "host-gateway":
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ValueError(f'invalid IP address in add-host: "{address}"') from None
    return f"{name}:{address}"


def check_link(text: str) -> str:
    """Return one ``--link``: ``name`` or ``name:alias``."""
    parts = text.split(":")
    if not text:
        raise ValueError("empty string specified for links")
    if len(parts) > 2:
        raise ValueError(f"bad format for links: {text}")
    return text


def check_env(text: str) -> str:
    """Return one ``-e``; raises ValueError when it has no name."""
    if not text or text.startswith("="):
        raise ValueError(f"invalid environment variable: {text}")
    return text


def check_label(text: str) -> str:
    """Return one ``-l``; raises ValueError when it has no name."""
    name = text.partition("=")[0].lstrip(" \t")
    if not name:
        raise ValueError(f"invalid label '{text}': empty name")
    if " " in name or "\t" in name:
        raise ValueError(f"label '{name}' contains whitespaces")
    return text


def check_attach(text: str) -> str:
    """Return one ``-a`` in small letters."""
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def check_sysctl(text: str) -> str:
    """Return one ``--sysctl``: a namespaced name and a value."""
    name = text.partition("=")[0]
    if "=" not in text or not (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return text
