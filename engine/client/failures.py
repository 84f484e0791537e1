"""What the wire calls a failure, as a kind of ``engine.errors``: the one map from status to kind.

The engine's message is kept word for word. That a failure came as an HTTP status, and which, is its
``__cause__`` (``ResponseFailed``): the command line words those as Docker does.
"""

from __future__ import annotations

import msgspec

from engine.errors import (
    Conflict,
    Forbidden,
    Internal,
    InvalidArgument,
    NotFound,
    NotSupported,
    PortsideError,
    Unauthorized,
    Unavailable,
)

KINDS: dict[int, type[PortsideError]] = {
    400: InvalidArgument,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: NotSupported,
    409: Conflict,
    501: NotSupported,
    503: Unavailable,
}


class ResponseFailed(Exception):
    """The engine answered with an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def is_response(error: PortsideError) -> bool:
    """Whether the engine itself answered with this error, as opposed to not being reached."""
    return isinstance(error.__cause__, ResponseFailed)


def response_error(status: int, body: bytes, what: str) -> PortsideError:
    """Return an error answer as its kind; ``what`` is method and path, for an answer without a message."""
    message = ""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = body.decode("utf-8", "replace").strip()
    else:
        if isinstance(decoded, dict):
            message = str(decoded.get("message") or decoded.get("cause") or "").strip()
    if not message:
        message = f"request returned status {status} for {what}"
    error = KINDS.get(status, Internal)(message)
    error.__cause__ = ResponseFailed(status)
    return error


def stream_error(message: str, code: int | None) -> PortsideError:
    """Return an error that came inside a stream of progress as its kind."""
    return KINDS.get(code or 0, Internal)(message)
