"""Builds the HTML report of a run from the artifacts that exist."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from components.report import page
from components.report.context import Context
from components.report.page import Block, Note, Page, Section
from components.report.sections import (
    evaluation,
    exploration,
    lineage,
    model,
    run,
    statistics,
)
from components.report.sources import Sources
from storage.paths import write_text

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Part:
    """What a section is made from; its anchor is its title in lower case.

    Attributes:
      title: its heading.
      lead: what it is about, in a sentence; `{context.…}` in it is filled in.
      sources: the fields of `Sources` that it is made from.
      blocks: yields what it shows.
    """

    title: str
    lead: str
    sources: tuple[str, ...]
    blocks: Callable[[Context], Iterable[Block]]

    def build(self, context: Context) -> Section:
        """Returns the section."""
        lead = self.lead.format(context=context)
        sources = _sources_of(context.sources, *self.sources)
        return Section(self.title.lower(), self.title, lead, sources, tuple(self.blocks(context)))


def _sources_of(sources: Sources, *names: str) -> tuple[tuple[str, str], ...]:
    """Returns name and path of those sources that are there, in words."""
    found = ((name, getattr(sources, name)) for name in names)
    return tuple((name.replace("_", " "), str(path)) for name, path in found if path)


PARTS: tuple[Part, ...] = (
    Part(
        "Run",
        "Where the data came from, what the cleanup changed in it, and what ran.",
        ("ratings", "evaluation", "blessing"),
        run.blocks,
    ),
    Part(
        "Statistics",
        "What TensorFlow Data Validation counted in each split, and how it compares with the "
        "schema and with other data. An anomaly is data that disagrees with the schema.",
        ("statistics", "previous_statistics", "schema", "inferred_schema", "findings"),
        statistics.blocks,
    ),
    Part(
        "Exploration",
        "The {context.words.events} before any model: by whom and of which {context.words.items} "
        "they are, and what the data says of both. All splits together, after the cleanup.",
        ("ratings", "movies"),
        exploration.blocks,
    ),
    Part(
        "Model",
        "How it was trained, which {context.words.items} it finds alike, and what it recommends "
        "to three users.",
        ("model", "model_run", "movies", "ratings"),
        model.blocks,
    ),
    Part(
        "Evaluation",
        "What TensorFlow Model Analysis measured on the test split, on which neither the model "
        "nor any choice was fitted.{context.kind_sentence}",
        ("evaluation", "blessing", "model"),
        evaluation.blocks,
    ),
    Part(
        "Lineage",
        "What this run's model was made from, as recorded in the ML Metadata store: every "
        "execution of a component and every artifact, with a hash of the code that ran.",
        (),
        lineage.blocks,
    ),
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
    for part in PARTS:
        try:
            sections.append(part.build(context))
        except Exception as error:
            # A chart that fails must not hide the verdict.
            _logger.exception("The section %s of the report failed", part.title)
            why = f"This part could not be made ({type(error).__name__}: {error}); see the log."
            note = Note(why, "bad")
            sections.append(Section(part.title.lower(), part.title, "", (), (note,)))
            broken.append(part.title)
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


def _subtitle(sources: Sources) -> str:
    name = str(sources.dataset.get("name") or "")
    parts = [sources.kind or name]
    if sources.lineage is not None and sources.lineage.executions:
        started = min(execution.started for execution in sources.lineage.executions)
        parts.append(f"{started:%Y-%m-%d %H:%M} UTC")
    return ", ".join(part for part in parts if part) or "No run was found."
