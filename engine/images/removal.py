"""Taking names from images and deleting them, by Docker's rules and with its messages (moby, image_delete.go).

An image that stopped containers still need is forgotten by name and ID, but its layers stay until the last
of those containers is gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import Conflict, InvalidArgument
from engine.images.manager import ImageManager, short_id
from engine.images.records import ImageRecord
from engine.images.variants import require_platform
from engine.model.image import ImageDelete
from engine.wire.references import Reference, parse_reference


class ImageRemover:
    """Deletes images of an ImageManager."""

    def __init__(self, images: ImageManager) -> None:
        """Work on ``images``."""
        self._images = images

    async def remove(self, image_ref: str, *, force: bool = False, prune: bool = True) -> list[ImageDelete]:
        """Take a name from an image, or delete it; return what was done.

        ``prune`` deletes unnamed parents too. Raises NotFound, or Conflict with moby's texts while
        containers or other images need it.
        """
        done: list[ImageDelete] = []
        async with self._images.changing():
            record = self._images.table.find(image_ref)
            others = self._images.variants.members(record)[1:]
            await self._remove(record, image_ref, force=force, prune=prune, done=done)
            if not self._images.table.references(record.id) and not is_id_prefix(record.id, image_ref):
                await self._remove_companions(others, force=force, done=done)
        await self._images.collect()
        return done

    async def remove_platforms(self, image_ref: str, platforms: Sequence[str], *, force: bool) -> list[ImageDelete]:
        """Delete the images for some platforms out of those that a name means; another one keeps its names.

        Raises InvalidArgument without ``force`` and NotFound for a platform that is not here, with moby's texts.
        """
        if not force:
            raise InvalidArgument(
                "Content will be removed from all images referencing this variant. Use —-force to force delete."
            )
        done: list[ImageDelete] = []
        async with self._images.changing():
            for platform in platforms:
                named = self._images.table.find(image_ref)
                found = self._images.variants.matching(named, platform)
                record = require_platform(found, image_ref, platform)
                others = [item for item in self._images.variants.members(record) if item is not record]
                self._refuse(record, force=True, named=False)
                if others:
                    await self._images.table.put(others[0], self._images.table.references(record.id))
                await self._delete(record, done, force=True, prune=True, quiet=False)
        await self._images.collect()
        return done

    async def _remove_companions(self, others: list[ImageRecord], *, force: bool, done: list[ImageDelete]) -> None:
        """Delete the images for other platforms of an index of which nothing has a name any more."""
        table = self._images.table
        if any(table.references(item.id) for item in others):
            return
        for item in others:
            if table.get(item.id) is item and not item.hidden:
                await self._delete(item, done, force=force, prune=True, quiet=True)

    async def _remove(
        self, record: ImageRecord, image_ref: str, *, force: bool, prune: bool, done: list[ImageDelete]
    ) -> None:
        references = self._images.table.references(record.id)
        if is_id_prefix(record.id, image_ref):
            if is_single(references):
                self._refuse(record, force=force, named=False)
                await self._untag(record, references, done)
            await self._delete(record, done, force=force, prune=prune, quiet=False)
            return
        if not force and is_single(references):
            users = self._images.users.containers_using(record.id)
            if users:
                raise Conflict(
                    f'conflict: unable to remove repository reference "{image_ref}" (must force) - '
                    f"container {short_id(users[0][0])} is using its referenced image {short_id(record.id)}",
                    hint=f"remove the container first, or force it: {image_ref} then has no name any more",
                )
        taken = going_with(references, parse_reference(image_ref).with_default_tag())
        await self._untag(record, taken, done, told=taken[:1])
        if not self._images.table.references(record.id):
            await self._delete(record, done, force=force, prune=prune, quiet=True)

    async def _untag(
        self,
        record: ImageRecord,
        references: list[Reference],
        done: list[ImageDelete],
        told: list[Reference] | None = None,
    ) -> None:
        """Take names from an image; of digests that go with a tag moby announces nothing, so only ``told`` are."""
        await self._images.table.untag(references)
        for reference in references:
            done.append(ImageDelete(untagged=reference.familiar))
            if told is None or reference in told:
                self._images.publish("untag", record.id, record.id)

    async def _delete(
        self, record: ImageRecord, done: list[ImageDelete], *, force: bool, prune: bool, quiet: bool
    ) -> None:
        """Delete an image; ``quiet`` leaves one that is needed as it is, without a name."""
        table = self._images.table
        try:
            self._refuse(record, force=force, named=True)
        except Conflict:
            if quiet:
                return
            raise
        is_needed = bool(self._images.users.containers_using(record.id))
        with table.condemned(record.id):
            await self._untag(record, table.references(record.id), done)
            used = {chain for image in table.all() if image.id != record.id for chain in image.layers}
            await (table.hide(record) if is_needed else table.delete(record.id))
        self._images.publish("delete", record.id, record.id)
        done.append(ImageDelete(deleted=record.id))
        if not is_needed:
            done.extend(ImageDelete(deleted=chain) for chain in reversed(record.layers) if chain not in used)
        parent = table.get(record.parent) if prune and record.parent else None
        if parent is not None and not table.references(parent.id):
            await self._delete(parent, done, force=False, prune=True, quiet=True)

    def _refuse(self, record: ImageRecord, *, force: bool, named: bool) -> None:
        """Raise Conflict for what stands against deleting an image; ``named`` counts its names too."""
        name = short_id(record.id)
        if any(image.parent == record.id for image in self._images.table.all()):
            raise Conflict(f"conflict: unable to delete {name} (cannot be forced) - image has dependent child images")
        users = self._images.users.containers_using(record.id)
        running = next((user for user in users if user[2]), None)
        if running is not None:
            raise Conflict(
                f"conflict: unable to delete {name} (cannot be forced) - "
                f"image is being used by running container {short_id(running[0])}",
                hint="stop and remove the container first",
            )
        if force:
            return
        if named and self._images.table.references(record.id):
            raise Conflict(
                f"conflict: unable to delete {name} (must be forced) - image is referenced in multiple repositories",
                hint="remove its names one by one, or force it",
            )
        if users:
            raise Conflict(
                f"conflict: unable to delete {name} (must be forced) - "
                f"image is being used by stopped container {short_id(users[0][0])}",
                hint="remove the container first, or force it",
            )


def is_id_prefix(image_id: str, text: str) -> bool:
    """Whether a text is the beginning of an image's ID, with or without its algorithm."""
    return image_id.startswith(text) or image_id.removeprefix("sha256:").startswith(text)


def is_single(references: list[Reference]) -> bool:
    """Whether all references are of one repository and at most one of them is a tag; false for none."""
    if len(references) <= 1:
        return len(references) == 1
    tags = [item for item in references if item.tag]
    digests = {item.name for item in references if not item.tag}
    return len(tags) <= 1 and digests == {(tags or references)[0].name}


def going_with(references: list[Reference], named: Reference) -> list[Reference]:
    """Return what goes when a name is taken away: with a repository's last tag its digests go too."""
    wanted = named.with_digest(named.digest) if named.digest else named
    taken = [item for item in references if item.full == wanted.full]
    if wanted.digest:
        return taken
    same = [item for item in references if item.name == wanted.name and item not in taken]
    return taken if any(item.tag for item in same) else taken + same
