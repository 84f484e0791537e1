"""Events about containers, with Docker's attributes."""

from __future__ import annotations

from engine.events import EventSink
from engine.model.record import ContainerRecord


class ContainerEvents:
    """Publishes what happens to a container with its image, name and labels as attributes."""

    def __init__(self, sink: EventSink) -> None:
        """Publish to ``sink``."""
        self._sink = sink

    def publish(self, record: ContainerRecord, action: str, *, time_ns: int | None = None, **more: str) -> None:
        """Publish an event; ``more`` are attributes of this action (``exitCode``)."""
        attributes = dict(record.config.labels or {})
        attributes |= {"image": record.config.image, "name": record.name} | more
        self._sink.publish("container", action, record.id, attributes, time_ns=time_ns)

    def publish_prune(self, reclaimed_bytes: int) -> None:
        """Publish that stopped containers were removed."""
        self._sink.publish("container", "prune", "", {"reclaimed": str(reclaimed_bytes)})
