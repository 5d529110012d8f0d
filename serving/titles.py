"""Titles as people write them: "The Godfather (1972)" for MovieLens's "Godfather, The (1972)"."""

from __future__ import annotations

import functools
import re

_ARTICLES = (
    "the a an "  # English
    "le la les l' l’ un une des à "  # French, with the preposition that MovieLens moves as well
    "il lo gli i uno una un' un’ "  # Italian
    "el los las unos unas "  # Spanish
    "o os as um uma "  # Portuguese
    "der die das dem den ein eine "  # German
    "de het een "  # Dutch
    "det en ett "  # Danish, Norwegian and Swedish
    "az egy"  # Hungarian
)
_IS_ARTICLE = frozenset(_ARTICLES.split())
# A whole title up to its first parenthesis, or the whole inside of a pair of them.
_NAME = re.compile(r"(?:(?<=\()|\A)[^()]+(?=[()]|\Z)")
_PARTS = re.compile(
    r"(?P<before>\s*(?:a\.?k\.?a\.?:?\s+)?)(?P<rest>.*\S)\s*,\s+(?P<article>[^\s,]+)(?P<after>\s*)",
    re.DOTALL,
)


@functools.lru_cache(maxsize=100_000)
def display_title(title: str) -> str:
    """Returns a title with its articles in front, as people write it.

    MovieLens puts articles last, to sort by: "Godfather, The (1972)", "Enfer, L' (1994)". The
    titles in parentheses are treated likewise and stay where they are. Articles are those of ten
    languages, with a capital letter. A title without a trailing article is returned as it is.

    Args:
      title: as the data has it.

    Returns:
      The title for people: the same characters but for a comma and blanks.
    """
    return _NAME.sub(lambda name: _article_first(name.group()), title)


def _article_first(name: str) -> str:
    parts = _split(name)
    if parts is None:
        return name
    article = parts["article"]
    between = "" if article.endswith(("'", "’")) else " "
    moved = f"{parts['before']}{article}{between}{parts['rest']}{parts['after']}"
    # Two articles in a row are no title that we understand; a second call would move the other.
    return moved if _split(moved) is None else name


def _split(name: str) -> re.Match[str] | None:
    parts = _PARTS.fullmatch(name)
    if parts is None:
        return None
    article = parts["article"]
    if article.casefold() not in _IS_ARTICLE or not article[0].isupper():
        return None
    # "Me, Myself, I" lists three words; "Vitelloni, I" has an article.
    if article == "I" and "," in parts["rest"]:
        return None
    return parts
