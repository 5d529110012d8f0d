"""Builds the HTML report of a run from the artifacts that exist."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

from components.report import page
from components.report.context import Context
from components.report.page import Note, Page, Section
from components.report.sections import evaluation, exploration, lineage, model, run, statistics
from components.report.sources import Sources
from storage.paths import write_text

_logger = logging.getLogger(__name__)

_SECTIONS: tuple[tuple[str, str, Callable[[Context], Section]], ...] = (
    ("run", "Run", run.build),
    ("statistics", "Statistics", statistics.build),
    ("exploration", "Exploration", exploration.build),
    ("model", "Model", model.build),
    ("evaluation", "Evaluation", evaluation.build),
    ("lineage", "Lineage", lineage.build),
)


@dataclasses.dataclass(frozen=True)
class Report:
    """An HTML report.

    Attributes:
      html: the page.
      broken: titles of the sections that failed; the log has the reasons.
    """

    html: str
    broken: tuple[str, ...]


def build_report(sources: Sources) -> Report:
    """Builds the page; it names what is missing in its place."""
    context = Context(sources)
    sections: list[Section] = []
    broken: list[str] = []
    for key, title, build in _SECTIONS:
        try:
            sections.append(build(context))
        except Exception as error:
            # A chart that fails must not hide the verdict.
            _logger.exception("The section %s of the report failed", title)
            sections.append(_broken(key, title, error))
            broken.append(title)
    html = page.render(
        Page(
            title="Recommender report",
            subtitle=_subtitle(sources),
            verdict=_verdict(context),
            sections=tuple(sections),
        )
    )
    return Report(html, tuple(broken))


def write_report(sources: Sources, path: Path) -> Report:
    """Builds the page and writes it, whole or not at all.

    Raises:
      PathError: something that is no ordinary file is in its place.
      OSError: it cannot be written.
    """
    report = build_report(sources)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, report.html)
    return report


def _verdict(context: Context) -> Note:
    try:
        return run.verdict(context)
    except Exception as error:
        _logger.exception("The verdict could not be read")
        return Note(f"The verdict could not be read ({type(error).__name__}: {error}).", "bad")


def _broken(key: str, title: str, error: Exception) -> Section:
    why = f"This part could not be made ({type(error).__name__}: {error}); see the log."
    return Section(key, title, "", (), (Note(why, "bad"),))


def _subtitle(sources: Sources) -> str:
    name = str(sources.dataset.get("name") or "")
    parts = [sources.kind or name]
    if sources.lineage is not None and sources.lineage.executions:
        started = min(execution.started for execution in sources.lineage.executions)
        parts.append(f"{started:%Y-%m-%d %H:%M} UTC")
    return ", ".join(part for part in parts if part) or "No run was found."
