"""What ran: data, cleanup, components, and the verdict in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from components import names
from components.report import charts
from components.report.context import Context
from components.report.page import Block, Chart, Facts, Note, Row, Table, Tiles
from components.report.sections import capital, percent
from schema import features as raw
from schema.scenarios import NEXT_VISIT, metric_name
from sources.cleaning_log import asked_for, describe_missing

# They take no time worth a bar.
_LOOK_UPS = (names.PREVIOUS_STATISTICS, names.LATEST_BLESSED_MODEL, names.IMPORT_SCHEMA_GEN)
_CLEANUP = {"dropped": "dropped", "values_lost": "value lost", "repaired": "repaired"}


def blocks(context: Context) -> Iterator[Block]:
    """Yields what the section shows."""
    notice, ratings = context.sources.dataset.get("notice"), context.ratings
    if notice:
        yield Note(str(notice), "warn")
    if ratings is not None and not ratings.complete:
        read = f"it counts the first {len(ratings.rows):,}. TFDV's statistics are over all."
        yield Note(f"There are more ratings than this page reads: {read}")
    yield _tiles(context)
    yield _facts(context)
    yield from _cleanup(context)
    yield from _components(context)


def verdict(context: Context) -> Note:
    """Returns the first thing to read about the run."""
    found = context.verdict
    if context.sources.error:
        stopped = "anomal" in context.sources.error or "schema" in context.sources.error
        what = "Stopped before training" if stopped else "Did not finish"
        return Note(f"{what}: {context.sources.error}", "bad")
    if found is None:
        return Note("No verdict: the run did not get as far as the Evaluator.", "warn")
    reasons = found.reasons(context.comparable)
    if not found.blessed:
        why = "; ".join(reasons)
        return Note(f"Not blessed, so it is not pushed to where it is served: {why}.", "bad")
    passed = len(found.thresholds)
    all_of = "both" if passed == 2 else f"all {passed}"
    each = f"{all_of} thresholds were met" if passed > 1 else "its threshold was met"
    more = "".join(f" {capital(reason)}." for reason in reasons)
    return Note(f"Blessed, so it may be pushed to where it is served: {each}.{more}", "good")


def _tiles(context: Context) -> Note | Tiles:
    rows: Mapping[str, int] = context.wrangling.get("rows", {})
    words, where = context.words, "at the next visit, test split"
    if not rows:
        return Note(f"No {words.events}: the run did not get as far as reading them.", "warn")
    each = ", ".join(f"{count:,} {name}" for name, count in rows.items())
    tiles = [(f"{sum(rows.values()):,}", words.events, each)]
    if context.ratings is not None:
        users = f"{len(context.ratings.by_user):,}"
        tiles.append((users, "users", f"with at least one {words.event}"))
    if context.catalogue is not None:
        held = len(context.ratings.by_movie) if context.ratings else 0
        remark = f"{held:,} of them with {words.events}"
        tiles.append((f"{len(context.catalogue):,}", words.items, remark))
    metrics = context.verdict.metrics if context.verdict else {}
    rmse = metrics.get(metric_name(NEXT_VISIT, "rating_rmse"))
    recall = metrics.get(metric_name(NEXT_VISIT, "recall_at_10"))
    tiles += [] if rmse is None else [(f"{rmse:.3f}", "RMSE of ratings", where)]
    tiles += [] if recall is None else [(percent(recall, 1), "recall@10", where)]
    return Tiles(tuple(tiles))


def _facts(context: Context) -> Facts:
    dataset, lineage = context.sources.dataset, context.sources.lineage
    facts = [
        ("Data", context.label.title or str(dataset.get("name") or "")),
        ("Folder", str(dataset.get("data_dir") or "")),
        ("Licence", context.label.licence),
        ("Movie metadata", _metadata(context)),
        ("Data and split", context.sources.kind),
    ]
    if lineage is not None:
        facts.append(("Started", f"{lineage.started:%Y-%m-%d %H:%M} UTC"))
        seconds = sum(execution.seconds for execution in lineage.executions)
        facts.append(("Components took", f"{seconds:,.0f} s together"))
    return Facts(tuple(fact for fact in facts if fact[1]))


def _metadata(context: Context) -> str:
    """Returns what the movie metadata holds, in words; empty for data that has no use for it."""
    known: Mapping[str, Any] = context.wrangling.get("metadata") or {}
    if not {raw.DIRECTOR, raw.STAR} & set(context.sources.features.features):
        return ""
    if not known.get("files"):
        return "none, so directors and lead actors are unknown"
    return (
        f"{known['matched']:,} of {known['movies']:,} movies found, "
        f"{known.get('directors', 0):,} with a director, "
        f"{known.get('stars', 0):,} with a lead actor"
    )


def _cleanup(context: Context) -> Iterator[Block]:
    report = context.wrangling
    if not report:
        return
    files = report.get("files", {})
    metadata_files = (report.get("metadata") or {}).get("files") or {}
    rows = [
        {
            "File": name,
            "What": did,
            "Why": asked_for(reason),
            "Rows": count,
            "Share": count / file["rows"] if file["rows"] else None,
            "For example": _example(file, reason),
        }
        for name, file in {**files, **metadata_files}.items()
        for kind, did in _CLEANUP.items()
        for reason, count in file.get(kind, {}).items()
    ]
    missing = [
        describe_missing(name, column, count, file["rows"] - sum(file["dropped"].values()))
        for name, file in files.items()
        for column, count in file.get("missing", {}).items()
    ]
    if missing:
        yield Note(f"Some values are missing: {'; '.join(missing)}. They count as unknown.", "info")
    read = ", ".join(f"{file['rows']:,} of {name}" for name, file in files.items() if file["rows"])
    rows_read = f"; rows read: {read}" if read else ""
    if rows:
        caption = f"What the cleanup dropped, lost and repaired, and why{rows_read}"
        yield Table("cleanup", caption, rows, {"Share": ".2%"})
    else:
        yield Note(f"The cleanup dropped and repaired nothing{rows_read}.", "good")


def _example(file: Mapping[str, Any], reason: str) -> str | None:
    first = (file.get("examples", {}).get(reason) or [None])[0]
    if first is None:
        return None
    row = f"row {first['row']}: " if first.get("row") is not None else ""
    return f"{row}{first['found']} instead of {first['expected']}"


def _components(context: Context) -> Iterator[Block]:
    lineage = context.sources.lineage
    if lineage is None:
        yield Note("No metadata store: which components ran, and how long, is not known.", "warn")
        return
    rows: list[Row] = [
        {"Component": e.component, "Seconds": e.seconds, "State": e.state}
        for e in lineage.executions
        if e.finished and e.component not in _LOOK_UPS
    ]
    if rows:
        longest = max(rows, key=lambda row: row["Seconds"])
        yield Chart(
            "run-times",
            "Seconds that each component took, on a logarithmic scale",
            f"{longest['Component']} takes longest: {longest['Seconds']:.1f} seconds. A cached "
            "component has the time of the earlier execution whose results were used.",
            charts.bars(rows, "Component", "Seconds", log=True),
            wide=True,
        )
    failed = [e.component for e in lineage.executions if e.state == "failed"]
    if failed:
        yield Note(f"{', '.join(failed)} failed; what comes after it did not run.", "bad")
