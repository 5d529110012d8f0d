"""Builds the HTML report of a run from the artifacts that exist."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from components.report import page
from components.report.context import Context
from components.report.page import Block, Note, Section
from components.report.sections import evaluation, exploration, lineage, model, run, statistics
from components.report.sources import Sources
from storage.paths import write_text

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Part:
    """A section's title and lead, in which `{context.…}` is filled in, and what it is made from.

    `sources` are fields of `Sources`; `blocks` yields what the section shows.
    """

    title: str
    lead: str
    sources: tuple[str, ...]
    blocks: Callable[[Context], Iterable[Block]]

    def build(self, context: Context) -> Section:
        """Returns the section, which names the sources that are there."""
        found = ((name, getattr(context.sources, name)) for name in self.sources)
        sources = tuple((name.replace("_", " "), str(path)) for name, path in found if path)
        lead = self.lead.format(context=context)
        return Section(self.title, lead, sources, tuple(self.blocks(context)))


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
        "What TensorFlow Model Analysis measured on the test split, which served neither to fit "
        "the model nor to choose its settings.{context.kind_sentence}",
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


class Report(NamedTuple):
    """An HTML report, and the titles of the sections that failed; the log has the reasons."""

    html: str
    broken: tuple[str, ...]


def build_report(sources: Sources) -> Report:
    """Builds the page; it names what is missing in its place."""
    context = Context(sources)
    sections, broken = [], []
    for part in PARTS:
        try:
            sections.append(part.build(context))
        except Exception as error:
            # A chart that fails must not hide the verdict.
            sections.append(Section(part.title, "", (), (_failure("This part", error),)))
            broken.append(part.title)
    try:
        verdict = run.verdict(context)
    except Exception as error:
        verdict = _failure("The verdict", error)
    html = page.render("Recommender report", _subtitle(sources), verdict, sections)
    return Report(html, tuple(broken))


def _failure(what: str, error: Exception) -> Note:
    _logger.error("%s of the report failed", what, exc_info=error)
    return Note(f"{what} could not be made ({type(error).__name__}: {error}); see the log.", "bad")


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


def _subtitle(sources: Sources) -> str:
    lineage = sources.lineage
    started = f"{lineage.started:%Y-%m-%d %H:%M} UTC" if lineage and lineage.executions else ""
    parts = (sources.kind or str(sources.dataset.get("name") or ""), started)
    return ", ".join(part for part in parts if part) or "No run was found."
