"""``network create``, ``connect``, ``disconnect``, ``rm`` and ``prune``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from engine.cli.command import Command
from engine.cli.create_request import key_values
from engine.cli.failures import CommandError, sentence
from engine.cli.filters import parse_filters, prune_filters
from engine.cli.flags import Flag, Parsed
from engine.cli.mount_values import split_fields
from engine.cli.network_values import check_label, check_link
from engine.cli.subnet_values import build_ipam
from engine.errors import NotFound, PortsideError
from engine.model.network import ConfigReference, EndpointIPAMConfig, EndpointSettings, NetworkCreateRequest

if TYPE_CHECKING:
    from engine.cli.session import Session

_QUESTION = (
    "WARNING! This will remove all custom networks not used by at least one container.\n"
    "Are you sure you want to continue?"
)


def _strings(parsed: Parsed, name: str) -> list[str]:
    """Return the values of a flag that takes several, each of which may hold more between commas."""
    return [part for text in parsed.items(name) for part in split_fields(text)]


async def run_create(session: Session, parsed: Parsed) -> int:
    """Make a network and print its ID."""
    try:
        ipam = build_ipam(
            parsed.text("ipam-driver"),
            _strings(parsed, "subnet"),
            _strings(parsed, "ip-range"),
            _strings(parsed, "gateway"),
            key_values(parsed.items("aux-address")),
            key_values(parsed.items("ipam-opt")),
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
    source = parsed.text("config-from")
    request = NetworkCreateRequest(
        name=parsed.args[0],
        driver=parsed.text("driver"),
        scope=parsed.text("scope"),
        enable_ipv4=parsed.on("ipv4") if "ipv4" in parsed.changed else UNSET,
        enable_ipv6=parsed.on("ipv6") if "ipv6" in parsed.changed else UNSET,
        ipam=ipam,
        internal=parsed.on("internal"),
        attachable=parsed.on("attachable"),
        ingress=parsed.on("ingress"),
        config_only=parsed.on("config-only"),
        config_from=ConfigReference(network=source) if source else None,
        options=key_values(parsed.items("opt")),
        labels=key_values(parsed.items("label")),
    )
    session.out(await session.client.networks.create(request))
    return 0


async def run_connect(session: Session, parsed: Parsed) -> int:
    """Connect a container to a network."""
    options: dict[str, str] = {}
    for text in _strings(parsed, "driver-opt"):
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise CommandError("invalid key/value pair format in driver options")
        options[name.strip()] = value.strip()
    settings = EndpointSettings(
        ipam_config=EndpointIPAMConfig(
            ipv4_address=parsed.text("ip") or UNSET,
            ipv6_address=parsed.text("ip6") or UNSET,
            link_local_ips=_strings(parsed, "link-local-ip") or UNSET,
        ),
        links=parsed.items("link"),
        aliases=_strings(parsed, "alias"),
        driver_opts=options,
        gw_priority=parsed.number("gw-priority"),
    )
    network, container = parsed.args
    await session.client.networks.connect(network, container, settings)
    return 0


async def run_disconnect(session: Session, parsed: Parsed) -> int:
    """Take a container off a network."""
    network, container = parsed.args
    await session.client.networks.disconnect(network, container, force=parsed.on("force"))
    return 0


async def run_rm(session: Session, parsed: Parsed) -> int:
    """Remove networks, one after the other; what does not work is said and the next one tried."""
    code = 0
    for name in parsed.args:
        try:
            await session.client.networks.remove(name)
        except PortsideError as error:
            if not (parsed.on("force") and isinstance(error, NotFound)):
                session.err(sentence(error))
                code = 1
            continue
        session.out(name)
    if code:
        raise CommandError(f"exit status {code}", code)
    return 0


async def run_prune(session: Session, parsed: Parsed) -> int:
    """Remove all networks that no container uses, after a question."""
    filters = prune_filters(session, parse_filters(parsed.items("filter")))
    if not parsed.on("force") and not session.console.confirm(_QUESTION):
        raise CommandError("network prune has been cancelled")
    deleted = await session.client.networks.prune(filters)
    if deleted:
        session.out("Deleted Networks:\n" + "".join(f"{name}\n" for name in deleted))
    return 0


COMMANDS = {
    "network create": Command(
        "[OPTIONS] NETWORK",
        "Make a network",
        run_create,
        (
            Flag("attachable", usage="Let containers be connected by hand (swarm)"),
            Flag("aux-address", kind="map", usage="Addresses that are used otherwise (name=address)"),
            Flag("config-from", kind="string", usage="Network whose configuration is taken"),
            Flag("config-only", usage="Make a configuration for other networks"),
            Flag("driver", "d", "string", "Driver of the network", default="bridge"),
            Flag("gateway", kind="strings", usage="IPv4 or IPv6 gateway of a subnet"),
            Flag("ingress", usage="Make the routing mesh of a swarm"),
            Flag("internal", usage="Keep its containers from the outside"),
            Flag("ip-range", kind="strings", usage="Part of a subnet that addresses are given out of"),
            Flag("ipam-driver", kind="string", usage="Driver of the address management", default="default"),
            Flag("ipam-opt", kind="map", usage="Options of the address management"),
            Flag("ipv4", usage="Give containers IPv4 addresses", default=True),
            Flag("ipv6", usage="Give containers IPv6 addresses"),
            Flag("label", kind="list", usage="Set labels", check=check_label),
            Flag("opt", "o", "map", "Options of the driver"),
            Flag("scope", kind="string", usage="Scope of the network"),
            Flag("subnet", kind="strings", usage="Subnet, as address/length"),
        ),
        min_args=1,
        max_args=1,
    ),
    "network connect": Command(
        "[OPTIONS] NETWORK CONTAINER",
        "Connect a container to a network",
        run_connect,
        (
            Flag("alias", kind="strings", usage="Further names of the container on the network"),
            Flag("driver-opt", kind="strings", usage="Options for the network's driver"),
            Flag("gw-priority", kind="int", usage="The highest one is the way out"),
            Flag("ip", kind="string", usage="IPv4 address (172.30.100.104 …)"),
            Flag("ip6", kind="string", usage="IPv6 address (2001:db8::33 …)"),
            Flag("link", kind="list", usage="Another container's name for this one (name:alias)", check=check_link),
            Flag("link-local-ip", kind="strings", usage="Link-local addresses"),
        ),
        min_args=2,
        max_args=2,
        completes="network container",
    ),
    "network disconnect": Command(
        "[OPTIONS] NETWORK CONTAINER",
        "Take a container off a network",
        run_disconnect,
        (Flag("force", "f", usage="Also when the network is no more"),),
        min_args=2,
        max_args=2,
        completes="network container",
    ),
    "network rm": Command(
        "NETWORK [NETWORK...]",
        "Remove networks",
        run_rm,
        (Flag("force", "f", usage="Do not mind when there is none"),),
        min_args=1,
        aliases=("network rm", "network remove"),
        completes="network",
    ),
    "network prune": Command(
        "[OPTIONS]",
        "Remove all unused networks",
        run_prune,
        (
            Flag("filter", kind="filter", usage="Which to remove (until=<timestamp>, label=<label>)"),
            Flag("force", "f", usage="Do not ask"),
        ),
        max_args=0,
    ),
}
