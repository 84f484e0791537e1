"""``pull``, ``push``, ``rmi``, ``tag`` and ``image prune``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.cli.command import Command
from engine.cli.console import STDOUT
from engine.cli.failures import CommandError, join_errors
from engine.cli.filters import parse_filters, prune_filters
from engine.cli.flags import Flag, Parsed, quote
from engine.cli.progress import ProgressDisplay
from engine.cli.quantities import human_size
from engine.cli.references import registry_key
from engine.errors import InvalidArgument, NotFound, PortsideError
from engine.model.base import given
from engine.model.image import ImageDelete
from engine.wire.references import Reference, parse_reference

if TYPE_CHECKING:
    from engine.cli.session import Session


def _reference(text: str) -> Reference:
    try:
        return parse_reference(text)
    except InvalidArgument as error:
        raise CommandError(str(error), hint=f"{text!r} is no image name: NAME[:TAG] in small letters") from error


async def run_pull(session: Session, parsed: Parsed) -> int:
    """Pull an image, or every tag of a repository."""
    reference = _reference(parsed.args[0])
    quiet, every = parsed.on("quiet"), parsed.on("all-tags")
    if every and (reference.tag or reference.digest):
        raise CommandError("tag can't be used with --all-tags/-a")
    if not every and not (reference.tag or reference.digest):
        reference = reference.with_default_tag()
        if not quiet:
            session.out(f"Using default tag: {reference.tag}")
    stream = session.client.images.pull(
        reference.familiar_name,
        tag=reference.digest or reference.tag,
        platform=parsed.text("platform") or session.environ.get("DOCKER_DEFAULT_PLATFORM", ""),
        credentials=session.config.credentials(registry_key(reference)),
    )
    if quiet:
        async with stream:
            async for _ in stream:
                pass
    else:
        await ProgressDisplay(session.console, STDOUT).show(stream)
    session.out(reference.full)
    return 0


async def run_push(session: Session, parsed: Parsed) -> int:
    """Push an image, or every tag of a repository."""
    reference = _reference(parsed.args[0])
    quiet, every = parsed.on("quiet"), parsed.on("all-tags")
    if every and (reference.tag or reference.digest):
        raise CommandError("tag can't be used with --all-tags/-a")
    if not every and not (reference.tag or reference.digest):
        reference = reference.with_default_tag()
        if not quiet:
            session.out(f"Using default tag: {reference.tag}")
    if reference.digest:
        raise CommandError("cannot push a digest reference", hint="give the image a tag: portside tag")
    stream = session.client.images.push(
        reference.familiar_name,
        tag=reference.tag,
        platform=parsed.text("platform"),
        credentials=session.config.credentials(registry_key(reference)),
    )
    if quiet:
        async with stream:
            async for _ in stream:
                pass
        session.out(reference.full)
    else:
        await ProgressDisplay(session.console, STDOUT).show(stream)
    return 0


def deleted_lines(items: list[ImageDelete], deleted: str, untagged: str) -> list[str]:
    """Return what a removal did, a line each."""
    lines = []
    for item in items:
        name = given(item.deleted, "")
        lines.append(f"{deleted}: {name}" if name else f"{untagged}: {given(item.untagged, '')}")
    return lines


async def run_rmi(session: Session, parsed: Parsed) -> int:
    """Remove images."""
    errors: list[PortsideError] = []
    for ref in parsed.args:
        try:
            items = await session.client.images.remove(
                ref, force=parsed.on("force"), prune=not parsed.on("no-prune"), platforms=parsed.items("platform")
            )
        except PortsideError as error:
            errors.append(error)
            continue
        session.console.out("".join(f"{line}\n" for line in deleted_lines(items, "Deleted", "Untagged")))
    if errors:
        report = join_errors(errors)
        if not parsed.on("force") or any(not isinstance(error, NotFound) for error in errors):
            raise report
        session.err(report.message)
    return 0


async def run_tag(session: Session, parsed: Parsed) -> int:
    """Give an image a further name."""
    source, target = parsed.args
    try:
        reference = parse_reference(target)
    except InvalidArgument as error:
        raise CommandError(
            f"Error parsing reference: {quote(target)} is not a valid repository/tag: {error}"
        ) from error
    if reference.digest:
        raise CommandError("refusing to create a tag with a digest reference")
    await session.client.images.tag(source, reference.familiar_name, reference.tag or "latest")
    return 0


async def prune_images(session: Session, filters: dict[str, list[str]], *, every: bool) -> tuple[int, str]:
    """Remove unused images; returns bytes and what is printed of it."""
    wanted = prune_filters(session, {**filters, "dangling": ["false" if every else "true"]})
    report = await session.client.images.prune(wanted)
    if not report.images_deleted:
        return 0, ""
    lines = deleted_lines(report.images_deleted, "deleted", "untagged")
    return report.space_reclaimed, "Deleted Images:\n" + "".join(f"{line}\n" for line in lines)


async def run_prune(session: Session, parsed: Parsed) -> int:
    """Remove unused images, after a question."""
    every = parsed.on("all")
    which = "all images without at least one container associated to them" if every else "all dangling images"
    if not parsed.on("force"):
        question = f"WARNING! This will remove {which}.\nAre you sure you want to continue?"
        if not session.console.confirm(question):
            raise CommandError("image prune has been cancelled")
    size_bytes, text = await prune_images(session, parse_filters(parsed.items("filter")), every=every)
    if text:
        session.out(text)
    session.out(f"Total reclaimed space: {human_size(size_bytes)}")
    return 0


_PLATFORM = Flag("platform", kind="string", usage="Platform of the image (linux/arm64)")

COMMANDS = {
    "image pull": Command(
        "[OPTIONS] NAME[:TAG|@DIGEST]",
        "Download an image from a registry",
        run_pull,
        (
            Flag("all-tags", "a", usage="Download every tag of the repository"),
            Flag("disable-content-trust", default=True, is_hidden=True),
            _PLATFORM,
            Flag("quiet", "q", usage="Show no progress"),
        ),
        min_args=1,
        max_args=1,
        aliases=("image pull", "pull"),
        completes="image",
    ),
    "image push": Command(
        "[OPTIONS] NAME[:TAG]",
        "Upload an image to a registry",
        run_push,
        (
            Flag("all-tags", "a", usage="Upload every tag of the image"),
            Flag("disable-content-trust", default=True, is_hidden=True),
            _PLATFORM,
            Flag("quiet", "q", usage="Show no progress"),
        ),
        min_args=1,
        max_args=1,
        aliases=("image push", "push"),
        completes="image",
    ),
    "image rm": Command(
        "[OPTIONS] IMAGE [IMAGE...]",
        "Remove images",
        run_rmi,
        (
            Flag("force", "f", usage="Remove them even when they are used by stopped containers"),
            Flag("no-prune", usage="Keep parents that have no name"),
            Flag("platform", kind="strings", usage="Remove only this platform's variant"),
        ),
        min_args=1,
        aliases=("image rm", "image remove", "rmi"),
        completes="image",
    ),
    "image tag": Command(
        "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        "Give an image a further name",
        run_tag,
        min_args=2,
        max_args=2,
        aliases=("image tag", "tag"),
        completes="image",
    ),
    "image prune": Command(
        "[OPTIONS]",
        "Remove unused images",
        run_prune,
        (
            Flag("all", "a", usage="Remove every unused image, not only those without a name"),
            Flag("filter", kind="filter", usage="Which to remove (until=<timestamp>, label=<label>)"),
            Flag("force", "f", usage="Do not ask"),
        ),
        max_args=0,
    ),
}
