"""The sections of the page, one module each, whose `blocks` are what the section shows."""

from __future__ import annotations

from collections.abc import Sequence

_NAMED = 4
"""Names that a sentence lists; of more it says how many."""


def percent(share: float, digits: int = 0) -> str:
    """Returns a share of 0 to 1 as a percentage."""
    return f"{share:.{digits}%}".replace("%", "\u00a0%")


def capital(text: str) -> str:
    """Returns a text with a capital first letter; the others stay as they are."""
    return text[:1].upper() + text[1:]


def listed(names: Sequence[str]) -> str:
    """Returns names with commas and "and"; the end of a long list as a number."""
    shown = list(names[:_NAMED])
    if len(names) > _NAMED:
        shown[-1:] = [f"{len(names) - _NAMED + 1} others"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
