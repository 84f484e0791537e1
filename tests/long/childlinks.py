"""macvlan, ipvlan, VLANs and dummies, on Debian's kernel in a guest: ``python -m tests.long.childlinks DIR``.

Needs qemu-system-x86, busybox-static and root; DIR is for the guest's files, with the kernel in ``DIR/kernel``
(fetched when it is not there). Takes a minute or two. What runs inside is ``--inside``.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from engine.errors import Internal
from engine.model.network import EndpointIPAMConfig, EndpointSettings
from tests.integration.networks_lab import Lab, ip, lab, neighbour

_TREE = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 600.0
_PASSED = "CHILDLINKS PASSED"


def at(address: str) -> EndpointSettings:
    """Ask for an address."""
    return EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address=address))


async def meet(host: Lab, driver: str, options: dict[str, str]) -> None:
    """Two containers beside the host reach each other and the neighbour; all is gone afterwards."""
    with neighbour() as lan:
        await host.network("wire", "192.0.2.0/24", driver=driver, options={"parent": "lan", **options})
        one = await host.run("one", networks={"wire": at("192.0.2.77")})
        two = await host.run("two", networks={"wire": at("192.0.2.78")})
        async with host.serving(lan, 80) as callers, host.serving(host.namespace(two), 80):
            if options.get("ipvlan_mode", "l2") == "l2":
                assert await host.is_reachable(host.namespace(one), "192.0.2.2", 80)
                assert callers == ["192.0.2.77"]
            assert await host.is_reachable(host.namespace(one), "192.0.2.78", 80)
        for record in (one, two):
            await host.stop(record)
        await host.manager.administration.remove("wire")


async def without_parent(host: Lab, driver: str) -> None:
    """A network without a parent gets a dummy, which goes with it."""
    network_id = await host.network("cell", "10.44.0.0/24", driver=driver)
    assert f"dm-{network_id[:12]}" in ip("-o link")
    one, two = await host.run("one", mode="cell"), await host.run("two", mode="cell")
    async with host.serving(host.namespace(two), 80):
        assert await host.is_reachable(host.namespace(one), host.address(two, "cell"), 80)
    for record in (one, two):
        await host.stop(record)
    await host.manager.administration.remove("cell")
    assert "dm-" not in ip("-o link")


async def on_a_vlan(host: Lab) -> None:
    """A parent that is not there becomes a VLAN; one that is used twice stays until the last network goes."""
    with neighbour():
        await host.network("ten", "10.45.0.0/24", driver="macvlan", options={"parent": "lan.10"})
        await host.network("also", "10.46.0.0/24", driver="macvlan", options={"parent": "lan.10"})
        assert "vlan protocol 802.1Q id 10" in ip("-d link show lan.10")
        await host.manager.administration.remove("ten")
        assert "lan.10@lan" in ip("-o link")
        await host.manager.administration.remove("also")
        assert "lan.10" not in ip("-o link")
        try:
            await host.network("bad", "10.47.0.0/24", driver="macvlan", options={"parent": "lan.5000"})
        except Internal as error:
            assert "vlan id must be between 1-4094" in error.message  # noqa: PT017 - no pytest in the guest
        else:
            raise AssertionError("VLAN 5000 was taken")


async def inside() -> None:
    """Run everything; the guest is thrown away when it fails."""
    for title, work in (
        ("macvlan", lambda host: meet(host, "macvlan", {})),
        ("ipvlan l2", lambda host: meet(host, "ipvlan", {})),
        ("ipvlan l3", lambda host: meet(host, "ipvlan", {"ipvlan_mode": "l3"})),
        ("macvlan alone", lambda host: without_parent(host, "macvlan")),
        ("ipvlan alone", lambda host: without_parent(host, "ipvlan")),
        ("vlan", on_a_vlan),
    ):
        async with lab(Path(tempfile.mkdtemp())) as host:
            await work(host)
        sys.stdout.write(f"CHILDLINKS {title}: good\n")
    sys.stdout.write(f"{_PASSED}\n")


def main() -> int:
    """Start the guest and watch it."""
    if sys.argv[1:] == ["--inside"]:
        asyncio.run(inside())
        return 0
    from tests.powercut.__main__ import get_kernel
    from tests.powercut.guest import Guest

    work = Path(sys.argv[1]).resolve()
    work.mkdir(parents=True, exist_ok=True)
    kernel = work / "kernel" if (work / "kernel/boot").is_dir() else get_kernel(work)
    guest = Guest(work / "guest", kernel, _TREE)
    guest.start(
        "modprobe -a macvlan ipvlan dummy 8021q\n"
        "PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m tests.long.childlinks --inside"
    )
    passed = False
    try:
        for line in guest.lines(_TIMEOUT_S):
            sys.stdout.write(f"{line}\n")
            passed = passed or line.strip() == _PASSED
            if passed:
                break
    finally:
        guest.kill()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
