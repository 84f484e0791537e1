"""Bodies of commit and of a container's changes (API 1.51)."""

from __future__ import annotations

from engine.model.base import Body


class FilesystemChange(Body):
    """One change; ``kind`` is 0 for what is modified, 1 for added, 2 for deleted."""

    path: str
    kind: int


FilesystemChanges = list[FilesystemChange]


class CommitResponse(Body):
    """Answer of ``POST /commit``: the new image's ID."""

    id: str = ""
