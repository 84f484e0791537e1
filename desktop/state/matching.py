"""Which entries fit what is typed, the best first: the command palette's search. Without Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

_BOUNDARIES = " -_./:@"


@dataclass(frozen=True)
class Command:
    """One thing to do: what it is called, about what (a kind of object, a place), and doing it."""

    title: str
    about: str
    do: Callable[[], object]
    icon_name: str = ""


def score(typed: str, text: str) -> int | None:
    """Return how well a text fits, higher for better; None when the typed letters are not in it in their order.

    Letters that follow each other count more, and those that begin a word; a text that begins so counts most.
    """
    typed, lowered = typed.lower(), text.lower()
    if not typed:
        return 0
    if lowered.startswith(typed):
        return 1000 - len(text)
    found = lowered.find(typed)
    if found >= 0:
        return (800 if lowered[found - 1] in _BOUNDARIES else 10 * len(typed) + 10) - found - len(text)
    total, place, before = 0, 0, -2
    for letter in typed:
        if letter == " ":
            continue
        place = lowered.find(letter, place)
        if place < 0:
            return None
        total += 8 if place == before + 1 else 6 if place == 0 or lowered[place - 1] in _BOUNDARIES else 1
        before, place = place, place + 1
    return total * 4 - len(text)


def best(typed: str, commands: Iterable[Command], most: int = 50) -> list[Command]:
    """Return the commands that fit, the best first; all words have to fit title or about."""
    words = typed.split()
    rated: list[tuple[int, int, Command]] = []
    for number, command in enumerate(commands):
        total = 0
        for word in words:
            in_title, in_about = score(word, command.title), score(word, command.about)
            if in_title is None and in_about is None:
                break
            total += max(in_title if in_title is not None else -1000, (in_about or -500) - 400 if in_about else -1000)
        else:
            rated.append((-total, number, command))
    return [command for _, _, command in sorted(rated, key=lambda item: item[:2])[:most]]
