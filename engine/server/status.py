"""The one place that makes HTTP statuses of the kinds of failure."""

from __future__ import annotations

from engine.errors import (
    Conflict,
    Forbidden,
    Internal,
    InvalidArgument,
    NotFound,
    NotModified,
    NotSupported,
    PortsideError,
    Unauthorized,
    Unavailable,
)

_STATUSES: tuple[tuple[type[PortsideError], int], ...] = (
    (NotModified, 304),
    (InvalidArgument, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Internal, 500),
    (NotSupported, 501),
    (Unavailable, 503),
)


def status_of(error: PortsideError) -> int:
    """Return the status of a failure; 500 for a kind that has none."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return 500
