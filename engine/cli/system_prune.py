"""``system prune``: everything unused, in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.cli.command import Command
from engine.cli.failures import CommandError
from engine.cli.filters import parse_filters, prune_filters
from engine.cli.flags import Flag, Parsed
from engine.cli.image_change import prune_images
from engine.cli.quantities import human_size
from engine.cli.volume import prune_volumes
from engine.errors import NotFound, NotSupported

if TYPE_CHECKING:
    from engine.cli.session import Session


def _question(parsed: Parsed, filters: dict[str, list[str]]) -> str:
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if parsed.on("volumes"):
        lines.append("all anonymous volumes not used by at least one container")
    images = (
        "all images without at least one container associated to them" if parsed.on("all") else "all dangling images"
    )
    lines.append(images)
    text = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    shown = sorted(f"{name}={value}" for name, values in filters.items() for value in values)
    if shown:
        text += "\n  Items to be pruned will be filtered with:\n" + "".join(f"  - {line}\n" for line in shown)
    return f"{text}\nAre you sure you want to continue?"


async def _prune_containers(session: Session, filters: dict[str, list[str]]) -> tuple[int, str]:
    report = await session.client.containers.prune(filters)
    if not report.containers_deleted:
        return 0, ""
    return report.space_reclaimed, "Deleted Containers:\n" + "".join(f"{name}\n" for name in report.containers_deleted)


async def _prune_networks(session: Session, filters: dict[str, list[str]]) -> tuple[int, str]:
    try:
        deleted = await session.client.networks.prune(filters)
    except (NotSupported, NotFound):
        return 0, ""  # an engine with the built-in networks alone has none to remove
    return 0, "Deleted Networks:\n" + "".join(f"{name}\n" for name in deleted) if deleted else ""


async def run_prune(session: Session, parsed: Parsed) -> int:
    """Remove stopped containers, unused networks and images, and volumes when asked, after a question."""
    given_filters = parse_filters(parsed.items("filter"))
    if parsed.on("volumes") and "until" in given_filters:
        raise CommandError('ERROR: The "until" filter is not supported with "--volumes"')
    filters = prune_filters(session, given_filters)
    if not parsed.on("force") and not session.console.confirm(_question(parsed, filters)):
        raise CommandError("system prune has been cancelled")
    reports = [await _prune_containers(session, filters), await _prune_networks(session, filters)]
    if parsed.on("volumes"):
        reports.append(await prune_volumes(session, given_filters))
    reports.append(await prune_images(session, given_filters, every=parsed.on("all")))
    for _, text in reports:
        if text:
            session.out(text)
    session.out(f"Total reclaimed space: {human_size(sum(size_bytes for size_bytes, _ in reports))}")
    return 0


COMMANDS = {
    "system prune": Command(
        "[OPTIONS]",
        "Remove everything unused",
        run_prune,
        (
            Flag("all", "a", usage="Remove every unused image, not only those without a name"),
            Flag("filter", kind="filter", usage="Which to remove (label=<label>)"),
            Flag("force", "f", usage="Do not ask"),
            Flag("volumes", usage="Remove anonymous volumes too"),
        ),
        max_args=0,
    ),
}
