"""The search of the command palette."""

from __future__ import annotations

from desktop.state.matching import Command, best, score


def commands(*titles: str, about: str = "") -> list[Command]:
    return [Command(title, about, lambda: None) for title in titles]


def titles(typed: str, *among: str) -> list[str]:
    return [command.title for command in best(typed, commands(*among))]


def test_the_beginning_of_a_name_is_better_than_its_middle() -> None:
    assert titles("web", "cobweb", "web-2", "web") == ["web", "web-2", "cobweb"]


def test_the_beginnings_of_words_are_enough() -> None:
    assert titles("sw", "Stop web", "Answer") == ["Stop web", "Answer"]
    assert titles("nn", "New network", "Annoy") == ["New network", "Annoy"]


def test_letters_have_to_be_there_in_their_order() -> None:
    assert score("bw", "web") is None
    assert titles("xyz", "web") == []


def test_all_words_have_to_fit_somewhere() -> None:
    found = best("web volume", [*commands("web", about="container"), *commands("web-data", about="volume")])
    assert [command.title for command in found] == ["web-data"]


def test_nothing_typed_offers_everything_in_its_order() -> None:
    assert titles("", "b", "a") == ["b", "a"]
