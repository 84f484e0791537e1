"""The options of bridge networks (``docker network create --opt``), read and checked with moby's texts. No I/O.

Options that mean nothing to the driver are kept and shown, as Docker does. Source: moby's bridge driver.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from engine.errors import Internal, InvalidArgument
from engine.networks.ruleset import ISOLATED, NAT, NAT_UNPROTECTED, ROUTED
from engine.wire.booleans import parse_go_bool

_BRIDGE = "com.docker.network.bridge."
_MTU = "com.docker.network.driver.mtu"
_PREFIX = "com.docker.network.container_iface_prefix"
_HOST_IPV4, _HOST_IPV6 = "com.docker.network.host_ipv4", "com.docker.network.host_ipv6"
_MODES = (NAT, NAT_UNPROTECTED, ROUTED, ISOLATED)
_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}", re.ASCII)
_MAX_MTU = 2**31 - 1


@dataclass(frozen=True)
class BridgeOptions:
    """What the options say.

    ``bridge`` empty for ``br-`` and the ID; ``mtu`` 0 for the kernel's; ``binding`` where ports are
    published without an address, None for the engine's default; ``prefix`` of interfaces in containers;
    ``source4`` and ``source6`` what outgoing packets are rewritten to; ``inhibits_ipv4`` keeps the bridge
    without its IPv4 address.
    """

    bridge: str = ""
    mtu: int = 0
    icc: bool = True
    masquerade: bool = True
    mode4: str = NAT
    mode6: str = NAT
    binding: IPv4Address | IPv6Address | None = None
    prefix: str = "eth"
    source4: IPv4Address | IPv6Address | None = None
    source6: IPv4Address | IPv6Address | None = None
    inhibits_ipv4: bool = False
    trusted: tuple[str, ...] = ()

    def mode(self, version: int) -> str:
        """Return the gateway mode of a family of addresses."""
        return self.mode4 if version == 4 else self.mode6


def parse_bridge_options(options: Mapping[str, str], *, internal: bool) -> BridgeOptions:
    """Return what a bridge network's options say; raises InvalidArgument and Internal with moby's texts."""
    found = BridgeOptions()
    for key, value in options.items():
        found = _apply(found, key, value)
    if ISOLATED in (found.mode4, found.mode6) and not internal:
        raise Internal("gateway mode 'isolated' can only be used for an internal network")
    return found


def _apply(found: BridgeOptions, key: str, value: str) -> BridgeOptions:
    match key.removeprefix(_BRIDGE) if key.startswith(_BRIDGE) else key:
        case "name":
            return replace(found, bridge=check_interface_name(value) if value else "")
        case "enable_icc":
            return replace(found, icc=_bool(key, value))
        case "enable_ip_masquerade":
            return replace(found, masquerade=_bool(key, value))
        case "gateway_mode_ipv4":
            return replace(found, mode4=_mode(key, value))
        case "gateway_mode_ipv6":
            return replace(found, mode6=_mode(key, value))
        case "inhibit_ipv4":
            return replace(found, inhibits_ipv4=_bool(key, value))
        case "host_binding_ipv4":
            return replace(found, binding=_address(key, value))
        case "trusted_host_interfaces":
            return replace(found, trusted=tuple(check_interface_name(name) for name in value.split(":") if name))
        case "default_bridge":
            _bool(key, value)
            raise InvalidArgument(f"{key} is for the default bridge network only")
        case _:
            return _apply_other(found, key, value)


def _apply_other(found: BridgeOptions, key: str, value: str) -> BridgeOptions:
    if key == _MTU:
        return replace(found, mtu=parse_mtu(key, value))
    if key == _PREFIX:
        if value:
            check_interface_name(f"{value}0")
        return replace(found, prefix=value or "eth")
    if key == _HOST_IPV4:
        return replace(found, source4=_address(key, value))
    if key == _HOST_IPV6:
        return replace(found, source6=_address(key, value))
    return found


def parse_mtu(key: str, value: str) -> int:
    """Return an MTU; raises InvalidArgument with moby's text."""
    if re.fullmatch(r"[+-]?[0-9]+", value, re.ASCII) is None:
        raise _unparsable(key, value, f'strconv.Atoi: parsing "{value}": invalid syntax')
    if len(value) > 18:
        raise _unparsable(key, value, f'strconv.Atoi: parsing "{value}": value out of range')
    number = int(value)
    if number < 0:
        raise InvalidArgument(f"invalid MTU number: {number}")
    if number > _MAX_MTU:
        raise _unparsable(key, value, f'strconv.Atoi: parsing "{value}": value out of range')
    return number


def check_interface_name(name: str) -> str:
    """Return the name of a link as it is; raises InvalidArgument for one that the kernel or the rules do not take."""
    if _INTERFACE.fullmatch(name) is None or name in (".", ".."):
        raise InvalidArgument(
            f"invalid interface name: {name}", hint="1 to 15 of letters, digits and `_`, `.`, `-`, `@`"
        )
    return name


def _bool(key: str, value: str) -> bool:
    found = parse_go_bool(value)
    if found is None:
        raise _unparsable(key, value, f'strconv.ParseBool: parsing "{value}": invalid syntax')
    return found


def _mode(key: str, value: str) -> str:
    if value not in _MODES:
        raise _unparsable(key, value, f"unknown gateway mode {value}")
    return value


def _address(key: str, value: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(value)
    except ValueError:
        raise _unparsable(key, value, "nil ip") from None


def _unparsable(key: str, value: str, reason: str) -> InvalidArgument:
    return InvalidArgument(f"failed to parse {key} value: {value} ({reason})")
