"""TFMA's results: thresholds, slices with intervals, and what is recommended altogether."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from components.evaluation.directions import (
    HIGH,
    LEAK_CHECKED_ROWS,
    LEAKING_ROWS,
    LOW,
    LOWER_IS_BETTER,
    MIN_USERS,
)
from components.evaluation.verdict import Change, SliceMetrics, ThresholdResult, Verdict
from components.report import charts
from components.report.charts import Channel
from components.report.context import TOP_K, Context
from components.report.page import Block, Column, Figure, Note, Section, Table, Text, Tiles, Tone
from components.report.sections import percent, sources_of
from components.report.sections.exploration import age_name
from components.report.sources import read_json
from metrics import bootstrap
from schema import features as raw
from schema.scenarios import IN_SESSION, NEXT_VISIT, metric_name
from sources.names import ML_100K

_TOP_KS = (1, 5, 10, 50, 100)
_RMSE = metric_name(NEXT_VISIT, "rating_rmse")
_RECALL = metric_name(NEXT_VISIT, "recall_at_{}")
_TENTHS = 10
_FEW_ROWS = 30


def build(context: Context) -> Section:
    """Returns the section."""
    return Section(
        key="evaluation",
        title="Evaluation",
        lead="What TensorFlow Model Analysis found on the test split, which neither training nor "
        "choices have seen.",
        sources=sources_of(context.sources, "evaluation", "blessing", "model"),
        blocks=(*_evaluation(context), *_recommended(context), *_comparison(context)),
    )


def _evaluation(context: Context) -> Iterator[Block]:
    verdict = context.verdict
    if verdict is None:
        yield Note("No evaluation: the run did not get as far as the Evaluator.", "warn")
        return
    yield from _thresholds(verdict)
    if not verdict.metrics:
        yield Note("No test rows were evaluated.", "bad")
        return
    yield _metrics(verdict)
    yield _top_k(verdict)
    yield from _slices(context, verdict)


# --- thresholds and metrics


def _thresholds(verdict: Verdict) -> Iterator[Block]:
    tone: Tone = "good" if verdict.blessed else "bad"
    reasons = verdict.reasons()
    word = "Blessed." if verdict.blessed else "Not blessed."
    yield Note(" ".join([word, *(f"{r[:1].upper()}{r[1:]}." for r in reasons)]), tone)
    yield Table(
        "thresholds",
        "Thresholds, all on the whole test split",
        (
            Column("Metric"),
            Column("Must be"),
            Column("Is", "number", 4),
            Column("Baseline", "number", 4),
            Column("Met"),
        ),
        tuple(
            (t.metric, _rule(t), t.value, t.baseline, "yes" if t.passed else "NO")
            for t in verdict.thresholds
        ),
    )


def _rule(threshold: ThresholdResult) -> str:
    side = "at most" if threshold.metric in LOWER_IS_BETTER else "at least"
    limit = threshold.limit()
    if limit is None:
        return "comparable with the baseline"
    if threshold.kind == "value":
        return f"{side} {limit:.4f}"
    return f"not beyond {limit:.4f} (the baseline {threshold.bound:+g}) by the whole interval"


def _metrics(verdict: Verdict) -> Table:
    baseline = verdict.baseline_metrics
    changes = {change.metric: change for change in verdict.changes}
    names = [name for name in verdict.metrics if not name.endswith((LOW, HIGH))]
    return Table(
        "metrics",
        "All metrics on the whole test split, with 95 % intervals from drawing people again"
        + ("" if verdict.has_baseline else "; there is no blessed model to compare with yet"),
        (
            Column("Metric"),
            Column("This model", "number", 4),
            Column("From", "number", 4),
            Column("To", "number", 4),
            Column("Baseline", "number", 4),
            Column("Change", "number", 4),
            Column("Change from", "number", 4),
            Column("Change to", "number", 4),
            Column("Beside it"),
            Column("What it is"),
        ),
        tuple(
            (
                name,
                int(verdict.metrics[name]) if name in _COUNTS else verdict.metrics[name],
                verdict.metrics.get(name + LOW),
                verdict.metrics.get(name + HIGH),
                baseline.get(name),
                verdict.metrics[name] - baseline[name] if name in baseline else None,
                *_beside(changes.get(name)),
                meaning(name),
            )
            for name in names
        ),
        searchable=True,
    )


_COUNTS: Mapping[str, str] = {
    "example_count": "test ratings",
    "user_count": "people with any",
    LEAK_CHECKED_ROWS: "test ratings that were asked again with features of other films",
    LEAKING_ROWS: "of those, how many had an answer that changed, which it must not",
}
_ASKED: Mapping[str, str] = {
    NEXT_VISIT.name: "at the next visit",
    IN_SESSION.name: "in a session whose other ratings are known, with their times",
}
_MEANINGS: tuple[tuple[str, str], ...] = (
    (r"recall_at_(\d+)", "share of test ratings whose film is in the first {}"),
    (r"mrr", "mean of 1 / rank of the film"),
    (
        r"user_recall_at_(\d+)",
        "hits among the first {0} over min({0}, test films), mean over people",
    ),
    (r"user_ndcg_at_(\d+)", "normalised discounted gain of the first {}, mean over people"),
    (r"coverage_at_(\d+)", "share of the catalogue that is in somebody's first {}"),
    (
        r"popularity_bias_at_(\d+)",
        "how much more popular the first {} are than the films people rated; 0 is as popular",
    ),
    (r"rating_rmse", "root mean square error in stars, predictions clipped to the scale"),
    (r"rating_mae", "mean absolute error in stars"),
    (
        r"rating_r_squared",
        "share of the ratings' variance explained; 0 is what the mean reaches; undefined where "
        "all ratings are the same",
    ),
    (r"rating_bias", "predicted minus given stars, mean"),
    (
        r"rating_calibration_error",
        "how far the mean rating is from the mean prediction, by half stars of the prediction",
    ),
    (r"popularity_recall_at_(\d+)", "recall_at_{} of recommending the most rated films"),
    (r"popularity_user_ndcg_at_(\d+)", "user_ndcg_at_{} of recommending the most rated films"),
    (r"recall_at_(\d+)_over_popularity", "recall_at_{} minus that of the most rated films"),
)


def meaning(metric: str) -> str:
    """Returns what a metric of the Evaluator is, in words; empty for one not known."""
    if metric in _COUNTS:
        return _COUNTS[metric]
    for scenario, asked in _ASKED.items():
        for pattern, text in _MEANINGS:
            found = re.fullmatch(f"{scenario}_{pattern}", metric)
            if found:
                return f"{text.format(*found.groups())}, {asked}"
    return ""


def _beside(change: Change | None) -> tuple[float | None, float | None, str]:
    """Returns the paired interval of a change and what it says; nothing without one."""
    return (None, None, "") if change is None else (change.low, change.high, change.word)


def _top_k(verdict: Verdict) -> Figure:
    models = (
        ("this model", _RECALL, verdict.metrics),
        ("most popular films", metric_name(NEXT_VISIT, "popularity_recall_at_{}"), verdict.metrics),
        ("this model, in session", metric_name(IN_SESSION, "recall_at_{}"), verdict.metrics),
        ("baseline", _RECALL, verdict.baseline_metrics),
    )
    rows = [
        {"k": k, "share": metrics[name.format(k)], "who": who}
        for who, name, metrics in models
        for k in _TOP_KS
        if name.format(k) in metrics
    ]
    domain = [who for who, _, _ in models if any(row["who"] == who for row in rows)]
    (_, own, _), (_, popular, _), (_, in_session, _), _ = models
    shares = [
        percent(verdict.metrics.get(name.format(TOP_K), 0.0), 1)
        for name in (own, popular, in_session)
    ]
    return Figure(
        "top-k",
        "How often the film that was rated is among the first k recommended",
        f"At the next visit it is in the top {TOP_K} for {shares[0]} of test ratings; recommending "
        f"the most popular films reaches {shares[1]}. Within a session: {shares[2]}.",
        charts.lines(
            rows,
            Channel("k", "k", "ordinal"),
            Channel("share", "share of test ratings", format=charts.PERCENT),
            Channel("who", "", "nominal", domain=domain),
            points=True,
            height=260,
        ),
        Table(
            "top-k-numbers",
            "Share of test ratings by k",
            (Column("Who"), *(Column(f"top {k}", "share", 1) for k in _TOP_KS)),
            tuple(
                (who, *(metrics.get(name.format(k)) for k in _TOP_KS))
                for who, name, metrics in models
                if who in domain
            ),
        ),
        wide=True,
    )


# --- slices


def _slices(context: Context, verdict: Verdict) -> Iterator[Block]:
    if not verdict.slices:
        yield Note("No slices were evaluated.")
        return
    yield Text(
        "Slices",
        "The same metrics for groups of people, at the next visit. Intervals are 95 %, from "
        f"drawing people again {bootstrap.DRAWS} times; small groups have wide ones, those of "
        f"fewer than {MIN_USERS} people none.",
    )
    called = {feature.name: feature.called for feature in context.sources.features.features}
    yield Note(_worst(verdict, called))
    for feature in dict.fromkeys(s.feature for s in verdict.slices):
        of_feature = [s for s in verdict.slices if s.feature == feature]
        yield _slice_figure(feature, of_feature, verdict, called, _RMSE)
        yield _slice_figure(feature, of_feature, verdict, called, _RECALL.format(TOP_K))
    yield _slice_table(verdict.slices, called)


def _value(found: SliceMetrics) -> str:
    """Returns a slice's value in words."""
    if found.feature == raw.AGE_BUCKET.name and found.value.isdigit():
        return age_name(int(found.value))
    return found.value


def _order(value: str) -> tuple[int, str]:
    """Orders numbers by size, and texts after them."""
    return (int(value), "") if value.isdigit() else (sys.maxsize, value)


def _known(found: SliceMetrics, metric: str) -> float | None:
    """Returns a metric of a slice; None where it has none or could not be computed."""
    value = found.metrics.get(metric)
    return None if value is None or math.isnan(value) else value


def _worst(verdict: Verdict, called: Mapping[str, str]) -> str:
    overall = verdict.metrics.get(_RMSE, float("nan"))
    enough = [s for s in verdict.slices if s.metrics.get("example_count", 0) >= _FEW_ROWS]
    if not enough:
        return f"No slice has {_FEW_ROWS} rows; differences between them say nothing."
    ordered = sorted(enough, key=lambda s: -s.metrics[_RMSE])[:3]
    names = "; ".join(
        f"{called.get(s.feature, s.feature)} {_value(s)} ({s.metrics[_RMSE]:.3f} "
        f"over {s.metrics['example_count']:,.0f} rows)"
        for s in ordered
    )
    lows = [(s, _known(s, _RMSE + LOW)) for s in enough]
    sure = [
        f"{called.get(s.feature, s.feature)} {_value(s)}"
        for s, low in lows
        if low is not None and low > overall
    ]
    more = (
        f" Above it beyond chance: {', '.join(sure)}."
        if sure
        else " None is above it beyond chance."
        if any(low is not None for _, low in lows)
        else ""
    )
    return f"Rated worst, against RMSE {overall:.3f} overall: {names}.{more}"


_SHOWN: Mapping[str, tuple[str, str, str | None]] = {
    _RMSE: ("RMSE", "RMSE in stars", ".3f"),
    _RECALL.format(TOP_K): ("Recall@10", "share of rows", charts.PERCENT),
}


def _slice_figure(
    feature: str,
    found: Sequence[SliceMetrics],
    verdict: Verdict,
    called: Mapping[str, str],
    metric: str,
) -> Figure:
    title, axis, form = _SHOWN[metric]
    rows: list[dict[str, Any]] = [
        {
            "value": _value(s),
            "metric": s.metrics.get(metric, float("nan")),
            "low": _known(s, metric + LOW),
            "high": _known(s, metric + HIGH),
            "rows": s.metrics.get("example_count", 0.0),
        }
        for s in sorted(found, key=lambda s: _order(s.value))
    ]
    if feature != raw.AGE_BUCKET.name:
        rows.sort(key=lambda row: row["metric"], reverse=metric in LOWER_IS_BETTER)
    name = called.get(feature, feature)
    overall = verdict.metrics.get(metric, float("nan"))
    by_value = sorted(rows, key=lambda row: row["metric"])
    least, most = by_value[0], by_value[-1]
    show = "{:.3f}" if metric == _RMSE else "{:.1%}"
    told = [
        show.format(value).replace("%", "\u00a0%")
        for value in (least["metric"], most["metric"], overall)
    ]
    return Figure(
        f"slice-{feature}-{metric}",
        f"{title} by {name}",
        f"From {told[0]} ({least['value']}) to {told[1]} ({most['value']}); the dashed line is "
        f"{told[2]} overall.",
        charts.intervals(
            rows,
            Channel("value", name, "nominal", sort=[row["value"] for row in rows]),
            Channel("metric", axis, format=form, zero=False),
            "low",
            "high",
            reference=overall,
            more=(
                Channel("rows", "rows", format=charts.WHOLE),
                Channel("low", "from", format=form),
                Channel("high", "to", format=form),
            ),
        ),
    )


def _slice_table(found: Sequence[SliceMetrics], called: Mapping[str, str]) -> Table:
    recall = _RECALL.format(TOP_K)
    return Table(
        "slices",
        "Every slice at the next visit, with 95 % intervals",
        (
            Column("Of"),
            Column("Value"),
            Column("Rows", "number"),
            Column("RMSE", "number", 3),
            Column("RMSE from", "number", 3),
            Column("RMSE to", "number", 3),
            Column("MAE", "number", 3),
            Column("Recall@10", "share", 1),
            Column("Recall@10 from", "share", 1),
            Column("Recall@10 to", "share", 1),
            Column("Recall@100", "share", 1),
        ),
        tuple(
            (
                called.get(s.feature, s.feature),
                _value(s),
                int(s.metrics.get("example_count", 0)),
                *(_known(s, _RMSE + end) for end in ("", LOW, HIGH)),
                _known(s, metric_name(NEXT_VISIT, "rating_mae")),
                *(_known(s, recall + end) for end in ("", LOW, HIGH)),
                _known(s, _RECALL.format(100)),
            )
            for s in found
        ),
        searchable=True,
    )


# --- what is recommended altogether


def _recommended(context: Context) -> Iterator[Block]:
    if context.model is None or context.counts is None:
        yield Note("Popularity bias and coverage are not shown: there is no model.", "warn")
        return
    found = context.recommendations
    assert found is not None
    ids, times = np.unique(found.movie_id[found.movie_id >= 0], return_counts=True)
    ratings = dict(
        zip(
            context.counts.movie_ids.tolist(),
            context.counts.by_movie.sum(axis=1).tolist(),
            strict=True,
        )
    )
    catalogue = context.catalogue
    movies = catalogue.index.tolist() if catalogue is not None else list(ratings)
    ordered = sorted(movies, key=lambda movie: -ratings.get(movie, 0))
    tenth = {m: 1 + place * _TENTHS // len(ordered) for place, m in enumerate(ordered)}
    rows = _tenths(ratings, dict(zip(ids.tolist(), times.tolist(), strict=True)), tenth)
    first = {row["of"]: row["share"] for row in rows if row["tenth"] == 1}
    people = len(found.users)
    yield Text("What is recommended altogether", f"The top {TOP_K} of {people:,} people.")
    yield Tiles(
        (
            (
                percent(len(ids) / len(movies), 1),
                "catalogue coverage",
                f"{len(ids):,} of {len(movies):,} films in somebody's top {TOP_K}",
            ),
            (
                percent(first["recommendations"], 1),
                "from the most popular tenth",
                "of the films recommended",
            ),
            (
                percent(first["ratings"], 1),
                "from the most popular tenth",
                "of the ratings people gave",
            ),
        )
    )
    yield Figure(
        "popularity",
        "Recommendations and ratings by the films' popularity",
        f"The most popular tenth of films gets {percent(first['recommendations'])} of "
        f"recommendations and {percent(first['ratings'])} of ratings.",
        charts.columns(
            rows,
            Channel("tenth", "tenth of the films, most rated first", "ordinal"),
            Channel("share", "share", format=charts.PERCENT),
            Channel("of", "", "nominal", domain=("recommendations", "ratings")),
        ),
        _tenths_table(rows),
    )
    yield _most_recommended(context, ids.tolist(), times.tolist(), ratings, people)


def _tenths(
    ratings: Mapping[int, int], recommended: Mapping[int, int], tenth: Mapping[int, int]
) -> list[dict[str, Any]]:
    rows = []
    for of, counts in (("recommendations", recommended), ("ratings", ratings)):
        sums = [0] * _TENTHS
        for movie, count in counts.items():
            if movie in tenth:
                sums[tenth[movie] - 1] += count
        whole = max(sum(sums), 1)
        rows += [{"tenth": n + 1, "share": s / whole, "of": of} for n, s in enumerate(sums)]
    return rows


def _tenths_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    shares = {(row["of"], row["tenth"]): row["share"] for row in rows}
    return Table(
        "popularity-numbers",
        "Shares by popularity",
        (
            Column("Tenth of the films", "number"),
            Column("Recommendations", "share", 1),
            Column("Ratings", "share", 1),
        ),
        tuple(
            (n, shares["recommendations", n], shares["ratings", n]) for n in range(1, _TENTHS + 1)
        ),
    )


def _most_recommended(
    context: Context,
    ids: Sequence[int],
    times: Sequence[int],
    ratings: Mapping[int, int],
    people: int,
) -> Figure:
    ordered = sorted(zip(times, ids, strict=True), reverse=True)[:12]
    rows: list[dict[str, Any]] = [
        {"film": context.title(movie), "share": count / people, "ratings": ratings.get(movie, 0)}
        for count, movie in ordered
    ]
    return Figure(
        "most-recommended",
        "The films recommended most often",
        f"{rows[0]['film']} is in the top {TOP_K} of {percent(rows[0]['share'])} of people."
        if rows
        else "Nothing was recommended.",
        charts.bars(
            rows,
            Channel("film", "Film", "nominal", sort=[row["film"] for row in rows]),
            Channel("share", "share of people", format=charts.PERCENT),
            more=(Channel("ratings", "Ratings", format=charts.WHOLE),),
        ),
    )


# --- the comparison of models


def _comparison(context: Context) -> Iterator[Block]:
    measured = read_json(context.sources.results).get("tables") or ()
    if not measured:
        yield Note("The comparison of models is not shown: there is no docs/results.json.")
        return
    name = context.sources.dataset.get("name")
    tables = [table for table in measured if table.get("dataset", ML_100K) == name]
    if not tables:
        yield Note(f"The comparison of models is not shown: it was not measured on {name}.")
        return
    yield Text("Comparison of models", "From docs/results.json, measured apart from this run.")
    for number, table in enumerate(tables):
        yield _result_table(number, table)


def _cell(value: object) -> str | int | float | None:
    return value if isinstance(value, int | float) or value is None else str(value)


def _result_table(number: int, table: Mapping[str, Any]) -> Table:
    rows = [[_cell(value) for value in row] for row in table["rows"]]
    kinds = [
        all(isinstance(row[place], int | float) or row[place] is None for row in rows)
        for place in range(len(table["columns"]))
    ]
    return Table(
        f"results-{number}",
        ": ".join(str(part) for part in (table.get("title"), table.get("protocol")) if part),
        tuple(
            Column(str(title), "number" if numeric else "text", 4)
            for title, numeric in zip(table["columns"], kinds, strict=True)
        ),
        tuple(tuple(row) for row in rows),
    )
