"""The tables, as Markdown for people and as JSON for the pipeline's report."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.compare import protocols
from benchmarks.compare.cache import Record
from benchmarks.compare.methods import (
    P1_TOP_10,
    P1_TOP_100,
    RMSE,
    ROW_NDCG,
    TOP_10,
    TOP_100,
    USER_NDCG,
    USER_RECALL,
    Method,
    Metrics,
)
from benchmarks.compare.protocols import P1, P2, P3
from benchmarks.compare.runner import TEST, Runner
from benchmarks.compare.texts import (
    AFTER,
    CAPSTONE,
    CAPSTONE_TITLE,
    CEILING_TITLE,
    CHOICES_TITLE,
    COSTS_TITLE,
    CROSSES_TITLE,
    FOOTER,
    INTRODUCTION,
    NOTES,
    SUMMARY_TITLE,
)

MARKDOWN, JSON = "RESULTS.md", "results.json"
IN_SESSION_PREFIX = "in_session_"
"""Before the names of figures that were asked with the events of the session."""
CROSS = "cross: "
"""Before the names of two features: how strongly the cross layer couples them."""
TRAIN_SECONDS, TRAIN_CPU_SECONDS = "train_seconds", "train_cpu_seconds"
RAW_RMSE = "raw_rmse"
OURS = "ours"

Cell = str | float | None
_CROSSES_SHOWN = 10
_IDS = "user id × movie id"
_LISTS = {
    "P2 top-10": TOP_10,
    "P2 top-100": TOP_100,
    "NDCG@10 rows": ROW_NDCG,
    "NDCG@10 users": USER_NDCG,
    "recall@10 users": USER_RECALL,
}
_P1 = {"P1 top-10": P1_TOP_10, "P1 top-100": P1_TOP_100}


@dataclasses.dataclass(frozen=True)
class Table:
    """One table; a cell is text, a number, or None where there is no figure."""

    title: str
    protocol: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def write(folder: Path, runner: Runner, methods: Sequence[Method]) -> None:
    """Writes RESULTS.md and results.json from what has been measured.

    Args:
      folder: where to; made if it is not there.
      runner: knows the measurements.
      methods: those to be shown, in this order.
    """
    tables = make_tables(runner, methods)
    folder.mkdir(parents=True, exist_ok=True)
    value = {"tables": [dataclasses.asdict(table) for table in tables]}
    (folder / JSON).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (folder / MARKDOWN).write_text(_markdown(tables), "utf-8")


def make_tables(runner: Runner, methods: Sequence[Method]) -> list[Table]:
    """Returns all tables that have a row."""
    splits = runner.splits
    main, other = splits.main.name, splits.other.name
    folds = [fold.name for fold in splits.folds]
    records = {
        method.name: [(step.split.name, record) for step, record in runner.results(method)]
        for method in methods
    }
    lists = {**_P1, **_LISTS}
    shown = [method for method in methods if not method.only_main]
    tables = [
        _summary(runner, shown, records),
        _retrieval(f"Retrieval, {main}", f"{P1}, {P2}", main, lists, shown, records),
        _retrieval(f"Retrieval, {other}", f"{P1}, {P2}", other, lists, shown, records),
        _retrieval(
            "Retrieval, each user's last 20 % by time",
            P3,
            splits.temporal.name,
            {name.replace(P2, P3): metric for name, metric in _LISTS.items()},
            shown,
            records,
        ),
        _ceilings(runner),
        _ratings(f"Stars, {main}, {other} and u1 to u5", [main, other], folds, shown, records),
        _capstone(main, methods, records),
        _crosses(main, records),
        _costs(main, methods, records),
        _choices(runner, methods),
    ]
    return [table for table in tables if table.rows]


_Records = Mapping[str, Sequence[tuple[str, Record]]]


def _found(records: _Records, method: str, split: str, metric: str) -> list[float]:
    """Returns a figure of a method on a split, once for each seed."""
    return [
        record.metrics[metric]
        for name, record in records.get(method, ())
        if name == split and metric in record.metrics
    ]


def _summary(runner: Runner, methods: Sequence[Method], records: _Records) -> Table:
    """Returns ours beside the strongest peer, figure by figure."""
    splits = runner.splits
    main, other, temporal = splits.main.name, splits.other.name, splits.temporal.name
    asked = [
        (f"{P1} top-10, {main}", [main], P1_TOP_10),
        (f"{P1} top-100, {main}", [main], P1_TOP_100),
        *(
            (f"{protocol} {name}, {split}", [split], metric)
            for protocol, split in ((P2, main), (P2, other), (P3, temporal))
            for name, metric in (
                ("top-10", TOP_10),
                ("top-100", TOP_100),
                ("NDCG@10 users", USER_NDCG),
            )
        ),
        (f"RMSE, {main}", [main], RMSE),
        (f"RMSE, {other}", [other], RMSE),
        ("RMSE, mean of the folds", [fold.name for fold in splits.folds], RMSE),
    ]
    peers = [method for method in methods if method.name != OURS]
    rows: list[list[Cell]] = []
    for label, of, metric in asked:
        ours = [_average(records, OURS, of, name) for name in (metric, IN_SESSION_PREFIX + metric)]
        if any(value is not None for value in ours):
            rows.append([label, *map(_cell, ours), *_strongest(peers, records, of, metric)])
    columns = ["figure on test", "ours", "ours, in session", "strongest peer", "which"]
    return Table(SUMMARY_TITLE, f"{P1}, {P2}, {P3}, RMSE", columns, rows)


def _average(records: _Records, method: str, splits: Sequence[str], metric: str) -> float | None:
    """Returns the mean over splits of the mean over seeds; None if a split lacks the figure."""
    found = [_found(records, method, split, metric) for split in splits]
    return statistics.mean(map(statistics.mean, found)) if found and all(found) else None


def _strongest(
    peers: Iterable[Method], records: _Records, splits: Sequence[str], metric: str
) -> tuple[Cell, Cell]:
    values = {peer.title: _average(records, peer.name, splits, metric) for peer in peers}
    known = {title: value for title, value in values.items() if value is not None}
    if not known:
        return None, None
    best = (min if metric == RMSE else max)(known, key=lambda title: known[title])
    return _cell(known[best]), best


def _retrieval(
    title: str,
    protocol: str,
    split: str,
    columns: Mapping[str, str],
    methods: Iterable[Method],
    records: _Records,
) -> Table:
    rows: list[list[Cell]] = []
    for method in methods:
        if method.kind == "rating":
            continue
        found = [record.metrics for name, record in records[method.name] if name == split]
        rows += _rows(method, found, list(columns.values()))
    return Table(title, protocol, ["method", *columns], rows)


def _rows(method: Method, found: Sequence[Metrics], metrics: Sequence[str]) -> list[list[Cell]]:
    """Returns a method's rows: one, or for ours those of what can be asked of it."""
    if not found:
        return []
    rows = _mean_and_spread(method.title, found, metrics)
    if any(IN_SESSION_PREFIX + metric in found[0] for metric in metrics):
        in_session = [IN_SESSION_PREFIX + metric for metric in metrics]
        rows += _mean_and_spread(f"{method.title}, in session", found, in_session)
    return rows


def _mean_and_spread(
    title: str, found: Sequence[Metrics], metrics: Sequence[str]
) -> list[list[Cell]]:
    if len(found) == 1:
        return [[title, *(_cell(found[0].get(metric)) for metric in metrics)]]
    values = [[each[metric] for each in found if metric in each] for metric in metrics]
    means = [_cell(statistics.mean(column)) if column else None for column in values]
    spreads = [_cell(statistics.stdev(column)) if len(column) > 1 else None for column in values]
    return [
        [f"{title} (mean of {len(found)} seeds)", *means],
        [f"{title} (sd over seeds)", *spreads],
    ]


def _cell(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _ceilings(runner: Runner) -> Table:
    splits = runner.splits
    rows = [
        [split.name, _cell(protocols.user_only_ceiling(runner.data.users[split.test]))]
        for split in (splits.main, splits.other, splits.temporal)
    ]
    return Table(
        CEILING_TITLE,
        f"{P1}, {P2}, {P3}",
        ["split", "highest top-10"],
        rows,
    )


def _ratings(
    title: str,
    shuffles: Sequence[str],
    folds: Sequence[str],
    methods: Iterable[Method],
    records: _Records,
) -> Table:
    rows: list[list[Cell]] = []
    for method in methods:
        if method.kind == "retrieval":
            continue
        by_split: dict[str, list[Metrics]] = {}
        for name, record in records[method.name]:
            by_split.setdefault(name, []).append(record.metrics)
        for label, metric in (
            (method.title, RMSE),
            (f"{method.title}, in session", IN_SESSION_PREFIX + RMSE),
        ):
            rows += _rating_rows(label, metric, [*shuffles, *folds], len(folds), by_split)
    columns = ["method", *shuffles, *folds, f"mean of {folds[0]} to {folds[-1]}"]
    return Table(title, "RMSE", columns, rows)


def _rating_rows(
    label: str,
    metric: str,
    splits: Sequence[str],
    folds: int,
    by_split: Mapping[str, Sequence[Metrics]],
) -> list[list[Cell]]:
    found = [[each[metric] for each in by_split.get(name, ()) if metric in each] for name in splits]
    if not any(found):
        return []
    means = [statistics.mean(values) if values else None for values in found]
    of_folds = [value for value in means[-folds:] if value is not None]
    average = statistics.mean(of_folds) if len(of_folds) == folds else None
    seeds = max(map(len, found))
    name = label if seeds == 1 else f"{label} (mean of {seeds} seeds)"
    rows: list[list[Cell]] = [[name, *(_cell(value) for value in [*means, average])]]
    if seeds > 1:
        spread = [_cell(statistics.stdev(values)) if len(values) > 1 else None for values in found]
        rows.append([f"{label} (sd over seeds)", *spread, None])
    return rows


def _capstone(split: str, methods: Iterable[Method], records: _Records) -> Table:
    metrics = (P1_TOP_10, P1_TOP_100, TOP_10, TOP_100, RMSE, RAW_RMSE)
    rows: list[list[Cell]] = []
    for method in methods:
        found = [record.metrics for name, record in records[method.name] if name == split]
        if method.name in CAPSTONE and found:
            title, reported = CAPSTONE[method.name]
            for name, *measured in _mean_and_spread(title, found, metrics):
                rows.append([name, *(reported or (None, None, None)), *measured])
                reported = None
    columns = [
        "model",
        "capstone top-10",
        "capstone top-100",
        "capstone RMSE",
        "P1 top-10",
        "P1 top-100",
        "P2 top-10",
        "P2 top-100",
        "RMSE",
        "RMSE, not clipped",
    ]
    return Table(f"{CAPSTONE_TITLE}, {split}", f"{P1}, {P2}, RMSE", columns, rows)


def _crosses(split: str, records: _Records) -> Table:
    """Returns the pairs that the cross layer couples most, and that of the two ids."""
    seeds = [record.metrics for name, record in records.get(OURS, ()) if name == split]
    names = [name for name in (seeds[0] if seeds else ()) if name.startswith(CROSS)]
    values = {name.removeprefix(CROSS): [each[name] for each in seeds] for name in names}
    ordered = sorted(values, key=lambda pair: -statistics.mean(values[pair]))
    rows: list[list[Cell]] = [
        [
            pair,
            place,
            _cell(statistics.mean(values[pair])),
            _cell(statistics.stdev(values[pair])) if len(seeds) > 1 else None,
        ]
        for place, pair in enumerate(ordered, start=1)
        if place <= _CROSSES_SHOWN or pair == _IDS
    ]
    columns = ["pair", f"place of {len(ordered)}", "strength, mean over seeds", "sd over seeds"]
    return Table(CROSSES_TITLE, f"training part of {split}", columns, rows)


def _costs(split: str, methods: Iterable[Method], records: _Records) -> Table:
    rows: list[list[Cell]] = []
    for method in methods:
        found = [record for name, record in records[method.name] if name == split]
        if not found:
            continue
        clock = statistics.median(record.seconds for record in found)
        processor = statistics.median(record.cpu_seconds for record in found)
        rows.append([method.title, round(clock), round(processor)])
        trained = [
            _found(records, method.name, split, metric)
            for metric in (TRAIN_SECONDS, TRAIN_CPU_SECONDS)
        ]
        if all(trained):
            seconds = [round(statistics.median(values)) for values in trained]
            rows.append([f"{method.title}, the training alone", *seconds])
    columns = ["method", "seconds by the clock", "processor seconds"]
    return Table(COSTS_TITLE, f"{TEST} of {split}", columns, rows)


def _choices(runner: Runner, methods: Iterable[Method]) -> Table:
    rows: list[list[Cell]] = []
    for method in methods:
        grid = runner.grid(method)
        if len(grid) == 1:
            continue
        for split in (runner.splits.main, runner.splits.temporal):
            chosen = runner.chosen(method, split)
            if chosen is not None:
                rows.append([method.title, split.name, _values(grid), _one(chosen)])
    return Table(CHOICES_TITLE, "validation", ["method", "validation of", "tried", "chosen"], rows)


def _values(grid: Sequence[Mapping[str, object]]) -> str:
    tried = {name: list(dict.fromkeys(params[name] for params in grid)) for name in grid[0]}
    listed = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in tried.items())
    return f"{listed} ({len(grid)} combinations)"


def _one(params: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in params.items())


def _markdown(tables: Sequence[Table]) -> str:
    parts = [INTRODUCTION]
    for table in tables:
        parts.append(f"## {table.title} [{table.protocol}]")
        for beginning, note in NOTES.items():
            if table.title.startswith(beginning):
                parts.append(note)
        parts.append(_markdown_table(table))
        parts += [text for start, text in AFTER.items() if table.title.startswith(start)]
    return "\n\n".join([*parts, FOOTER]) + "\n"


def _markdown_table(table: Table) -> str:
    columns = zip(*table.rows, strict=True)
    text = [any(isinstance(cell, str) for cell in column) for column in columns]
    lines = [table.columns, ["---" if of_text else "---:" for of_text in text]]
    lines += [[_text(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)
