"""What became of builds: kept for people who ask later, a bounded number of them.

Values of arguments are not kept, and secrets never come here.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec
from msgspec import field

from engine.build.build import StepRecord
from engine.build.options import BuildOptions
from engine.errors import NotFound
from engine.store.database import Database
from engine.wire.times import format_ns

MAX_RECORDS = 200


class BuildRecord(msgspec.Struct, kw_only=True):
    """One build. ``status`` is completed, error or canceled; times are nanoseconds since 1970."""

    id: str
    started_ns: int
    ended_ns: int = 0
    status: str = ""
    error: str = ""
    image_id: str = ""
    dockerfile: str = ""
    tags: list[str] = field(default_factory=list)
    target: str = ""
    platform: str = ""
    arguments: list[str] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    log: str = ""


def begin_record(options: BuildOptions) -> BuildRecord:
    """Return the record of a build that begins."""
    return BuildRecord(
        id=options.id or secrets.token_hex(12),
        started_ns=time.time_ns(),
        dockerfile=options.dockerfile,
        tags=[reference.familiar for reference in options.tags],
        target=options.target,
        platform=options.platform,
        arguments=sorted(options.arguments),
    )


def end_record(record: BuildRecord, steps: list[StepRecord], log: str) -> BuildRecord:
    """Return the record of a build that has ended."""
    record.ended_ns = time.time_ns()
    record.steps = sorted(steps, key=lambda step: step.number)
    record.log = log
    return record


def describe(record: BuildRecord, *, is_short: bool = False) -> dict[str, Any]:
    """Return a record as the API shows it."""
    shown: dict[str, Any] = {
        "Id": record.id,
        "Status": record.status,
        "Error": record.error,
        "ImageId": record.image_id,
        "Dockerfile": record.dockerfile,
        "Tags": record.tags,
        "Target": record.target,
        "Platform": record.platform,
        "BuildArgs": record.arguments,
        "Started": format_ns(record.started_ns),
        "Completed": format_ns(record.ended_ns),
        "Steps": len(record.steps),
        "CachedSteps": sum(step.cached for step in record.steps),
    }
    if not is_short:
        shown["Steps"] = [
            {
                "Number": step.number,
                "Text": step.text,
                "Line": step.line,
                "Cached": step.cached,
                "Started": format_ns(step.started_ns),
                "Completed": format_ns(step.ended_ns),
                "ImageId": step.image_id,
                "Error": step.error,
                "Why": step.why,
            }
            for step in record.steps
        ]
        shown["Log"] = record.log
    return shown


class BuildRecords:
    """The records of an engine; read from the store when somebody asks."""

    def __init__(self, database: Database) -> None:
        """Read nothing yet."""
        self._database = database

    def add(self, record: BuildRecord) -> None:
        """Keep a record, with the next commit; the oldest go when there are too many."""
        self._database.write_soon(
            ("INSERT OR REPLACE INTO builds VALUES (?, ?)", (record.id, msgspec.json.encode(record))),
            (
                "DELETE FROM builds WHERE id IN (SELECT id FROM builds "
                "ORDER BY json_extract(CAST(record AS TEXT), '$.started_ns') DESC LIMIT -1 OFFSET ?)",
                (MAX_RECORDS,),
            ),
        )

    def all(self) -> list[BuildRecord]:
        """Return all records, newest first."""
        rows = self._database.read("SELECT record FROM builds")
        records = [msgspec.json.decode(row[0], type=BuildRecord) for row in rows]
        return sorted(records, key=lambda record: record.started_ns, reverse=True)

    def get(self, identifier: str) -> BuildRecord:
        """Return a record by its ID or an unambiguous beginning of it; raises NotFound."""
        found = [record for record in self.all() if record.id.startswith(identifier)]
        exact = [record for record in found if record.id == identifier]
        if len(exact or found) != 1:
            raise NotFound(f"No such build: {identifier}")
        return (exact or found)[0]

    async def delete(self, identifier: str) -> None:
        """Forget a record; raises NotFound."""
        record = self.get(identifier)
        await self._database.execute(("DELETE FROM builds WHERE id = ?", (record.id,)))
