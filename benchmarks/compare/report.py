"""Writes the tables, as Markdown (docs/results.md) and as JSON for the pipeline's report."""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare import movielens_1m, protocols
from benchmarks.compare.cache import Record
from benchmarks.compare.data import DATASETS, ML_1M, Data
from benchmarks.compare.differences import Difference, paired
from benchmarks.compare.methods import (
    RECALL_10,
    RECALL_100,
    RMSE,
    UNFILTERED_10,
    UNFILTERED_100,
    USER_NDCG,
    Method,
    Metrics,
    Sums,
    metrics_of,
)
from benchmarks.compare.protocols import BoolArray, Split
from benchmarks.compare.runner import SEQUENCE, Runner, Step
from benchmarks.compare.texts import (
    AFTER,
    CAPSTONE,
    CAPSTONE_TITLE,
    CHOICES_TITLE,
    COSTS_TITLE,
    CROSSES_TITLE,
    DATASET_NAMES,
    DATASET_NOTES,
    FOOTER,
    IN_SESSION_TITLE,
    INTRODUCTION,
    MISSING_TITLE,
    NEW_USERS_TITLE,
    NEXT_VISIT_TITLE,
    NOTES,
    RATINGS_TITLE,
    SUMMARY_TITLE,
    TESTS_TITLE,
)
from components.names import TEST
from schema.scenarios import IN_SESSION, NAMED_MOVIES, NEXT_VISIT, metric_name, new_user
from sources.names import ML_100K

MARKDOWN, JSON = "results.md", "results.json"
CROSS = "cross: "
"""Before the names of two features: how strongly the cross layer couples them."""
TRAIN_SECONDS, TRAIN_CPU_SECONDS = "train_seconds", "train_cpu_seconds"
RAW_RMSE = "raw_rmse"
OURS = "ours"

Cell = str | float | None
_CROSSES_SHOWN = 10
_IDS = "user id × movie id"
_LISTS = {
    "recall@10": "recall_at_10",
    "recall@100": "recall_at_100",
    "MRR": "mrr",
    "recall@10 of users": "user_recall_at_10",
    "NDCG@10 of users": "user_ndcg_at_10",
}
_IN_SESSION = {
    "recall@10": "recall_at_10",
    "recall@100": "recall_at_100",
    "MRR": "mrr",
    "NDCG@10 of rows": "row_ndcg_at_10",
    "RMSE": "rating_rmse",
    "MAE": "rating_mae",
}
_IN_SHORT = {"recall@10": RECALL_10, "recall@100": RECALL_100, "NDCG@10 of users": USER_NDCG}


@dataclasses.dataclass(frozen=True)
class Table:
    """One table; a cell is text, a number, or None where there is no figure.

    Attributes:
      title: what it shows.
      protocol: scenario and split, in words.
      columns: titles of the columns.
      rows: cells.
      dataset: what it was measured on.
    """

    title: str
    protocol: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    dataset: str = ML_100K


def write(folder: Path, runner: Runner, methods: Sequence[Method]) -> None:
    """Writes results.md and results.json from what has been measured.

    Tables of another data set that are in the folder stay.

    Args:
      folder: where to; made if it is not there.
      runner: has the measurements.
      methods: those to be shown, in this order.
    """
    tables = [*make_tables(runner, methods), *_kept(folder / JSON, runner.data.name)]
    tables.sort(key=lambda table: list[str](DATASETS).index(table.dataset))
    folder.mkdir(parents=True, exist_ok=True)
    value = {"tables": [dataclasses.asdict(table) for table in tables]}
    (folder / JSON).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (folder / MARKDOWN).write_text(_markdown(tables), "utf-8")


def _kept(file: Path, measured: str) -> list[Table]:
    """Returns the tables of other data sets that were written before."""
    if not file.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))["tables"]
    return [
        Table(**table)
        for table in found
        if table.get("dataset") in DATASETS and table["dataset"] != measured
    ]


def make_tables(runner: Runner, methods: Sequence[Method]) -> list[Table]:
    """Returns all tables that have a row."""
    splits = runner.splits
    main = splits.main.name
    records = {
        method.name: [(step.split.name, record) for step, record in runner.results(method)]
        for method in methods
    }
    shown = [method for method in methods if not method.only_main and method.name != SEQUENCE]
    listed = (splits.main, *splits.others, *splits.by_time)
    tables = [
        _summary(runner, shown, records),
        _tests(runner, listed),
        *(_next_visit(split.name, shown, records) for split in listed),
        _ratings(runner, shown, records),
        _new_users(runner, shown, records),
        _in_session(runner, listed, methods, records),
        _capstone(main, methods, records),
        _crosses(main, records),
        _costs(main, methods, records),
        _choices(runner, methods),
        _missing(runner, methods),
    ]
    return [dataclasses.replace(table, dataset=runner.data.name) for table in tables if table.rows]


_Records = Mapping[str, Sequence[tuple[str, Record]]]


def _found(records: _Records, method: str, split: str, metric: str) -> list[float]:
    """Returns a metric of a method on a split, once for each seed."""
    return [
        record.metrics[metric]
        for name, record in records.get(method, ())
        if name == split and metric in record.metrics
    ]


def _summary(runner: Runner, methods: Sequence[Method], records: _Records) -> Table:
    """Returns ours beside the strongest baseline, metric by metric.

    Where a baseline is not measured yet, the strongest is not known: there is no row.
    """
    splits = runner.splits
    compared = [
        (split.name, [split.name], label, metric)
        for split in (splits.main, *splits.others, *splits.by_time)
        for label, metric in _IN_SHORT.items()
    ]
    compared += [
        (split.name, [split.name], "RMSE", RMSE) for split in (splits.main, *splits.others)
    ]
    if splits.folds:
        folds = [fold.name for fold in splits.folds]
        compared.append((f"mean of {folds[0]} to {folds[-1]}", folds, "RMSE", RMSE))
    baselines = [method for method in methods if method.name != OURS]
    unmeasured = {
        (method.kind == "rating", step.split.name)
        for method in baselines
        for step in _missing_steps(runner, method)
    }
    rows: list[list[Cell]] = []
    for name, of, label, metric in compared:
        ours = _average(records, OURS, of, metric)
        strongest = _strongest(baselines, records, of, metric)
        if ours is None or any((metric == RMSE, split) in unmeasured for split in of):
            continue
        if strongest is None:
            rows.append([name, label, _cell(ours), None, None, None, None])
            continue
        found = _difference(records, strongest.name, of[0], metric) if len(of) == 1 else None
        theirs = _average(records, strongest.name, of, metric)
        difference = None if found is None else found.describe()
        word = None if found is None else found.word(lower_is_better=metric == RMSE)
        rows.append([name, label, _cell(ours), _cell(theirs), strongest.title, difference, word])
    columns = ["split", "metric on test", "ours", "strongest baseline", "which"]
    columns += ["ours minus it (95 %)", "ours is"]
    return Table(SUMMARY_TITLE, NEXT_VISIT.name, columns, rows)


def _difference(records: _Records, other: str, split: str, metric: str) -> Difference | None:
    """Returns how ours differs from a baseline on a split; None if one is not measured."""
    ours = [record.sums for name, record in records.get(OURS, ()) if name == split]
    theirs = [record.sums for name, record in records.get(other, ()) if name == split]
    measured = _found(records, OURS, split, metric) and _found(records, other, split, metric)
    if not measured or not all((*ours, *theirs)):
        return None
    return paired(ours, theirs[0], metric)


def _average(records: _Records, method: str, splits: Sequence[str], metric: str) -> float | None:
    """Returns the mean over splits of the mean over seeds; None if a split lacks the metric."""
    found = [_found(records, method, split, metric) for split in splits]
    return statistics.mean(map(statistics.mean, found)) if found and all(found) else None


def _strongest(
    baselines: Iterable[Method], records: _Records, splits: Sequence[str], metric: str
) -> Method | None:
    values = {
        each.name: (value, each)
        for each in baselines
        if (value := _average(records, each.name, splits, metric)) is not None
    }
    if not values:
        return None
    best = (min if metric == RMSE else max)(values, key=lambda name: values[name][0])
    return values[best][1]


def _tests(runner: Runner, splits: Iterable[Split]) -> Table:
    """Returns how many rows and users each test has, and what no list of a user can exceed."""
    users = runner.data.users
    rows: list[list[Cell]] = [
        [
            split.name,
            len(split.train),
            len(split.test),
            len(set(users[split.test].tolist())),
            _cell(protocols.user_only_ceiling(users[split.test])),
        ]
        for split in splits
    ]
    columns = ["split", "training rows", "test rows", "test users", "highest recall@10"]
    return Table(TESTS_TITLE, TEST, columns, rows)


def _next_visit(split: str, methods: Iterable[Method], records: _Records) -> Table:
    metrics = [metric_name(NEXT_VISIT, metric) for metric in _LISTS.values()]
    rows: list[list[Cell]] = []
    for method in methods:
        found = [record.metrics for name, record in records[method.name] if name == split]
        if not found or RECALL_10 not in found[0]:
            continue
        difference = (
            _difference(records, method.name, split, USER_NDCG) if method.name != OURS else None
        )
        first, *more = _mean_and_spread(method.title, found, metrics)
        rows.append([*first, None if difference is None else difference.describe()])
        rows += [[*row, None] for row in more]
    columns = ["method", *_LISTS, "NDCG@10: ours minus it (95 %)"]
    return Table(f"{NEXT_VISIT_TITLE}, {split}", NEXT_VISIT.name, columns, rows)


def _new_users(runner: Runner, methods: Iterable[Method], records: _Records) -> Table:
    """Returns NDCG@10 by the number of movies that new users name, over all folds of users."""
    folds = [fold.name for fold in runner.splits.new_users]
    metrics = [metric_name(new_user(named), "user_ndcg_at_10") for named in NAMED_MOVIES]
    sums = {
        method.name: joined
        for method in methods
        if (joined := _joined(records.get(method.name, ()), folds)) is not None
    }
    rows: list[list[Cell]] = []
    for method in methods:
        if method.name not in sums:
            continue
        totals = {name: values.sum(axis=0) for name, values in sums[method.name].items()}
        found = metrics_of(totals)
        values = [_cell(float(found[one])) if one in found else None for one in metrics]
        difference: list[Cell] = [None] * len(metrics)
        if method.name != OURS and OURS in sums:
            difference = [
                paired([sums[OURS]], sums[method.name], one).describe() if one in found else None
                for one in metrics
            ]
        rows.append([method.title, *values, *difference])
    named = ["profile alone", *(f"{number} named" for number in NAMED_MOVIES[1:])]
    columns = ["method", *named, *(f"{name}: ours minus it (95 %)" for name in named)]
    return Table(NEW_USERS_TITLE, "profile_only, new_user_n", columns, rows)


def _joined(records: Sequence[tuple[str, Record]], folds: Sequence[str]) -> Sums | None:
    """Returns the sums of all folds of users together; None if one is not measured."""
    of_folds = {name: record.sums for name, record in records if name in folds}
    if not of_folds or len(of_folds) < len(folds) or not all(of_folds.values()):
        return None
    parts = [of_folds[name] for name in folds]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _in_session(
    runner: Runner, splits: Iterable[Split], methods: Iterable[Method], records: _Records
) -> Table:
    metrics = [metric_name(IN_SESSION, metric) for metric in _IN_SESSION.values()]
    ours = [method for method in methods if method.name in (OURS, SEQUENCE)]
    rows: list[list[Cell]] = []
    for split, method in itertools.product(splits, ours):
        found = [record for name, record in records[method.name] if name == split.name]
        if not found or not any(metric in found[0].metrics for metric in metrics):
            continue
        name = f"{split.name}, {method.title}" if method.name == SEQUENCE else split.name
        rows += _mean_and_spread(name, [record.metrics for record in found], metrics)
        if runner.data.name == ML_1M:
            for label, exact in _exact_times(runner.data, split):
                of_group = [_metrics_of_users(record.sums, exact) for record in found]
                rows.append(_mean_and_spread(f"{name}, {label}", of_group, metrics)[0])
    return Table(IN_SESSION_TITLE, IN_SESSION.name, ["ours on", *_IN_SESSION], rows)


def _exact_times(data: Data, split: Split) -> tuple[tuple[str, BoolArray], ...]:
    """Returns which users of a test have exact times and which have interpolated ones."""
    ids = data.user_ids[np.unique(data.users[split.test])]
    first = movielens_1m.FIRST_USER_WITH_INTERPOLATED_TIMES
    exact = ids < first
    return (f"users 1 to {first - 1}", exact), (f"users from {first} on", ~exact)


def _metrics_of_users(sums: Sums, users: BoolArray) -> Metrics:
    totals = {name: values[users].sum(axis=0) for name, values in sums.items()}
    return {name: float(value) for name, value in metrics_of(totals).items()}


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


def _ratings(runner: Runner, methods: Iterable[Method], records: _Records) -> Table:
    """Returns the RMSE of each method on each split, and how ours differs on the first."""
    splits = runner.splits
    folds = [fold.name for fold in splits.folds]
    names = [split.name for split in (splits.main, *splits.others)]
    rows: list[list[Cell]] = []
    for method in methods:
        found = [_found(records, method.name, name, RMSE) for name in (*names, *folds)]
        if not any(found):
            continue
        means = [statistics.mean(values) if values else None for values in found]
        if folds:
            of_folds = [value for value in means[-len(folds) :] if value is not None]
            means.append(statistics.mean(of_folds) if len(of_folds) == len(folds) else None)
        seeds = max(map(len, found))
        difference = (
            _difference(records, method.name, names[0], RMSE) if method.name != OURS else None
        )
        label = method.title if seeds == 1 else f"{method.title} (mean of {seeds} seeds)"
        rows.append(
            [label, *map(_cell, means), None if difference is None else difference.describe()]
        )
        if seeds > 1:
            spread = [
                _cell(statistics.stdev(values)) if len(values) > 1 else None for values in found
            ]
            rows.append([f"{method.title} (sd over seeds)", *spread, *([None] * (1 + bool(folds)))])
    columns = ["method", *names, *folds]
    columns += [f"mean of {folds[0]} to {folds[-1]}"] if folds else []
    columns.append(f"{names[0]}: ours minus it (95 %)")
    return Table(RATINGS_TITLE, f"{NEXT_VISIT.name}, RMSE", columns, rows)


def _capstone(split: str, methods: Iterable[Method], records: _Records) -> Table:
    metrics = (UNFILTERED_10, UNFILTERED_100, RECALL_10, RECALL_100, RMSE, RAW_RMSE)
    rows: list[list[Cell]] = []
    for method in methods:
        found = [record.metrics for name, record in records[method.name] if name == split]
        if method.name in CAPSTONE and found:
            title, reported = CAPSTONE[method.name]
            first, *more = _mean_and_spread(title, found, metrics)
            rows.append([first[0], *reported, *first[1:]])
            rows += [[row[0], None, None, None, *row[1:]] for row in more]
    columns = [
        "model",
        "capstone top-10",
        "capstone top-100",
        "capstone RMSE",
        "top-10",
        "top-100",
        "recall@10",
        "recall@100",
        "RMSE",
        "RMSE, not clipped",
    ]
    return Table(f"{CAPSTONE_TITLE}, {split}", NEXT_VISIT.name, columns, rows)


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
        if len(grid) == 1 or not runner.steps(method):
            continue
        for split in (runner.splits.main, *runner.splits.by_time):
            chosen = runner.chosen(method, split)
            if chosen is not None:
                rows.append([method.title, split.name, _values(grid), _one(chosen)])
    return Table(CHOICES_TITLE, "validation", ["method", "validation of", "tried", "chosen"], rows)


def _missing_steps(runner: Runner, method: Method) -> list[Step]:
    measured = {(step.split.name, step.seed) for step, _ in runner.results(method)}
    return [step for step in runner.steps(method) if (step.split.name, step.seed) not in measured]


def _missing(runner: Runner, methods: Iterable[Method]) -> Table:
    """Returns which tests of each method have not been measured; no row where all have."""
    rows: list[list[Cell]] = []
    for method in methods:
        names = [
            step.split.name if step.seed is None else f"{step.split.name} (seed {step.seed})"
            for step in _missing_steps(runner, method)
        ]
        if names:
            rows.append([method.title, ", ".join(names)])
    return Table(MISSING_TITLE, TEST, ["method", "tests"], rows)


def _values(grid: Sequence[Mapping[str, object]]) -> str:
    tried = {name: list(dict.fromkeys(params[name] for params in grid)) for name in grid[0]}
    listed = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in tried.items())
    return f"{listed} ({len(grid)} combinations)"


def _one(params: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in params.items())


def _markdown(tables: Sequence[Table]) -> str:
    parts = [INTRODUCTION]
    for dataset in DATASETS:
        of_dataset = [table for table in tables if table.dataset == dataset]
        if not of_dataset:
            continue
        parts += [f"## {DATASET_NAMES[dataset]}", DATASET_NOTES[dataset]]
        for table in of_dataset:
            parts.append(f"### {table.title} [{table.protocol}]")
            parts += [text for start, text in NOTES.items() if table.title.startswith(start)]
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
