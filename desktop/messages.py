"""The one place where a kind of failure becomes a sentence for a person. Without Qt."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import (
    Conflict,
    Forbidden,
    NotFound,
    NotSupported,
    PortsideError,
    Unauthorized,
    Unavailable,
)


@dataclass(frozen=True)
class Message:
    """What is told: a short title, the reason, and the way out ("" where there is none to tell)."""

    title: str
    reason: str
    way_out: str = ""

    @property
    def text(self) -> str:
        """All of it, for copying."""
        return "\n".join(part for part in (self.title, self.reason, self.way_out) if part)


_WAYS_OUT: tuple[tuple[type[PortsideError], str], ...] = (
    (Unauthorized, "Log in to the registry and try again."),
    (Forbidden, "Ask for the right to do this, then try again."),
    (NotFound, "It may have been removed meanwhile."),
    (Conflict, "Look at its present state, then try again."),
    (NotSupported, "This engine does not have that yet."),
    (Unavailable, "Try again in a moment."),
)


def sentence(reason: str) -> str:
    """Return a reason as a sentence: a capital first, a full stop last."""
    text = reason.strip()
    if not text:
        return "No reason was given."
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" else f"{text}."


def explain(action: str, error: BaseException) -> Message:
    """Return what is told when ``action`` ("start web") failed."""
    title = f"Could not {action}"
    if not isinstance(error, PortsideError):
        return Message(
            title, sentence(str(error) or type(error).__name__), "Please report this: it is a fault of ours."
        )
    way_out = sentence(error.hint) if error.hint else ""
    if not way_out:
        way_out = next((text for kind, text in _WAYS_OUT if isinstance(error, kind)), "")
    return Message(title, sentence(error.message), way_out)
