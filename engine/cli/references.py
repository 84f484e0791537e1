"""Image references as a person types and reads them (distribution/reference).

Owns the short and the long form of names: ``busybox`` is ``docker.io/library/busybox:latest``. Pure functions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME = rf"(?:{_DOMAIN}/)?{_PATH_PART}(?:/{_PATH_PART})*"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"({_NAME})(?::({_TAG}))?(?:@({_DIGEST}))?", re.ASCII)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
NAME_MAX_LENGTH = 255


class ReferenceError_(ValueError):
    """A name that is no reference; the message is distribution's."""


@dataclass(frozen=True)
class Reference:
    """A normalised name: ``docker.io``, ``library/busybox``, tag and digest where they were given."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def familiar_name(self) -> str:
        """The name as people write it, without tag and digest."""
        if self.domain == "docker.io":
            return self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path
        return f"{self.domain}/{self.path}"

    @property
    def familiar(self) -> str:
        """The reference as people write it."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.familiar_name}{tag}{digest}"

    @property
    def is_name_only(self) -> bool:
        """Whether neither tag nor digest was given."""
        return not self.tag and not self.digest

    def with_default_tag(self) -> Reference:
        """Return the reference with ``latest`` when it has neither tag nor digest."""
        return Reference(self.domain, self.path, "latest") if self.is_name_only else self

    @property
    def registry(self) -> str:
        """The key of the registry's credentials: Docker Hub has an address of its own."""
        return DOCKER_HUB_KEY if self.domain in ("docker.io", "index.docker.io") else self.domain


DOCKER_HUB_KEY = "https://index.docker.io/v1/"


def parse_reference(text: str) -> Reference:
    """Return a name in its normal form; raises ReferenceError_ with distribution's text."""
    if _IDENTIFIER.fullmatch(text):
        raise ReferenceError_(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    head, slash, rest = text.partition("/")
    is_domain = bool(slash) and (any(mark in head for mark in ".:") or head == "localhost" or head.lower() != head)
    domain, remainder = (head, rest) if is_domain else ("docker.io", text)
    if domain == "index.docker.io":
        domain = "docker.io"
    if domain == "docker.io" and "/" not in remainder:
        remainder = f"library/{remainder}"
    name = remainder.partition("@")[0]
    last = name.rpartition("/")[2]
    repository = name[: len(name) - len(last)] + last.partition(":")[0]
    if repository.lower() != repository:
        raise ReferenceError_(f"invalid reference format: repository name ({repository}) must be lowercase")
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise ReferenceError_("invalid reference format")
    if len(repository) > NAME_MAX_LENGTH:
        raise ReferenceError_(f"repository name must not be more than {NAME_MAX_LENGTH} characters")
    return Reference(domain, match[1].removeprefix(f"{domain}/"), match[2] or "", match[3] or "")


def try_reference(text: str) -> Reference | None:
    """Return a name in its normal form, None when it is none."""
    try:
        return parse_reference(text)
    except ReferenceError_:
        return None
