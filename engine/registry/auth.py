"""Proving who one is to a registry: basic authentication and bearer tokens (distribution's token specification)."""

from __future__ import annotations

import base64
import re
import time
from dataclasses import dataclass

from engine.model.system import AuthConfig

_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


@dataclass(frozen=True)
class Challenge:
    """What a registry asks for in ``WWW-Authenticate``; ``scheme`` in small letters."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(values: list[str]) -> list[Challenge]:
    """Return the challenges of an answer's headers."""
    found = []
    for value in values:
        scheme, _, rest = value.strip().partition(" ")
        parameters = {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(rest)}
        found.append(Challenge(scheme.lower(), parameters))
    return found


def user_and_password(credentials: AuthConfig | None) -> tuple[str, str] | None:
    """Return user and password, from their own fields or from ``auth``; None when there are none."""
    if credentials is None:
        return None
    if credentials.username:
        return credentials.username, credentials.password
    if credentials.auth:
        try:
            user, found, password = base64.b64decode(credentials.auth).decode().partition(":")
        except ValueError:
            return None
        if found:
            return user, password.rstrip("\0")
    return None


def basic(user: str, password: str) -> str:
    """Return the value of ``Authorization`` for basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass
class Token:
    """A bearer token and when it ends (seconds of the monotonic clock)."""

    value: str
    ends_s: float

    @property
    def is_fresh(self) -> bool:
        """Whether it can still be used for a while."""
        return time.monotonic() < self.ends_s - 5
