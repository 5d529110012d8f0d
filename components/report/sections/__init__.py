"""The sections of the page, one module each, whose `blocks` are what the section shows."""

from __future__ import annotations


def percent(share: float, digits: int = 0) -> str:
    """Returns a share of 0 to 1 as a percentage."""
    return f"{share:.{digits}%}".replace("%", "\u00a0%")


def capital(text: str) -> str:
    """Returns a text with a capital first letter; the others stay as they are."""
    return text[:1].upper() + text[1:]
