"""The list of containers: its filters, and rows that are encoded once and kept until their container changes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from engine.containers.container import Container
from engine.containers.lifecycle import Observer
from engine.containers.views import port_summaries, shown_status, status_text, summary_view
from engine.errors import InvalidArgument
from engine.model.record import ContainerRecord
from engine.wire.filters import Filters, match_labels, match_pattern, single_bool

ALLOWED_FILTERS = frozenset(
    {
        *("ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation"),
        *("label", "name", "network", "publish", "since", "status", "volume"),
    }
)
_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_HEALTH = ("none", "starting", "healthy", "unhealthy")
_MARK = secrets.token_hex(16)  # nothing that a label could hold


@dataclass
class ListQuery:
    """What a list is asked for, checked; ``matches`` decides a container."""

    all: bool = False
    limit: int = 0
    filters: Filters = field(default_factory=dict)
    exited: set[int] = field(default_factory=set)
    images: set[str] | None = None
    before: ContainerRecord | None = None
    since: ContainerRecord | None = None
    publish: set[str] = field(default_factory=set)
    expose: set[str] = field(default_factory=set)
    is_task: bool | None = None

    def matches(self, record: ContainerRecord) -> bool:
        """Whether a container is listed, apart from order and limit."""
        state = record.state
        status = shown_status(record)
        wanted = self.filters
        if not self.all and self.limit <= 0 and status not in ("running", "paused", "restarting"):
            return False
        if self.is_task:
            return False
        lives = status in ("running", "paused", "restarting")
        if self.exited and (state.exit_code not in self.exited or lives or not state.started_ns):
            return False
        if wanted.get("status") and status not in wanted["status"]:
            return False
        if wanted.get("health") and (state.health.status if state.health else "none") not in wanted["health"]:
            return False
        if wanted.get("isolation") and (record.host_config.isolation or "default") not in wanted["isolation"]:
            return False
        if self.images is not None and record.image_id not in self.images:
            return False
        return self._matches_names(record) and self._matches_attachments(record)

    def _matches_names(self, record: ContainerRecord) -> bool:
        wanted = self.filters
        if wanted.get("id") and not match_pattern(wanted["id"], record.id):
            return False
        names = wanted.get("name")
        if names and not (match_pattern(names, f"/{record.name}") or match_pattern(names, record.name)):
            return False
        return match_labels(wanted.get("label", ()), record.config.labels)

    def _matches_attachments(self, record: ContainerRecord) -> bool:
        wanted = self.filters
        volumes = wanted.get("volume")
        if volumes and not any(
            item in (mount.name or mount.source, mount.destination) for item in volumes for mount in record.mounts
        ):
            return False
        networks = wanted.get("network")
        if networks and not any(
            item in (name, endpoint.network_id) or (endpoint.network_id and endpoint.network_id.startswith(item))
            for item in networks
            for name, endpoint in record.networks.items()
        ):
            return False
        if not self.publish and not self.expose:
            return True
        return any(
            f"{port.public_port if isinstance(port.public_port, int) else 0}/{port.type}" in self.publish
            or f"{port.private_port}/{port.type}" in self.expose
            for port in port_summaries(record)
        )


def build_query(
    *,
    all_: bool,
    limit: int,
    filters: Filters,
    find: Callable[[str], ContainerRecord],
    find_image: Callable[[str], str | None],
) -> ListQuery:
    """Check what a list is asked for.

    ``find_image`` returns the ID that an ``ancestor`` means, or None. Raises InvalidArgument with moby's
    texts, NotFound for an unknown ``before`` or ``since``.
    """
    query = ListQuery(all=all_ or limit > 0, limit=limit, filters=filters)
    for value in filters.get("exited", ()):
        try:
            query.exited.add(int(value))
        except ValueError:
            reason = f'strconv.Atoi: parsing "{value}": invalid syntax'
            raise InvalidArgument(f"invalid filter 'exited={value}': {reason}") from None
    _check_words(filters, "status", _STATES, "invalid value for state ({value}): must be one of {words}")
    _check_words(filters, "health", _HEALTH, "invalid value for health ({value}): must be one of {words}")
    if filters.get("status"):
        query.all = True
    query.is_task = single_bool(filters, "is-task")
    for value in filters.get("before", ()):
        query.before = find(value)
    for value in filters.get("since", ()):
        query.since = find(value)
    if "ancestor" in filters:
        query.images = {image for image in map(find_image, filters["ancestor"]) if image}
    query.publish = _ports(filters, "publish")
    query.expose = _ports(filters, "expose")
    return query


def _check_words(filters: Filters, name: str, words: tuple[str, ...], text: str) -> None:
    for value in filters.get(name, ()):
        if value not in words:
            reason = text.format(value=value, words=", ".join(words))
            raise InvalidArgument(f"invalid filter '{name}={value}': {reason}")


def _ports(filters: Filters, name: str) -> set[str]:
    found: set[str] = set()
    for value in filters.get(name, ()):
        if ":" in value:
            raise InvalidArgument(f"filter for '{name}' should not contain ':': {value}")
        numbers, _, protocol = value.partition("/")
        first, dash, last = numbers.partition("-")
        reason = _port_fault(first) or (_port_fault(last) if dash else "")
        if not reason and dash and int(last) < int(first):
            reason = f"invalid range specified for port: {numbers}"
        if reason:
            raise InvalidArgument(f"error while looking up for {name} {value}: {reason}")
        found.update(f"{number}/{protocol or 'tcp'}" for number in range(int(first), int(last or first) + 1))
    return found


def _port_fault(text: str) -> str:
    if not text.isascii() or not text.isdigit():
        return f'strconv.ParseUint: parsing "{text}": invalid syntax' if text else "empty string specified for ports"
    return "" if int(text) <= 65535 else f'strconv.ParseUint: parsing "{text}": value out of range'


class ContainerListing(Observer):
    """Answers lists; keeps each row's JSON but for its status, which changes with time."""

    def __init__(self, image_name: Callable[[ContainerRecord], str]) -> None:
        """``image_name`` says what a container's image is called in the list."""
        self._image_name = image_name
        self._rows: dict[str, tuple[bytes, bytes]] = {}

    def container_changed(self, container: Container) -> None:
        """Forget the row of a container that has changed."""
        self._rows.pop(container.id, None)

    def forget_all(self) -> None:
        """Forget all rows: what images are called has changed."""
        self._rows.clear()

    def select(self, query: ListQuery, records: Iterable[ContainerRecord]) -> list[ContainerRecord]:
        """Return the containers that a query lists, newest first."""
        ordered = sorted(records, key=lambda record: record.created_ns, reverse=True)
        if query.before is not None:
            ordered = [record for record in ordered if record.created_ns < query.before.created_ns]
        if query.since is not None:
            ordered = [record for record in ordered if record.created_ns > query.since.created_ns]
        found = [record for record in ordered if query.matches(record)]
        return found[: query.limit] if query.limit > 0 else found

    def encode(
        self,
        records: Iterable[ContainerRecord],
        sizes: dict[str, tuple[int, int]] | None = None,
        *,
        annotations: bool = True,
    ) -> bytes:
        """Return the JSON of a list; ``sizes`` by ID are (written bytes, bytes with the image).

        API versions before 1.46 know no ``annotations``.
        """
        now = time.time_ns()
        records = list(records)
        hides = not annotations and any(record.host_config.annotations for record in records)
        if sizes is not None or hides:
            views = [
                summary_view(record, self._image_name(record), now, (sizes or {}).get(record.id)) for record in records
            ]
            for view in views:
                if hides:
                    view.host_config.annotations = msgspec.UNSET
            return msgspec.json.encode(views) + b"\n"
        parts: list[bytes] = []
        for record in records:
            row = self._rows.get(record.id) or self._make_row(record)
            parts.append(row[0] + status_text(record, now).encode() + row[1])
        return b"[" + b",".join(parts) + b"]\n"

    def _make_row(self, record: ContainerRecord) -> tuple[bytes, bytes]:
        view = summary_view(record, self._image_name(record), 0)
        view.status = _MARK
        before, _, after = msgspec.json.encode(view).partition(b'"Status":"' + _MARK.encode())
        row = (before + b'"Status":"', after)
        self._rows[record.id] = row
        return row
