"""Finding containers by name and ID, and who has which name."""

from __future__ import annotations

import bisect
import secrets

from engine.containers.names import parse_container_name
from engine.containers.wordlists import ADJECTIVES, SURNAMES
from engine.errors import Conflict, InvalidArgument, NotFound
from engine.model.record import ContainerRecord


class ContainerIndex:
    """Records by ID, by name and by the beginning of their ID."""

    def __init__(self) -> None:
        """Begin empty."""
        self._records: dict[str, ContainerRecord] = {}
        self._ids: list[str] = []
        self._owners: dict[str, str] = {}

    def claim(self, name: str, container_id: str) -> str:
        """Reserve a name (with or without its slash; empty: a generated one) and return it.

        Raises InvalidArgument for characters that Docker does not allow, Conflict for a taken name.
        """
        bare = parse_container_name(name) if name else self._generate(container_id)
        owner = self._owners.get(bare)
        if owner is not None:
            raise Conflict(
                f'Conflict. The container name "/{bare}" is already in use by container "{owner}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )
        self._owners[bare] = container_id
        return bare

    def _generate(self, container_id: str) -> str:
        for _ in range(16):
            name = f"{secrets.choice(ADJECTIVES)}_{secrets.choice(SURNAMES)}"
            if name not in self._owners:
                return name
        return f"{secrets.choice(ADJECTIVES)}_{container_id[:12]}"

    def release(self, name: str) -> None:
        """Give a name back."""
        self._owners.pop(name, None)

    def add(self, record: ContainerRecord) -> None:
        """Take a container in; its name is its own from now on."""
        self._records[record.id] = record
        bisect.insort(self._ids, record.id)
        self._owners[record.name] = record.id

    def remove(self, record: ContainerRecord) -> None:
        """Forget a container and its name."""
        if self._records.pop(record.id, None) is not None:
            del self._ids[bisect.bisect_left(self._ids, record.id)]
        if self._owners.get(record.name) == record.id:
            del self._owners[record.name]

    def find(self, container_ref: str) -> ContainerRecord:
        """Return the container that a full ID, a name or the beginning of an ID means, in this order.

        Raises NotFound or, for an ambiguous beginning, InvalidArgument, with moby's texts.
        """
        record = self._records.get(container_ref)
        if record is None:
            record = self._records.get(self._owners.get(container_ref.removeprefix("/"), ""))
        if record is not None:
            return record
        found = self._by_prefix(container_ref)
        if len(found) > 1:
            raise InvalidArgument(f"multiple IDs found with provided prefix: {container_ref}")
        if not found:
            raise NotFound(f"No such container: {container_ref}")
        return self._records[found[0]]

    def _by_prefix(self, prefix: str) -> list[str]:
        if not prefix:
            return []
        start = bisect.bisect_left(self._ids, prefix)
        return [item for item in self._ids[start : start + 2] if item.startswith(prefix)]

    def records(self) -> list[ContainerRecord]:
        """Return all records in no order."""
        return list(self._records.values())
