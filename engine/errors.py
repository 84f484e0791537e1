"""The kinds of failure that Portside knows.

Each kind means that a caller acts differently. This module imports nothing of ours; HTTP statuses
live in ``engine/server/status.py``, sentences for people in ``desktop/messages.py``.
"""

from __future__ import annotations


class PortsideError(Exception):
    """A failure with a message for the API and, apart from it, a way out for a person.

    ``message`` is what the Engine API sends: moby's text where moby has one. ``hint`` is the way out
    that our command line and window add; it never goes over the wire.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidArgument(PortsideError):
    """The request can never work as it was put (400)."""


class Unauthorized(PortsideError):
    """Credentials are missing or wrong (401)."""


class Forbidden(PortsideError):
    """The caller is known and may not (403)."""


class NotFound(PortsideError):
    """The object that was named does not exist (404)."""


class Conflict(PortsideError):
    """The object's present state or name does not allow it (409)."""


class NotModified(PortsideError):
    """Nothing had to be done: the object is in the wanted state already (304)."""


class NotSupported(PortsideError):
    """Portside, or this host, lacks what was asked for (501)."""


class Unavailable(PortsideError):
    """Something outside (registry, network, disk space) does not serve now; trying later may help (503)."""


class Internal(PortsideError):
    """A fault of ours or of the system beneath; the log has the details (500)."""
