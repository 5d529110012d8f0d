"""What ran: data, cleanup, components, and the verdict in words."""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Any

from components import names
from components.report import charts
from components.report.charts import Channel
from components.report.context import Context
from components.report.page import Block, Column, Facts, Figure, Note, Section, Table, Tiles
from components.report.sections import percent, sources_of
from components.report.store import Execution
from schema.scenarios import NEXT_VISIT, metric_name
from sources.cleaning_log import asked_for, describe_missing

_PACKAGES = ("tfx", "tensorflow", "tensorflow-data-validation", "tensorflow-model-analysis")
# They look things up in no time.
_LOOK_UPS = frozenset(
    {names.PREVIOUS_STATISTICS, names.LATEST_BLESSED_MODEL, names.IMPORT_SCHEMA_GEN}
)


def build(context: Context) -> Section:
    """Returns the section."""
    return Section(
        key="run",
        title="Run",
        lead="Where the data came from, what the cleanup did to it, and what ran.",
        sources=sources_of(context.sources, "ratings", "evaluation", "blessing"),
        blocks=(
            *_notes(context),
            *_tiles(context),
            *_facts(context),
            *_cleanup(context),
            *_components(context),
        ),
    )


def verdict(context: Context) -> Note:
    """Returns the first thing to know about the run."""
    found = context.verdict
    if context.sources.error:
        stopped = "anomal" in context.sources.error or "schema" in context.sources.error
        what = "Stopped before training" if stopped else "Did not finish"
        return Note(f"{what}: {context.sources.error}", "bad")
    if found is None:
        return Note("No verdict: the run did not get as far as the Evaluator.", "warn")
    if not found.blessed:
        return Note("Not blessed, so not pushed: " + "; ".join(found.reasons()) + ".", "bad")
    passed = len(found.thresholds)
    reasons = "".join(f" {_sentence(reason)}" for reason in found.reasons())
    each = f"all {passed} thresholds were met" if passed > 1 else "its threshold was met"
    return Note(f"Blessed: {each}.{reasons}", "good")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _notes(context: Context) -> Iterator[Block]:
    notice = context.sources.dataset.get("notice")
    if notice:
        yield Note(str(notice), "warn")
    if context.counts is not None and not context.counts.complete:
        yield Note(
            f"There are more ratings than this page reads: its counts are over the first "
            f"{context.counts.ratings:,}. TFDV's statistics are over all."
        )


def _tiles(context: Context) -> Iterator[Block]:
    rows: Mapping[str, int] = context.wrangling.get("rows", {})
    if not rows:
        yield Note("No ratings: the run did not get as far as reading them.", "warn")
        return
    each = ", ".join(f"{count:,} {name}" for name, count in rows.items())
    tiles = [(f"{sum(rows.values()):,}", "ratings", each)]
    if context.counts is not None:
        tiles.append((f"{len(context.counts.users):,}", "people", "who rated something"))
    if context.catalogue is not None:
        rated = len(context.counts.movie_ids) if context.counts else 0
        tiles.append((f"{len(context.catalogue):,}", "films", f"{rated:,} of them rated"))
    metrics = context.verdict.metrics if context.verdict else {}
    rmse = metrics.get(metric_name(NEXT_VISIT, "rating_rmse"))
    if rmse is not None:
        tiles.append((f"{rmse:.3f}", "RMSE in stars", "at the next visit, on test"))
    share = metrics.get(metric_name(NEXT_VISIT, "recall_at_10"))
    if share is not None:
        tiles.append((percent(share, 1), "in the top 10", "at the next visit, on test"))
    yield Tiles(tuple(tiles))


def _facts(context: Context) -> Iterator[Block]:
    dataset, lineage = context.sources.dataset, context.sources.lineage
    facts: list[tuple[str, str]] = []
    if dataset.get("name"):
        facts.append(("Data", str(dataset["name"])))
    if dataset.get("data_dir"):
        facts.append(("Folder", str(dataset["data_dir"])))
    facts.append(("Film metadata", _metadata(context)))
    if context.sources.kind:
        facts.append(("Kind", context.sources.kind))
    if lineage is not None:
        facts.append(("Started", _time(min(e.started for e in lineage.executions))))
        seconds = sum(execution.seconds for execution in lineage.executions)
        facts.append(("Components took", f"{seconds:,.0f} s together"))
    versions = (f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    facts.append(("Versions", ", ".join(versions)))
    yield Facts(tuple(facts))


def _metadata(context: Context) -> str:
    known: Mapping[str, Any] = context.wrangling.get("metadata") or {}
    if not known.get("files"):
        return "none, so directors and lead actors are unknown"
    return (
        f"{known['matched']:,} of {known['movies']:,} films found, "
        f"{known.get('directors', 0):,} with a director, "
        f"{known.get('stars', 0):,} with a lead actor"
    )


def _time(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


_CLEANUP = {"dropped": "dropped", "values_lost": "value lost", "repaired": "repaired"}


def _cleanup(context: Context) -> Iterator[Block]:
    report = context.wrangling
    if not report:
        return
    metadata_files = (report.get("metadata") or {}).get("files") or {}
    rows = [
        (
            name,
            did,
            asked_for(reason),
            count,
            count / file["rows"] if file["rows"] else None,
            _example(file, reason),
        )
        for name, file in {**report.get("files", {}), **metadata_files}.items()
        for kind, did in _CLEANUP.items()
        for reason, count in file.get(kind, {}).items()
    ]
    missing = [
        describe_missing(name, column, count, file["rows"] - sum(file["dropped"].values()))
        for name, file in report.get("files", {}).items()
        for column, count in file.get("missing", {}).items()
    ]
    if missing:
        yield Note(f"Some values are missing: {'; '.join(missing)}. They count as unknown.", "info")
    read = ", ".join(f"{f['rows']:,} of {name}" for name, f in report.get("files", {}).items())
    if not rows:
        yield Note(f"The cleanup dropped and repaired nothing. Rows read: {read}.", "good")
        return
    yield Table(
        "cleanup",
        f"What the cleanup dropped, lost and repaired, and why. Rows read: {read}",
        (
            Column("File"),
            Column("What"),
            Column("Why"),
            Column("Rows", "number"),
            Column("Share", "share"),
            Column("For example"),
        ),
        tuple(rows),
    )


def _example(file: Mapping[str, Any], reason: str) -> str:
    examples = file.get("examples", {}).get(reason) or [None]
    first = examples[0]
    if first is None:
        return ""
    row = f"row {first['row']}: " if first.get("row") is not None else ""
    return f"{row}{first['found']} instead of {first['expected']}"


def _components(context: Context) -> Iterator[Block]:
    lineage = context.sources.lineage
    if lineage is None:
        yield Note(
            "No metadata store: which components ran, and for how long, is not known.", "warn"
        )
        return
    done = [e for e in lineage.executions if e.state == "ran" and e.component not in _LOOK_UPS]
    table = Table(
        "component-times",
        "Components, with the times of the execution whose results this run uses",
        (Column("Component"), Column("State"), Column("Seconds", "number"), Column("Started")),
        tuple(
            (
                e.component,
                "cached" if e.cached else e.state,
                e.seconds if e.state != "not finished" else None,
                _time(e.started),
            )
            for e in lineage.executions
        ),
    )
    if done:
        yield _times(done, table)
    else:
        yield table
    failed = [e.component for e in lineage.executions if e.state == "failed"]
    if failed:
        yield Note(f"{', '.join(failed)} failed; what comes after it did not run.", "bad")


def _times(done: list[Execution], table: Table) -> Figure:
    longest = max(done, key=lambda execution: execution.seconds)
    whole = sum(execution.seconds for execution in done)
    rows = [{"component": e.component, "seconds": e.seconds} for e in done]
    return Figure(
        "run-times",
        "Seconds that each component took",
        f"{longest.component} takes longest: {longest.seconds:.1f} of {whole:.1f} seconds.",
        charts.bars(
            rows,
            Channel("component", "Component", "nominal", sort=[row["component"] for row in rows]),
            Channel("seconds", "seconds", format=",.1~f"),
        ),
        table,
        wide=True,
    )
