"""Movie titles in one normal form, so that two catalogues' spellings of one can meet."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from schema.articles import ARTICLES

MAX_TITLE_CHARS = 1000
"""Of a longer title only the beginning is compared: putting accents into order takes
quadratic time."""

_PLAIN = str.maketrans({"'": None, "’": None, "à": "a"})
# As titles have them here: without accents and apostrophes.
_ARTICLES = tuple(dict.fromkeys(article.translate(_PLAIN) for article in ARTICLES))
_TRAILING_ARTICLE = re.compile(rf"(.*\S)\s*,\s*({'|'.join(_ARTICLES)})'?\s*", re.DOTALL)
_LEADING_ARTICLE = re.compile(rf"(?:{'|'.join(_ARTICLES)}) (?=.)")
_LETTERS = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l"})
_FRACTIONS = re.compile(r"[¼½¾]")
_APOSTROPHES = re.compile(r"['’‘`´ʻʼ]")
_ELISION = re.compile(r"\b([ld])'(?=\w)")  # "L'Enfer" begins with an article as well
_AND = re.compile(r"[&+]")
_ABBREVIATION = re.compile(r"(?<=\b\w)[.*]")
_NO_WORD = re.compile(r"[\W_]+")
_BRACKETS = re.compile(r"\(([^()]*)\)")
_OWNED = re.compile(r"\w[^:]*?\w['’]s? (?=.)", re.DOTALL)
# Not within blanks: each would be tried as a beginning, in quadratic time.
_AKA = re.compile(r"(?<!\s)\s*a\.?\s?k\.?\s?a\.?\s+", re.IGNORECASE)
# Not "i": that is a word, and a part one is seldom numbered.
_ROMAN = {
    "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8",
    "ix": "9", "x": "10", "xi": "11", "xii": "12", "xiii": "13",
}  # fmt: skip


def normalise_title(title: str) -> str:
    """Returns a title's normal form: words of lower-case letters and digits, one space apart.

    "Shawshank Redemption, The" and "THE SHAWSHANK REDEMPTION!" give the same; so do
    accents and plain letters, "&" and "and", "II" and "2", "L.A." and "LA". Normalising
    twice changes nothing. A title of punctuation alone gives the empty string.
    """
    text = _FRACTIONS.sub(lambda found: " " + found[0], title)
    for _ in range(2):  # twice: Unicode's caseless matching
        text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(char for char in text if not unicodedata.combining(char))
    text = _APOSTROPHES.sub("'", text.translate(_LETTERS))
    if inverted := _TRAILING_ARTICLE.fullmatch(text):
        text = f"{inverted[2]} {inverted[1]}"
    text = _AND.sub(" and ", _ELISION.sub(r"\1 ", text)).replace("'", "")
    text = _NO_WORD.sub(" ", _ABBREVIATION.sub("", text)).strip()
    return " ".join(_ROMAN.get(word, word) for word in text.split())


def title_keys(title: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Returns the normal forms to look a title up by, in tiers from sure to daring.

    Args:
      title: without its year; other titles in brackets: "Hate (Haine, La)".

    Returns:
      Three tiers, none with repetition or empty keys: the title and those in brackets;
      the same without leading article or spaces; what stands before and after a colon,
      or after an owner ("Bram Stoker's Dracula"), as far as it is two words or more.
    """
    title = title[:MAX_TITLE_CHARS]
    plain = _BRACKETS.sub(" ", title)
    names = [plain, *(_AKA.sub("", other) for other in _BRACKETS.findall(title))]
    parts = [part for name in names for part in _parts(name)]
    sure = [normalise_title(name) for name in (*names, title)]
    daring = [normalise_title(part) for part in parts]
    return (
        _distinct(sure),
        _distinct(compact(key) for key in sure),
        _distinct(compact(key) for key in daring if " " in _without_article(key)),
    )


def compact(key: str) -> str:
    """Returns a normal form without its leading article, if something is left, or spaces."""
    return _without_article(key).replace(" ", "")


def _without_article(key: str) -> str:
    return _LEADING_ARTICLE.sub("", key, count=1) if _LEADING_ARTICLE.match(key) else key


def _distinct(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for key in keys if key))


def _parts(name: str) -> Iterator[str]:
    if ":" in name:
        yield from name.split(":", 1)
    if owned := _OWNED.match(name):
        yield name[owned.end() :]
