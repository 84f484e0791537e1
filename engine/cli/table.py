"""Columns of text and the formats of lists: ``table``, ``json`` and templates.

Owns what ``docker ps --format`` does with rows. Columns are Docker's: at least ten wide, three apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from engine.cli.failures import CommandError
from engine.cli.template_parse import TemplateError
from engine.cli.template_run import MISSING, Row, Template, Value

MIN_WIDTH = 10
PADDING = 3


def display_width(text: str) -> int:
    """Return how many columns a text takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    import unicodedata

    width = 0
    for letter in text:
        if unicodedata.combining(letter):
            continue
        width += 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1
    return width


def align(text: str, min_width: int = MIN_WIDTH, padding: int = PADDING) -> str:
    """Return lines of tab-separated cells in columns, as Go's tabwriter lays them out.

    A column is a run of neighbouring lines that have the cell; the last cell of a line belongs to none.
    """
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[dict[int, int]] = [{} for _ in lines]
    deepest = max(len(cells) for cells in lines) - 1
    for column in range(deepest):
        start = 0
        while start < len(lines):
            if len(lines[start]) - 1 <= column:
                start += 1
                continue
            end = start
            while end < len(lines) and len(lines[end]) - 1 > column:
                end += 1
            width = max(min_width, max(display_width(lines[index][column]) for index in range(start, end)) + padding)
            for index in range(start, end):
                widths[index][column] = width
            start = end
    aligned = []
    for cells, column_widths in zip(lines, widths, strict=True):
        padded = [cell + " " * (column_widths[index] - display_width(cell)) for index, cell in enumerate(cells[:-1])]
        aligned.append("".join(padded) + cells[-1])
    return "\n".join(aligned)


class _Headers(Row):
    """The row of titles; a label's title is its last part."""

    type_name = "formatter.SubHeaderContext"

    methods: ClassVar = {"Label": lambda _row, name: name.split(".")[-1].replace("-", " ").replace("_", " ")}

    def __init__(self, titles: Mapping[str, str]) -> None:
        self._titles = titles

    def field_function(self, name: str) -> Callable[[Any], Value] | None:
        return (lambda _row: self._titles[name]) if name in self._titles else lambda _row: MISSING


def _as_is(text: Value, *_: Value) -> Value:
    return text


HEADER_FUNCTIONS = dict.fromkeys(("json", "title", "lower", "upper", "truncate", "pad", "join", "split"), _as_is)


def render_rows(
    source: str,
    default_table: str,
    titles: Mapping[str, str],
    rows: Iterable[Row],
    *,
    quiet: bool = False,
    quiet_format: str = "{{.ID}}",
) -> str:
    """Return a list in a format: empty or ``table`` is ``default_table``, else ``table …``, ``json`` or a template.

    Raises CommandError with Go's text for a template that does not work.
    """
    if source in ("", "table"):
        source = quiet_format if quiet else f"table {default_table}"
    is_table = source.startswith("table")
    if is_table:
        source = source[len("table") :]
    elif source == "json":
        source = "{{json .}}"
    source = source.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
    template = parse_format(source)
    try:
        body = "".join(f"{template.render(row)}\n" for row in rows)
        if not is_table:
            return body
        head = template.with_functions(HEADER_FUNCTIONS).render(_Headers(titles))
    except TemplateError as error:
        raise CommandError(f"template parsing error: {error}") from error
    return align(f"{head}\n{body}")


def parse_format(source: str, name: str = "") -> Template:
    """Return a format's template; raises CommandError with Go's text."""
    try:
        return Template(source, name)
    except TemplateError as error:
        raise CommandError(f"template parsing error: {error}") from error


def check_format(source: str, row: Row) -> None:
    """Raise CommandError, as ``ps`` does before it asks the engine, when a format does not work on a row."""
    if not source:
        return
    text = "{{json .}}" if source == "json" else source
    try:
        template = Template(text)
    except TemplateError as error:
        raise CommandError(f"failed to parse template: {error}") from error
    try:
        template.render(row)
    except TemplateError as error:
        raise CommandError(f"failed to execute template: {error}") from error


def ellipsis(text: str, width: int) -> str:
    """Return a text cut to a display width, the last column an ellipsis."""
    if display_width(text) <= width:
        return text
    cut = ""
    for letter in text:
        if display_width(cut + letter) > width - 1:
            break
        cut += letter
    return f"{cut}…"


def short_id(identifier: str) -> str:
    """Return an ID's first twelve digits."""
    return identifier.removeprefix("sha256:")[:12]


def go_quote(text: str) -> str:
    """Return a text in double quotes as Go's ``strconv.Quote``."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f"}
    pieces = []
    for letter in text:
        if letter in escapes:
            pieces.append(escapes[letter])
        elif letter.isprintable():
            pieces.append(letter)
        elif ord(letter) < 0x80:
            pieces.append(f"\\x{ord(letter):02x}")
        else:
            pieces.append(f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}")
    return '"' + "".join(pieces) + '"'


def columns(titles: Sequence[str], rows: Iterable[Sequence[str]], min_width: int = MIN_WIDTH) -> str:
    """Return titles and rows in columns, with a line break at the end."""
    lines = ["\t".join(titles), *("\t".join(row) for row in rows)]
    return align("\n".join(lines), min_width) + "\n"
