"""Credentials for registries in a request's headers, in every form that clients send."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from engine.model.system import AuthConfig


def decode_auth(header: str) -> AuthConfig | None:
    """Return the credentials of ``X-Registry-Auth``: JSON in base64, URL-safe or not, padded or not.

    None for none, ``null``, ``{}`` and what cannot be decoded, as moby does for the sake of old clients. Names of
    fields count in any case, as Go reads them.
    """
    return _credentials(_decode(header))


def decode_auth_map(header: str) -> dict[str, AuthConfig]:
    """Return the credentials of ``X-Registry-Config`` by registry; what cannot be decoded has none."""
    found = _decode(header)
    if not isinstance(found, dict):
        return {}
    read = {host: _credentials(value) for host, value in found.items()}
    return {host: credentials for host, credentials in read.items() if credentials is not None}


def _decode(header: str) -> Any:  # noqa: ANN401 - JSON
    text = header.strip().rstrip("=").replace("+", "-").replace("/", "_")
    if not text or not text.isascii():
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return None


def _credentials(value: Any) -> AuthConfig | None:  # noqa: ANN401 - JSON
    if not isinstance(value, dict):
        return None
    fields = {key.lower(): item for key, item in value.items() if isinstance(item, str) and item}
    try:
        found = msgspec.convert(fields, AuthConfig)
    except msgspec.ValidationError:
        return None
    return found if found != AuthConfig() else None
