"""Titles with the article in front: "The Godfather (1972)" for "Godfather, The (1972)"."""

from __future__ import annotations

import functools
import re

from schema.articles import ARTICLES

_IS_ARTICLE = frozenset(ARTICLES)
# A whole title up to its first parenthesis, or the whole inside of a pair of them.
_NAME = re.compile(r"(?:(?<=\()|\A)[^()]+(?=[()]|\Z)")
_ALSO_KNOWN_AS = re.compile(r"a\.?k\.?a\.?:?\s+")


@functools.lru_cache(maxsize=100_000)
def display_title(title: str) -> str:
    """Returns a title with its articles in front.

    MovieLens puts articles last, to sort by: "Godfather, The (1972)", "Enfer, L' (1994)". The
    titles in parentheses are treated likewise and stay where they are. Articles are those of ten
    languages, with a capital letter. A title without a trailing article is returned as it is.

    Args:
      title: as the data has it.

    Returns:
      The title for display: the same characters but for a comma and blanks.
    """
    return _NAME.sub(lambda name: _article_first(name.group()), title)


def _article_first(name: str) -> str:
    parts = _split(name)
    if parts is None:
        return name
    rest, article = parts
    known_as = _ALSO_KNOWN_AS.match(rest)
    before = known_as.group() if known_as else ""
    between = "" if article.endswith(("'", "’")) else " "
    moved = f"{before}{article}{between}{rest[len(before) :]}"
    if _split(moved):
        # Two articles in a row: a second call would move the other one.
        return name
    start = len(name) - len(name.lstrip())
    end = len(name.rstrip())
    return f"{name[:start]}{moved}{name[end:]}"


def _split(name: str) -> tuple[str, str] | None:
    """Returns the text before a trailing article, and the article; None if there is none."""
    rest, _, last = name.strip().rpartition(",")
    rest, article = rest.rstrip(), last.lstrip()
    if not rest or article == last or article.casefold() not in _IS_ARTICLE:
        return None
    if not article[0].isupper():
        return None
    # "Me, Myself, I" lists three words; "Vitelloni, I" has an article.
    if article == "I" and "," in rest:
        return None
    return rest, article
