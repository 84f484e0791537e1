"""``search``: images that a registry, Docker Hub unless another is named, finds for a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from engine.cli.command import Command
from engine.cli.filters import parse_filters
from engine.cli.flags import Flag, Parsed
from engine.cli.references import DOCKER_HUB_KEY
from engine.cli.table import ellipsis, render_rows
from engine.cli.template_run import Row
from engine.client.images import SearchResult

if TYPE_CHECKING:
    from engine.cli.session import Session

DEFAULT_TABLE = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"
TITLES = {"Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL"}
DESCRIPTION_WIDTH = 45


class SearchRow(Row):
    """One line of ``search``."""

    type_name = "*registry.searchContext"

    def __init__(self, result: SearchResult, *, is_short: bool, is_json: bool) -> None:
        """``is_short`` cuts the description; ``is_json`` says true and false in words."""
        self._result = result
        self._is_short = is_short
        self._is_json = is_json

    def description(self) -> str:
        """The description in one line."""
        text = self._result.description.replace("\n", " ").replace("\r", " ")
        return ellipsis(text, DESCRIPTION_WIDTH) if self._is_short else text

    def official(self) -> str:
        """Whether it is an official image."""
        if self._is_json:
            return "true" if self._result.is_official else "false"
        return "[OK]" if self._result.is_official else ""

    fields: ClassVar = {
        "Name": lambda row: row._result.name,
        "Description": description,
        "StarCount": lambda row: str(row._result.star_count),
        "IsOfficial": official,
    }


def _registry_key(term: str) -> str:
    """Return the key of the credentials for the registry that a term names."""
    first, slash, _ = term.partition("/")
    if not slash or (not any(char in first for char in ".:") and first != "localhost"):
        return DOCKER_HUB_KEY
    return DOCKER_HUB_KEY if first in ("docker.io", "index.docker.io") else first


async def run_search(session: Session, parsed: Parsed) -> int:
    """Search a registry."""
    filters = parse_filters(parsed.items("filter"))
    if "is-automated" in filters:
        session.err(
            'WARNING: the "is-automated" filter is deprecated, and searching for "is-automated=true" will not yield '
            "any results in future."
        )
    term, source = parsed.args[0], parsed.text("format")
    found = await session.client.images.search(
        term,
        limit=parsed.number("limit") or None,
        filters=filters,
        credentials=session.config.credentials(_registry_key(term)),
    )
    is_short, is_json = not parsed.on("no-trunc"), source == "json" or "json ." in source
    rows = [SearchRow(result, is_short=is_short, is_json=is_json) for result in found]
    session.console.out(render_rows(source, DEFAULT_TABLE, TITLES, rows))
    return 0


COMMANDS = {
    "search": Command(
        "[OPTIONS] TERM",
        "Search Docker Hub or another registry for images",
        run_search,
        (
            Flag("filter", "f", "filter", "Which to show (is-official=true, stars=3)"),
            Flag("format", kind="string", usage="'table', 'table TEMPLATE', 'json' or a Go template"),
            Flag("limit", kind="int", usage="How many at most"),
            Flag("no-trunc", usage="Cut nothing off"),
        ),
        min_args=1,
        max_args=1,
    ),
}
