"""The page as data (sections of charts, tables and sentences) and its rendering to HTML.

Nothing here is about recommenders. Everything that comes from data is text until the template
escapes it, and the page's content security policy lets a browser run the scripts of this package
only and load nothing at all.
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

Tone: TypeAlias = Literal["info", "good", "bad", "warn"]
Spec: TypeAlias = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Link:
    """Text that leads to another place of the page, whose anchor is `to`."""

    text: str
    to: str


Value: TypeAlias = str | int | float | bool | tuple[Link, ...] | None
"""What a cell holds; None and NaN are shown as a dash."""

Row: TypeAlias = Mapping[str, Any]
"""Values by column."""

_FOLDER = Path(__file__).resolve().parent
_LIBRARIES = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
_DASH = "–"
_LONG = 160
"""Characters from which on a text is folded away below its beginning."""

_FORMATS: Mapping[str, str] = {
    "Share|Recall": ".1%",
    "[0-9.]+ stars?$|rating [0-9.]+$": ".0%",
    "Id|Year": "d",
    "Ratings": ",.0f",
    "Rating|In test": "g",
    "RMSE|MAE": ".3f",
    "Seconds|Predicted$": ",.1f",
    "This model|Baseline": ".4f",
    "Strength": ".2g",
    "Difference": "+.4f",
}
"""Number formats by a pattern of the titles they are for, in the terms that Python and d3 share."""


def format_of(column: str, formats: Mapping[str, str]) -> str | None:
    """Returns the number format of a column: its own, else by how its title begins."""
    if column in formats:
        return formats[column]
    return next((form for title, form in _FORMATS.items() if re.match(title, column)), None)


def shown(value: Value, form: str | None = None) -> str:
    """Returns a cell's text. A whole number has no decimals, however it is stored."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        whole = float(value).is_integer() and (isinstance(value, int) or abs(value) >= 1000)
        if whole and not (form or "").endswith(("%", "g", "d")):
            return f"{value:,.0f}"
        value = int(value) if (form or "").endswith("d") else value
        return format(value, form or ",.2f").replace("%", "\u00a0%")
    return value if isinstance(value, str) else ", ".join(link.text for link in value)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose headings sort it, with a field to filter its rows if it is searchable.

    Attributes:
      key: unique on the page.
      caption: what it shows.
      rows: all with the same columns; columns without any value are not shown.
      formats: number formats of columns that do not follow from their titles.
      anchored: the column by whose text each row can be linked to, as "<key>-<text>".
    """

    key: str
    caption: str
    rows: Sequence[Row]
    formats: Mapping[str, str] = dataclasses.field(default_factory=dict)
    searchable: bool = False
    anchored: str = ""

    def __post_init__(self) -> None:
        # The titles of its columns, each list once.
        found = list(dict.fromkeys(map(tuple, self.rows)))
        if len(found) > 1:
            one, other, *_ = found
            raise ValueError(f"table {self.key}: expected the columns {one}, received {other}")

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """The titles of the columns, without those in which no row has anything."""
        nothing = ("", _DASH)
        held = {name for row in self.rows for name in row if shown(row[name]) not in nothing}
        return tuple(name for name in next(iter(self.rows), ()) if name in held)

    def numeric(self, column: str) -> bool:
        """Returns whether a column holds numbers, which are aligned to the right."""
        held = [row[column] for row in self.rows if row[column] is not None]
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in held)

    def cells(self) -> list[list[dict[str, Any]]]:
        """Returns text, alignment, links and the key to sort by of each cell."""
        looks = {c: (self.numeric(c), format_of(c, self.formats)) for c in self.columns}
        return [[_cell(row[name], *look) for name, look in looks.items()] for row in self.rows]


def _cell(value: Value, numeric: bool, form: str | None) -> dict[str, Any]:
    text = shown(value, form)
    return {
        "text": text,
        "number": numeric,
        "key": "" if value is None else value,
        "links": value if isinstance(value, tuple) else (),
        "start": f"{text[: _LONG // 2]}…" if len(text) > _LONG else "",
    }


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart with the words that go with it, and what it says in a sentence, its reading.

    Attributes:
      key: unique on the page.
      spec: the Vega-Lite specification, with the rows that it draws.
      rows: the numbers in the table below it; None for those that it draws, empty for no table.
      formats: number formats of columns that do not follow from their titles.
      wide: whether it takes the full width.
    """

    key: str
    title: str
    reading: str
    spec: Spec
    rows: Sequence[Row] | None = None
    formats: Mapping[str, str] = dataclasses.field(default_factory=dict)
    wide: bool = False

    @property
    def table(self) -> Table | None:
        """The numbers as a table; None without any."""
        rows = self.spec["data"]["values"] if self.rows is None else self.rows
        return Table(f"{self.key}-numbers", self.title, rows, self.formats) if rows else None


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
    """A heading, to which the section's head links, with an optional paragraph below it."""

    heading: str
    text: str = ""

    @property
    def key(self) -> str:
        """The heading in the form of an anchor."""
        return re.sub(r"[^a-z0-9]+", "-", self.heading.lower()).strip("-")


Block: TypeAlias = Chart | Table | Note | Facts | Tiles | Text


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page: a sentence on what it is about, and what it shows.

    `sources` are name and path of each artifact it was made from.
    """

    title: str
    lead: str
    sources: tuple[tuple[str, str], ...]
    blocks: tuple[Block, ...]

    @property
    def key(self) -> str:
        """Its anchor."""
        return self.title.lower()

    @property
    def headings(self) -> tuple[Text, ...]:
        """The headings inside it."""
        return tuple(block for block in self.blocks if isinstance(block, Text))


def render(title: str, subtitle: str, verdict: Note, sections: Sequence[Section]) -> str:
    """Returns the page as one HTML document that needs nothing else.

    Raises:
      ValueError: two charts, tables or headings have the same key.
    """
    libraries = "\n".join(_library(name) for name in _LIBRARIES)
    script = asset("page.js")
    return _template().render(
        title=title,
        subtitle=subtitle,
        verdict=verdict,
        sections=sections,
        kind=lambda block: type(block).__name__.lower(),
        csp=_policy(libraries, script),
        style=markupsafe.Markup(asset("page.css")),
        libraries=markupsafe.Markup(libraries),
        script=markupsafe.Markup(script),
        specs=_plain(_specs(sections)),
    )


def _specs(sections: Sequence[Section]) -> dict[str, Spec]:
    blocks = [block for section in sections for block in section.blocks]
    keys = [section.key for section in sections]
    keys += [block.key for block in blocks if isinstance(block, Chart | Table | Text)]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"expected each key once, received {', '.join(sorted(twice))} twice")
    return {
        block.key: {**block.spec, "description": f"{block.title}. {block.reading}"}
        for block in blocks
        if isinstance(block, Chart)
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
def asset(name: str) -> str:
    """Returns the text of a file in `assets`."""
    return (_FOLDER / "assets" / name).read_text(encoding="utf-8")


def _library(name: str) -> str:
    """Returns a library without the comment that sends developer tools for its source map."""
    return re.sub(r"^//# sourceMappingURL=.*$", "", asset(name), flags=re.MULTILINE)


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


def _plain(value: object) -> Any:  # noqa: ANN401 - any tree of plain data
    """Returns a tree in JSON's terms: NaN and infinity are null, numbers have six digits."""
    return json.loads(
        json.dumps(value),
        parse_constant=lambda _: None,
        parse_float=lambda text: float(f"{float(text):.6g}"),
    )
