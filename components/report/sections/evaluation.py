"""TFMA's results: thresholds, metrics by scenario, slices, and which movies are recommended."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.evaluation.directions import (
    HIGH,
    LEAK_CHECKED_ROWS,
    LEAKING_ROWS,
    LOW,
    LOWER_IS_BETTER,
    MIN_USERS,
)
from components.evaluation.verdict import SliceMetrics, ThresholdResult, Verdict
from components.report import charts
from components.report.context import MAX_USERS, TOP_K, Context, Words
from components.report.page import Block, Chart, Note, Row, Section, Table, Text, Tone
from components.report.sections import capital, percent, sources_of
from components.report.sections.exploration import age_name
from components.report.sources import read_json
from metrics import bootstrap
from schema import features as raw
from schema.scenarios import IN_SESSION, NEXT_VISIT, SCENARIOS, Scenario, metric_name
from sources.names import ML_100K

_TOP_KS = (1, 5, 10, 50, 100)
_RMSE = metric_name(NEXT_VISIT, "rating_rmse")
_RECALL = metric_name(NEXT_VISIT, "recall_at_{}")
_TENTHS = 10
_MOST_RECOMMENDED = 12
_FEW_ROWS = 30


def build(context: Context) -> Section:
    """Returns the section."""
    kind = f" Data and split: {context.sources.kind}." if context.sources.kind else ""
    return Section(
        key="evaluation",
        title="Evaluation",
        lead="What TensorFlow Model Analysis measured on the test split, on which neither the "
        f"model nor any choice was fitted.{kind}",
        sources=sources_of(context.sources, "evaluation", "blessing", "model"),
        blocks=(*_evaluation(context), *_recommended(context), *_comparison(context)),
    )


def _evaluation(context: Context) -> Iterator[Block]:
    verdict = context.verdict
    if verdict is None:
        yield Note("No evaluation: the run did not get as far as the Evaluator.", "warn")
        return
    yield from _thresholds(verdict, verdict.reasons(context.comparable))
    if not verdict.metrics:
        yield Note("No test rows were evaluated.", "bad")
        return
    yield from _metrics(context, verdict)
    yield _top_k(verdict, context.words)
    yield from _slices(context, verdict)


# --- thresholds and metrics


def _thresholds(verdict: Verdict, reasons: Sequence[str]) -> Iterator[Block]:
    tone: Tone = "good" if verdict.blessed else "bad"
    word = "Blessed: it may be pushed." if verdict.blessed else "Not blessed: it is not pushed."
    yield Text("Thresholds")
    yield Note(" ".join([word, *(f"{r[:1].upper()}{r[1:]}." for r in reasons)]), tone)
    yield Table(
        "threshold-results",
        "Thresholds, on the whole test split",
        [
            {
                "Metric": threshold.metric,
                "Must be": _rule(threshold) + (" (your own)" if threshold.own else ""),
                "This model": threshold.value,
                "Baseline": threshold.baseline,
                "Met": "yes" if threshold.passed else "NO",
            }
            for threshold in verdict.thresholds
        ],
        {"This model": ".4f", "Baseline": ".4f"},
    )


def _rule(threshold: ThresholdResult) -> str:
    side = "at most" if threshold.metric in LOWER_IS_BETTER else "at least"
    limit = threshold.limit()
    if limit is None:
        return "comparable with the baseline"
    if threshold.kind == "value":
        return f"{side} {limit:,.0f}" if float(limit).is_integer() else f"{side} {limit:.4f}"
    return f"not beyond {limit:.4f} (the baseline {threshold.bound:+g}) by the whole interval"


_COUNTS: Mapping[str, str] = {
    "example_count": "test ratings",
    "user_count": "users with any",
    "movies_to_rank": "movies in the longest filtered list of a test rating",
    LEAK_CHECKED_ROWS: "test ratings that were scored again with the features of other movies",
    LEAKING_ROWS: "of those, how many scores changed, which none must",
}
_SCENARIOS: Mapping[str, tuple[str, str]] = {
    NEXT_VISIT.name: (
        "At the next visit",
        "The user comes back later: the model has all training ratings and no session. This is "
        "how the application is used by default, and what a model is blessed on.",
    ),
    IN_SESSION.name: (
        "In session",
        "The user has just rated other movies: the model has the training ratings before the "
        "test rating, with their times. On a random split it was also fitted to ratings of the "
        "same minute, so that there these metrics say little about use.",
    ),
}
_MEANINGS: tuple[tuple[str, str], ...] = (
    (r"recall_at_(\d+)", "share of test ratings whose movie is among the first {} recommended"),
    (r"mrr", "mean of 1 / rank of the movie"),
    (
        r"user_recall_at_(\d+)",
        "hits among the first {0} over min({0}, test movies), mean over users",
    ),
    (
        r"user_ndcg_at_(\d+)",
        "normalised discounted cumulative gain at {}, mean over users",
    ),
    (r"coverage_at_(\d+)", "share of the catalogue that is in some user's first {}"),
    (
        r"popularity_bias_at_(\d+)",
        "how much more popular the first {} are than the movies users rated; 0 is as popular",
    ),
    (r"rating_rmse", "root mean square error of the predicted ratings, clipped to the scale"),
    (r"rating_mae", "mean absolute error of the predicted ratings"),
    (
        r"rating_r_squared",
        "share of the ratings' variance explained; 0 is what the mean reaches; undefined where "
        "all ratings are the same",
    ),
    (r"rating_bias", "mean of predicted minus given rating"),
    (
        r"rating_calibration_error",
        "mean difference of given and predicted rating, by half stars of the prediction",
    ),
    (r"popularity_recall_at_(\d+)", "recall_at_{} of recommending the most rated movies"),
    (r"popularity_user_ndcg_at_(\d+)", "user_ndcg_at_{} of recommending the most rated movies"),
    (r"recall_at_(\d+)_over_popularity", "recall_at_{} minus that of the most rated movies"),
)


def meaning(metric: str) -> str:
    """Returns what a metric of the Evaluator is, in words; empty for one not known."""
    for scenario in SCENARIOS:
        metric = metric.removeprefix(f"{scenario.name}_")
    if metric in _COUNTS:
        return _COUNTS[metric]
    for pattern, text in _MEANINGS:
        found = re.fullmatch(pattern, metric)
        if found:
            return text.format(*found.groups())
    return ""


def _metrics(context: Context, verdict: Verdict) -> Iterator[Block]:
    names, words = [n for n in verdict.metrics if not n.endswith((LOW, HIGH))], context.words
    by_scenario = {s: [n for n in names if n.startswith(f"{s.name}_")] for s in SCENARIOS}
    counted = [name for name in names if not any(name in held for held in by_scenario.values())]
    if not context.sources.features.has_rating:
        yield Note("This data has no ratings: there are no metrics of predicted ratings.")
    for scenario, held in by_scenario.items():
        heading, text = _SCENARIOS[scenario.name]
        if held:
            yield Text(heading, words.fit(text))
            yield _metric_table(verdict, scenario, held, words)
        else:
            yield Note(f"Not measured: {heading[:1].lower()}{heading[1:]}.")
    yield Table(
        "counts",
        "What was evaluated",
        [
            {"Count": int(verdict.metrics[name]), "What it counts": words.fit(meaning(name))}
            for name in counted
        ],
    )


def _metric_table(
    verdict: Verdict, scenario: Scenario, names: Sequence[str], words: Words
) -> Table:
    baseline = verdict.baseline_metrics
    changes = {change.metric: change for change in verdict.changes}
    rows = []
    for name in names:
        low, high = (verdict.metrics.get(name + end) for end in (LOW, HIGH))
        row = {
            "Metric": name.removeprefix(f"{scenario.name}_"),
            "This model": verdict.metrics[name],
            "95 % interval": None if low is None else f"{low:.4f} to {high:.4f}",
        }
        if verdict.has_baseline:
            change = changes.get(name)
            row |= {
                "Baseline": baseline.get(name),
                "Difference": verdict.metrics[name] - baseline[name] if name in baseline else None,
                "Its 95 % interval": f"{change.low:+.4f} to {change.high:+.4f}" if change else None,
                "Verdict": change.word if change else None,
            }
        rows.append({**row, "What it is": words.fit(meaning(name))})
    compared = (
        "; differences from the baseline with paired intervals, which draw the same users for both"
        if verdict.has_baseline
        else ""
    )
    return Table(
        f"metrics-{scenario.name.replace('_', '-')}",
        f"Metrics over all test {words.events}; intervals come from drawing users again{compared}",
        rows,
        {"This model": ".4f", "Baseline": ".4f", "Difference": "+.4f"},
        searchable=True,
    )


def _top_k(verdict: Verdict, words: Words) -> Block:
    of = {
        "this model": (_RECALL, verdict.metrics),
        f"most popular {words.items}": (
            metric_name(NEXT_VISIT, "popularity_recall_at_{}"),
            verdict.metrics,
        ),
        "this model, in session": (metric_name(IN_SESSION, "recall_at_{}"), verdict.metrics),
        "baseline": (_RECALL, verdict.baseline_metrics),
    }
    # A metric at k is left out where there are no more than k movies to rank.
    ks = [k for k in _TOP_KS if _RECALL.format(k) in verdict.metrics]
    if not ks:
        return Note(f"No chart of recall@k: there are too few {words.items} to rank.")
    shown = TOP_K if TOP_K in ks else ks[-1]
    known = [who for who, (name, metrics) in of.items() if name.format(shown) in metrics]
    rows: list[Row] = [
        {"k": str(k), **{who: of[who][1].get(of[who][0].format(k)) for who in known}} for k in ks
    ]
    chosen = rows[ks.index(shown)]
    said = ", ".join(f"{percent(chosen[who] or 0.0, 1)} for {who}" for who in known)
    formats = dict.fromkeys(known, ".1%")
    title = f"share of test {words.events}"
    return Chart(
        "top-k",
        f"How often the {words.item} of a test {words.event} is among the first k recommended "
        "(recall@k)",
        f"Among the first {shown}: {said}. At the next visit, except where it says in session.",
        charts.lines(rows, "k", known, title=title, kind="ordinal", formats=formats),
        rows,
        formats,
        wide=True,
    )


# --- slices


def _slices(context: Context, verdict: Verdict) -> Iterator[Block]:
    if not verdict.slices:
        yield Note("No slices: this data has no feature by whose values metrics are split.")
        return
    yield Text(
        "Slices",
        "The metrics of groups of users at the next visit. Intervals are 95 %, from drawing users "
        f"again {bootstrap.DRAWS} times; groups of fewer than {MIN_USERS} users have none.",
    )
    features = {feature.name: feature for feature in context.sources.features.features}
    words = context.words
    rows = [
        _slice_row(one, features.get(one.feature), words)
        for one in sorted(verdict.slices, key=_order)
    ]
    if any(row["RMSE"] is not None for row in rows):
        yield Note(_worst(verdict, rows))
    for name in dict.fromkeys(row["Of"] for row in rows):
        for metric, column, form in (
            (_RMSE, "RMSE", ".3f"),
            (_RECALL.format(TOP_K), f"Recall@{TOP_K}", ".1%"),
        ):
            drawn = [row for row in rows if row["Of"] == name and row[column] is not None]
            if drawn:
                overall = verdict.metrics.get(metric, math.nan)
                yield _slice_chart(name, drawn, column, overall, form)
    yield Table("slice-metrics", "Every slice, at the next visit", rows, searchable=True)


def _order(found: SliceMetrics) -> tuple[str, int, str]:
    """Orders slices by feature, numbers by size, and texts after them."""
    number = int(found.value) if found.value.isdigit() else sys.maxsize
    return found.feature, number, found.value


def _slice_row(found: SliceMetrics, feature: raw.Feature | None, words: Words) -> Row:
    is_age = feature and feature.kind is raw.Kind.AGE_BUCKET and found.value.isdigit()
    row: dict[str, object] = {
        "Of": feature.called if feature else found.feature,
        "Value": age_name(int(found.value)) if is_age else found.value,
        capital(words.events): int(found.metrics.get("example_count", 0)),
    }
    recall = _RECALL.format(TOP_K)
    for column, metric in (("RMSE", _RMSE), (f"Recall@{TOP_K}", recall)):
        for word, end in (("", ""), (" from", LOW), (" to", HIGH)):
            row[column + word] = _known(found, metric + end)
    row["MAE"] = _known(found, metric_name(NEXT_VISIT, "rating_mae"))
    return {**row, "Recall@100": _known(found, _RECALL.format(100))}


def _known(found: SliceMetrics, metric: str) -> float | None:
    """Returns a metric of a slice; None where it has none or could not be computed."""
    value = found.metrics.get(metric)
    return None if value is None or math.isnan(value) else value


def _worst(verdict: Verdict, rows: Sequence[Row]) -> str:
    overall = verdict.metrics.get(_RMSE, math.nan)
    enough = [row for row in rows if row["Ratings"] >= _FEW_ROWS and row["RMSE"] is not None]
    if not enough:
        return f"No slice has {_FEW_ROWS} test ratings, too few to compare them."
    worst = sorted(enough, key=lambda row: -row["RMSE"])[:3]
    names = "; ".join(
        f"{row['Of']} {row['Value']} ({row['RMSE']:.3f} over {row['Ratings']:,} test ratings)"
        for row in worst
    )
    lows = [row for row in enough if row["RMSE from"] is not None]
    sure = [f"{row['Of']} {row['Value']}" for row in lows if row["RMSE from"] > overall]
    more = (
        f" Their whole interval is above the overall RMSE: {', '.join(sure)}."
        if sure
        else " No slice's whole interval is above the overall RMSE."
        if lows
        else ""
    )
    return f"Largest RMSE, against {overall:.3f} overall: {names}.{more}"


def _slice_chart(
    feature: str, drawn: Sequence[Row], column: str, overall: float, form: str
) -> Chart:
    ends = sorted(drawn, key=lambda row: row[column])
    least, most = (f"{format(row[column], form)} ({row['Value']})" for row in (ends[0], ends[-1]))
    return Chart(
        f"slice-{feature}-{column}".replace(" ", "-").replace("@", "-").lower(),
        f"{column} by {feature}",
        f"From {least} to {most}; the dashed line is {format(overall, form)} overall.".replace(
            "%", "\u00a0%"
        ),
        charts.intervals(drawn, "Value", column, (f"{column} from", f"{column} to"), overall),
    )


# --- which movies are recommended


def _recommended(context: Context) -> Iterator[Block]:
    model, ratings = context.model, context.ratings
    if model is None or ratings is None:
        yield Note("What is recommended is not shown: there is no model.", "warn")
        return
    words, count = context.words, -(-len(ratings.by_user) // MAX_USERS)
    users = ratings.by_user.index[::count].tolist()
    ids, _ = model.recommend(users, TOP_K)
    first, second = "Share of recommendations", f"Share of {words.events}"
    chosen = pd.Series(ids[ids != ""], dtype=object).value_counts()
    found = pd.DataFrame({first: chosen, second: ratings.by_movie.sum(axis=1)})
    if context.catalogue is not None:
        found = found.reindex(context.catalogue.index)
    found = found.fillna(0).sort_values(second, ascending=False, kind="stable")
    tenths = np.arange(len(found)) * _TENTHS // max(len(found), 1)
    shares = found.groupby(tenths).sum() / found.sum().clip(1)
    shares = shares.reindex(range(_TENTHS), fill_value=0.0)
    shares.insert(0, "Tenth", (shares.index + 1).astype(str))
    rows: list[Row] = shares.to_dict("records")
    yield Text(
        "Popularity of what is recommended",
        f"The first {TOP_K} {words.items} recommended to each of {len(users):,} users at the next "
        "visit.",
    )
    yield Chart(
        "popularity",
        f"Recommendations and {words.events} by popularity, in tenths of the catalogue",
        f"The tenth of the {words.items} with most {words.events} gets {percent(rows[0][first])} "
        f"of the recommendations and {percent(rows[0][second])} of the {words.events}.",
        charts.bars(rows, "Tenth", (first, second), title="share", upright=True),
        rows,
    )
    item = capital(words.item)
    bars: list[Row] = [
        {
            item: context.title(movie),
            "Share of users": times / len(users),
            capital(words.events): int(found.at[movie, second]) if movie in found.index else 0,
        }
        for movie, times in chosen[:_MOST_RECOMMENDED].items()
    ]
    if bars:
        yield Chart(
            "most-recommended",
            f"The {words.items} recommended most often",
            f"{bars[0][item]} is among the first {TOP_K} of {percent(bars[0]['Share of users'])}"
            " of the users.",
            charts.bars(bars, item, "Share of users"),
            bars,
        )


# --- the comparison of models


def _comparison(context: Context) -> Iterator[Block]:
    measured = read_json(context.sources.results).get("tables") or ()
    name = context.sources.dataset.get("name")
    tables = [table for table in measured if table.get("dataset", ML_100K) == name]
    if not tables:
        return
    yield Text(
        "Comparison with other methods",
        f"Measured on {name} by make compare, not in this run, and kept in docs/results.json.",
    )
    for number, table in enumerate(tables):
        yield _result_table(number, table)


def _result_table(number: int, table: Mapping[str, Any]) -> Table:
    titles = [str(column) for column in table["columns"]]
    parts = (table.get("title"), table.get("protocol"))
    return Table(
        f"results-{number}",
        ": ".join(str(part) for part in parts if part),
        [
            {
                title: value if isinstance(value, int | float | None) else str(value)
                for title, value in zip(titles, row, strict=True)
            }
            for row in table["rows"]
        ],
        dict.fromkeys(titles, ".4f"),
    )
