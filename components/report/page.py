"""The page as data (sections of figures, tables and sentences) and its rendering to HTML.

Nothing here knows about recommenders. Everything that comes from data is text until the
template escapes it, and the page's content security policy lets a browser run the scripts
of this package only and load nothing at all.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jinja2
import markupsafe

from components.report import charts

Tone: TypeAlias = Literal["info", "good", "bad", "warn"]
Value: TypeAlias = str | int | float | bool | None
"""What a cell holds; None and NaN are shown as a dash."""

_FOLDER = Path(__file__).resolve().parent
_LIBRARIES = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
_DASH = "–"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
      title: its heading.
      kind: "text" is left-aligned, "number" and "share" right-aligned; a share of 0 to 1 is
        shown as a percentage.
      digits: decimals of a number that is not whole, or of a percentage.
      grouped: whether thousands are set apart; not for years and ids.
    """

    title: str
    kind: Literal["text", "number", "share"] = "text"
    digits: int = 2
    grouped: bool = True

    def show(self, value: Value) -> str:
        """Returns a cell's text."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return _DASH
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str):
            return value
        if self.kind == "share":
            return f"{value:.{self.digits}%}".replace("%", "\u00a0%")
        if isinstance(value, int):
            return f"{value:,}" if self.grouped else str(value)
        return f"{value:,.{self.digits}f}" if self.grouped else f"{value:.{self.digits}f}"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; one with a `key` can be sorted, and searched if it has many rows.

    Attributes:
      key: unique on the page.
      caption: what it shows.
      columns: its columns.
      rows: a value per column each.
      searchable: whether there is a field to filter its rows.
    """

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    searchable: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.key}: expected {len(self.columns)} cells, received {row}"
                )

    def cells(self) -> list[list[dict[str, Any]]]:
        """Returns each cell's text, alignment and key to sort by."""
        return [
            [
                {
                    "text": column.show(value),
                    "number": column.kind != "text",
                    "key": "" if value is None else value,
                }
                for column, value in zip(self.columns, row, strict=True)
            ]
            for row in self.rows
        ]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart with the words that go with it.

    Attributes:
      key: unique on the page.
      title: what one sees.
      reading: what it says, in a sentence.
      spec: the Vega-Lite specification.
      table: its numbers, as an alternative to looking; None where there are too many.
      wide: whether it takes the full width.
    """

    key: str
    title: str
    reading: str
    spec: charts.Spec
    table: Table | None = None
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Note:
    """A sentence that stands out, such as what is missing and why."""

    text: str
    tone: Tone = "info"


@dataclasses.dataclass(frozen=True)
class Facts:
    """Short facts: label and value."""

    items: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Tiles:
    """A few large numbers: value, label and a remark."""

    items: tuple[tuple[str, str, str], ...]


@dataclasses.dataclass(frozen=True)
class Text:
    """A heading with an optional paragraph below it."""

    heading: str
    text: str = ""


Block: TypeAlias = Figure | Table | Note | Facts | Tiles | Text


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
      key: unique on the page; the anchor.
      title: its heading.
      lead: what it is about, in a sentence.
      sources: name and path of each artifact it was made from.
      blocks: what it shows, in order.
    """

    key: str
    title: str
    lead: str
    sources: tuple[tuple[str, str], ...]
    blocks: tuple[Block, ...]


@dataclasses.dataclass(frozen=True)
class Page:
    """The whole report.

    Attributes:
      title: in the window's title.
      subtitle: below the headline.
      verdict: the first thing one reads.
      sections: in order.
    """

    title: str
    subtitle: str
    verdict: Note
    sections: tuple[Section, ...]


def render(page: Page) -> str:
    """Returns the page as one HTML document that needs nothing else.

    Raises:
      ValueError: two figures or tables have the same key.
    """
    specs = _specs(page)
    libraries = "\n".join(_library(name) for name in _LIBRARIES)
    script = _asset("page.js")
    return _template().render(
        page=page,
        kind=lambda block: type(block).__name__.lower(),
        csp=_policy(libraries, script),
        style=markupsafe.Markup(_asset("page.css")),
        libraries=markupsafe.Markup(libraries),
        script=markupsafe.Markup(script),
        specs=_as_json({"theme": charts.THEME, "maps": charts.outlines(specs), "specs": specs}),
    )


def _specs(page: Page) -> dict[str, charts.Spec]:
    keys = [
        block.key
        for section in page.sections
        for block in section.blocks
        if isinstance(block, Figure | Table)
    ]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"expected each key once, received {', '.join(sorted(twice))} twice")
    return {
        block.key: {**block.spec, "description": f"{block.title}. {block.reading}"}
        for section in page.sections
        for block in section.blocks
        if isinstance(block, Figure)
    }


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


@functools.cache
def _asset(name: str) -> str:
    return (_FOLDER / "assets" / name).read_text(encoding="utf-8")


def _library(name: str) -> str:
    """Returns a library without the comment that sends developer tools for its source map."""
    return re.sub(r"^//# sourceMappingURL=.*$", "", _asset(name), flags=re.MULTILINE)


def _policy(*scripts: str) -> str:
    """Returns the content security policy: these scripts by their hash, and no request."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _as_json(value: object) -> markupsafe.Markup:
    """Returns JSON that is safe between script tags: no character there can end the element."""
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return markupsafe.Markup(text)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any tree of plain data
    """Returns a tree of JSON's types; a number that is none becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
