"""What people call a data set and its items: `dataset.json` beside a SavedModel."""

from __future__ import annotations

import dataclasses
import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LONGEST = 1_000


@dataclasses.dataclass(frozen=True)
class DatasetLabel:
    """The parts of a `DatasetSpec` that people read.

    Attributes:
      name: of the format, such as "ml-1m"; empty if not known.
      title: what people call the data set, such as "MovieLens-1M"; empty if not known.
      licence: under which terms it is published; empty if not known.
      citation: what to cite; empty if there is nothing.
      item_noun: what people call an item, in the singular.
    """

    name: str = ""
    title: str = ""
    licence: str = ""
    citation: str = ""
    item_noun: str = "movie"

    @classmethod
    def from_json(cls, value: object) -> DatasetLabel:
        """Returns the label in the JSON value of a `DatasetSpec`.

        A field that is missing, empty or no text has its default, so that a damaged file costs
        words only.
        """
        values: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(
            **{
                name: text[:_LONGEST]
                for name, text in values.items()
                if name in known and isinstance(text, str) and text.strip()
            }
        )


def plural(noun: str) -> str:
    """Returns the plural of a regular English noun; a word of another script stays as it is.

    >>> plural("story"), plural("match"), plural("epoch"), plural("фильм")
    ('stories', 'matches', 'epochs', 'фильм')
    """
    if noun[-1:].isalpha() and not unicodedata.name(noun[-1], "LATIN").startswith("LATIN"):
        return noun
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    # "och" is spoken as "ok" (epoch), "ooch" is not (brooch).
    return f"{noun}es" if re.search(r"(s|x|z|sh|[^o]ch|ooch)$", noun) else f"{noun}s"


def number_of(count: int, what: str) -> str:
    """Returns a count with its noun, such as "1 movie" or "2 movies"."""
    return f"{count:,} {what if count == 1 else plural(what)}"


def in_words_of(text: str, item_noun: str) -> str:
    """Returns a text on movies with the data's noun in place of "movie"; paths of URLs stay."""

    def noun(found: re.Match[str]) -> str:
        word = plural(item_noun) if found[3] else item_noun
        article = found[1] or ""
        if article and not found[3] and word[:1].lower() in "aeiou":
            article = f"{article.strip()}n "
        return article + (word[:1].upper() + word[1:] if found[2] == "M" else word)

    return re.sub(r"(?<!/)\b([Aa] )?\b([Mm])ovie(s?)\b", noun, text)


def read_label(path: Path) -> DatasetLabel:
    """Returns the label in a `dataset.json`; the defaults where it is missing or damaged."""
    try:
        return DatasetLabel.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return DatasetLabel()
