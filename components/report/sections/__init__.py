"""The sections of the page, one module each: a function from `Context` to `Section`."""

from __future__ import annotations

from components.report.sources import Sources


def sources_of(sources: Sources, *names: str) -> tuple[tuple[str, str], ...]:
    """Returns name and path of those sources that are there, for people."""
    found = ((name, getattr(sources, name)) for name in names)
    return tuple((name.replace("_", " "), str(path)) for name, path in found if path)


def percent(share: float, digits: int = 0) -> str:
    """Returns a share of 0 to 1 as a percentage."""
    return f"{share:.{digits}%}".replace("%", "\u00a0%")
