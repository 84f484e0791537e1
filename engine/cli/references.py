"""What the command line adds to image references: trying one, and the key of a registry's credentials."""

from __future__ import annotations

from engine.errors import InvalidArgument
from engine.wire.references import Reference, parse_reference

DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""Docker Hub's credentials are kept under an address of their own."""


def try_reference(text: str) -> Reference | None:
    """Return what a name means, None when it is none."""
    try:
        return parse_reference(text)
    except InvalidArgument:
        return None


def registry_key(reference: Reference) -> str:
    """Return the key under which the credentials of a reference's registry are kept."""
    return DOCKER_HUB_KEY if reference.domain == "docker.io" else reference.domain
