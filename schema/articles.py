"""The articles that catalogues of films move to the end of a title: "Godfather, The (1972)"."""

from __future__ import annotations

ARTICLES: tuple[str, ...] = (
    "the", "a", "an",  # English
    "le", "la", "les", "l'", "l’", "un", "une", "des", "à",  # French; "à" is moved as well
    "il", "lo", "gli", "i", "uno", "una", "un'", "un’",  # Italian
    "el", "los", "las", "unos", "unas",  # Spanish
    "o", "os", "as", "um", "uma",  # Portuguese
    "der", "die", "das", "dem", "den", "ein", "eine",  # German
    "de", "het", "een",  # Dutch
    "det", "en", "ett",  # Danish, Norwegian and Swedish
    "az", "egy",  # Hungarian
)  # fmt: skip
"""In lower case, of ten languages; those that are elided end in an apostrophe."""
