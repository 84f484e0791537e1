"""Names of images: parsed and completed as Docker does (distribution/reference).

``busybox`` is ``docker.io/library/busybox`` in full; the familiar form takes that away again. Without I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from engine.errors import InvalidArgument

DEFAULT_DOMAIN = "docker.io"
_OFFICIAL = "library/"
_NAME_MAX = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"((?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)(?::({_TAG}))?(?:@({_DIGEST}))?", re.ASCII)
_ID = re.compile(r"[a-f0-9]{64}")
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}")
_TAG_ALONE = re.compile(_TAG, re.ASCII)


@dataclass(frozen=True)
class Reference:
    """A name with perhaps a tag and a digest; ``domain`` and ``path`` are complete."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The full name without tag and digest: ``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: ``busybox``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return short if "/" not in short else self.path

    @property
    def familiar(self) -> str:
        """The reference as people write it: ``busybox:latest``."""
        return self.familiar_name + self._suffix

    @property
    def full(self) -> str:
        """The complete reference: ``docker.io/library/busybox:latest``."""
        return self.name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def with_default_tag(self) -> Reference:
        """Return it with ``latest`` when it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag="latest")

    def with_tag(self, tag: str) -> Reference:
        """Return the name with another tag and no digest; raises InvalidArgument for a malformed one."""
        if not _TAG_ALONE.fullmatch(tag):
            raise InvalidArgument("invalid tag format")
        return replace(self, tag=tag, digest="")

    def with_digest(self, digest: str) -> Reference:
        """Return the name with a digest and no tag."""
        return replace(self, tag="", digest=digest)


def parse_reference(text: str) -> Reference:
    """Return what a name means.

    Raises InvalidArgument with distribution's texts: ``invalid reference format`` and its variants.
    """
    if _ID.fullmatch(text):
        raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, rest = _split_domain(text)
    remote = rest.partition(":")[0]
    if remote != remote.lower():
        raise InvalidArgument(f"invalid reference format: repository name ({remote}) must be lowercase")
    found = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if found is None:
        raise InvalidArgument("invalid reference format")
    path = found[1].removeprefix(f"{domain}/")
    if len(path) > _NAME_MAX:
        raise InvalidArgument(f"repository name must not be more than {_NAME_MAX} characters")
    digest = found[3] or ""
    if digest:
        _check_digest(digest)
    return Reference(domain, path, found[2] or "", digest)


def _check_digest(digest: str) -> None:
    algorithm, _, value = digest.partition(":")
    lengths = {"sha256": 64, "sha384": 96, "sha512": 128}
    if algorithm not in lengths:
        raise InvalidArgument("unsupported digest algorithm")
    if len(value) != lengths[algorithm] or not re.fullmatch("[a-f0-9]+", value):
        raise InvalidArgument(
            "invalid checksum digest length" if len(value) != lengths[algorithm] else "invalid reference format"
        )


def _split_domain(text: str) -> tuple[str, str]:
    """Return the registry and the rest, completed.

    Only a first part with a dot, a port or a capital, or ``localhost``, is a registry.
    """
    first, slash, rest = text.partition("/")
    if slash and (any(char in first for char in ".:") or first == "localhost" or first.lower() != first):
        domain, remote = first, rest
    else:
        domain, remote = DEFAULT_DOMAIN, text
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remote.partition("@")[0]:
        remote = _OFFICIAL + remote
    return domain, remote


def is_image_id(text: str) -> bool:
    """Whether a text is a full image ID, with or without its algorithm."""
    return bool(_ID.fullmatch(text) or _SHA256.fullmatch(text))


def familiar_name(text: str) -> str:
    """Return the familiar name of a reference without tag and digest; what is none stays as it is."""
    try:
        return parse_reference(text).familiar_name
    except InvalidArgument:
        return text
