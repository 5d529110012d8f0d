"""TFMA's results: thresholds, metrics by scenario, slices, and which movies are recommended."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence

from components.evaluation.directions import (
    HIGH,
    LEAK_CHECKED_ROWS,
    LEAKING_ROWS,
    LOW,
    LOWER_IS_BETTER,
    MIN_USERS,
)
from components.evaluation.metrics import TOP_KS
from components.evaluation.verdict import SliceMetrics, ThresholdResult, Verdict
from components.report import charts
from components.report.context import Context, Words
from components.report.page import Block, Chart, Note, Row, Table, Text, shown
from components.report.sections import capital, percent
from components.report.sections.exploration import AGE_NAMES
from components.report.sources import read_json
from metrics import bootstrap
from schema import features as raw
from schema.scenarios import IN_SESSION, NEXT_VISIT, SCENARIOS, Scenario, metric_name
from sources.names import ML_100K

_RMSE = metric_name(NEXT_VISIT, "rating_rmse")
_RECALL = metric_name(NEXT_VISIT, "recall_at_{}")
TOP_K = 10
_FEW_ROWS = 30
_DRAWN = {"RMSE": (_RMSE, ".3f"), f"Recall@{TOP_K}": (_RECALL.format(TOP_K), ".1%")}
"""Columns of slices that are drawn, with their metrics and number formats."""


def blocks(context: Context) -> Iterator[Block]:
    """Yields what the section shows."""
    verdict = context.verdict
    if verdict is None:
        yield Note("No evaluation: the run did not get as far as the Evaluator.", "warn")
    else:
        yield from _thresholds(verdict, verdict.reasons(context.comparable))
        if verdict.metrics:
            yield from _metrics(context, verdict)
            yield _top_k(verdict, context.words)
            yield from _slices(context, verdict)
        else:
            yield Note("No test rows were evaluated.", "bad")
    yield from _comparison(context)


def _thresholds(verdict: Verdict, reasons: Sequence[str]) -> Iterator[Block]:
    word = "Blessed: it may be pushed." if verdict.blessed else "Not blessed: it is not pushed."
    text = " ".join([word, *(f"{capital(reason)}." for reason in reasons)])
    rows = [
        {
            "Metric": threshold.metric,
            "Must be": _rule(threshold) + (" (your own)" if threshold.own else ""),
            "This model": threshold.value,
            "Baseline": threshold.baseline,
            "Met": "yes" if threshold.passed else "NO",
        }
        for threshold in verdict.thresholds
    ]
    yield Text("Thresholds")
    yield Note(text, "good" if verdict.blessed else "bad")
    yield Table("threshold-results", "Thresholds, on the whole test split", rows)


def _rule(threshold: ThresholdResult) -> str:
    side = "at most" if threshold.metric in LOWER_IS_BETTER else "at least"
    limit = threshold.limit()
    if limit is None:
        return "comparable with the baseline"
    if threshold.kind == "value":
        return f"{side} {limit:,.0f}" if float(limit).is_integer() else f"{side} {limit:.4f}"
    return f"not beyond {limit:.4f} (the baseline {threshold.bound:+g}) by the whole interval"


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
_MEANINGS: Mapping[str, str] = {
    "example_count": "test ratings",
    "user_count": "users with any",
    "movies_to_rank": "movies in the longest filtered list of a test rating",
    LEAK_CHECKED_ROWS: "test ratings that were scored again with the features of other movies",
    LEAKING_ROWS: "of those, how many scores changed, which none must",
    "recall_at_k": "share of test ratings whose movie is in the list of length {k}",
    "mrr": "mean of 1 / rank of the movie",
    "user_recall_at_k": "hits in the list of length {k} over min({k}, test movies), "
    "mean over users",
    "user_ndcg_at_k": "normalised discounted cumulative gain at {k}, mean over users",
    "coverage_at_k": "share of the catalogue that is in some user's list of length {k}",
    "popularity_bias_at_k": "how much more popular a list of length {k} is than the user's own "
    "movies; 0 is as popular",
    "rating_rmse": "root mean square error of the predicted ratings, clipped to the scale",
    "rating_mae": "mean absolute error of the predicted ratings",
    "rating_r_squared": "share of the ratings' variance explained; 0 is what the mean reaches; "
    "undefined where all ratings are the same",
    "rating_bias": "mean of predicted minus given rating",
    "rating_calibration_error": "mean difference of given and predicted rating, by half stars of "
    "the prediction",
    "popularity_recall_at_k": "recall_at_{k} of recommending the most popular movies",
    "popularity_user_ndcg_at_k": "user_ndcg_at_{k} of recommending the most popular movies",
    "recall_at_k_over_popularity": "recall_at_{k} minus that of the most popular movies",
}


def meaning(metric: str) -> str:
    """Returns what a metric of the Evaluator is, in words; empty for one not known."""
    for scenario in SCENARIOS:
        metric = metric.removeprefix(f"{scenario.name}_")
    k = re.search(r"_at_(\d+)", metric)
    name = re.sub(r"_at_\d+", "_at_k", metric)
    return _MEANINGS.get(name, "").format(k=k and k[1])


def _metrics(context: Context, verdict: Verdict) -> Iterator[Block]:
    names, words = [n for n in verdict.metrics if not n.endswith((LOW, HIGH))], context.words
    by_scenario = {s: [n for n in names if n.startswith(f"{s.name}_")] for s in SCENARIOS}
    counted = [name for name in names if not any(name in held for held in by_scenario.values())]
    has_sessions = bool(by_scenario[IN_SESSION])
    given = ", ".join(one.called for one in context.sources.features.context)
    for scenario, held in by_scenario.items():
        heading, text = _SCENARIOS[scenario.name]
        if not has_sessions:
            text = text.replace(" and no session", "")
        elif given and scenario == IN_SESSION:
            text += f" Here the test rating's own context features ({given}) are known."
        if held:
            yield Text(heading, words.fit(text))
            yield _metric_table(verdict, scenario, held, words)
    if given and not has_sessions:
        text = (
            f"No metric measures the context features ({given}): nobody knows them before the next "
            "visit, and without times in the data no test rating is measured in session."
        )
        yield Note(words.fit(text), "info")
    rows = [
        {"Count": int(verdict.metrics[name]), "What it counts": words.fit(meaning(name))}
        for name in counted
    ]
    yield Table("counts", "What was evaluated", rows)


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
    caption = f"Metrics over all test {words.events}; intervals from resampling users (bootstrap)"
    if verdict.has_baseline:
        caption += "; those of differences resample the same users for both models"
    return Table(f"metrics-{scenario.name.replace('_', '-')}", caption, rows, searchable=True)


def _top_k(verdict: Verdict, words: Words) -> Block:
    popularity = metric_name(NEXT_VISIT, "popularity_recall_at_{}")
    of = {
        "this model": (_RECALL, verdict.metrics),
        f"popular {words.items}": (popularity, verdict.metrics),
        "in session": (metric_name(IN_SESSION, "recall_at_{}"), verdict.metrics),
        "baseline": (_RECALL, verdict.baseline_metrics),
    }
    # A metric at k is left out where there are no more than k movies to rank.
    ks = [k for k in TOP_KS if _RECALL.format(k) in verdict.metrics]
    if not ks:
        return Note(f"No chart of recall@k: there are too few {words.items} to rank.")
    length = TOP_K if TOP_K in ks else ks[-1]
    known = {
        who: {k: metrics.get(name.format(k)) for k in ks}
        for who, (name, metrics) in of.items()
        if name.format(length) in metrics
    }
    has_sessions = any("in session" in who for who in known)
    where = " At the next visit, except where it says in session." if has_sessions else ""
    each = "; ".join(f"{who}: {percent(at[length] or 0.0, 1)}" for who, at in known.items())
    rows = [{"k": str(k), **{f"Recall, {who}": known[who][k] for who in known}} for k in ks]
    return Chart(
        "top-k",
        f"How often the {words.item} of a test {words.event} is among the first k recommended "
        "(recall@k)",
        f"In lists of length {length} — {each}.{where}",
        charts.lines(rows, "k", list(rows[0])[1:], title="recall@k", kind="ordinal"),
        wide=True,
    )


def _slices(context: Context, verdict: Verdict) -> Iterator[Block]:
    if not verdict.slices:
        yield Note("No slices: this data has no feature by whose values metrics are split.")
        return
    yield Text(
        "Slices",
        "The metrics at the next visit by the values of a feature, such as users of one age. The "
        f"lines are 95 % intervals from resampling users {bootstrap.DRAWS} times (bootstrap); "
        f"slices of fewer than {MIN_USERS} users have none.",
    )
    features = {feature.name: feature for feature in context.sources.features.features}
    rows = [
        _slice_row(one, features.get(one.feature), context.words)
        for one in sorted(verdict.slices, key=_order)
    ]
    if any(row["RMSE"] is not None for row in rows):
        yield Note(_worst(verdict, rows))
    for name in dict.fromkeys(row["Feature"] for row in rows):
        for column, (metric, _) in _DRAWN.items():
            drawn = [row for row in rows if row["Feature"] == name and row[column] is not None]
            if drawn:
                yield _slice_chart(name, drawn, column, verdict.metrics.get(metric, math.nan))
    yield Table("slice-metrics", "Every slice, at the next visit", rows, searchable=True)


def _order(found: SliceMetrics) -> tuple[str, int, str]:
    """Orders slices by feature, numbers by size, and texts after them."""
    number = int(found.value) if found.value.isdigit() else sys.maxsize
    return found.feature, number, found.value


def _slice_row(found: SliceMetrics, feature: raw.Feature | None, words: Words) -> Row:
    value = found.value
    if feature and feature.kind is raw.Kind.AGE_BUCKET and value.isdigit():
        value = AGE_NAMES.get(int(value), raw.UNKNOWN)
    row: dict[str, object] = {
        "Feature": feature.called if feature else found.feature,
        "Value": value,
        capital(words.events): int(found.metrics.get("example_count", 0)),
    }
    for column, (metric, _) in _DRAWN.items():
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
    enough = {
        f"{row['Feature']} {row['Value']}": row
        for row in sorted(rows, key=lambda row: -(row["RMSE"] or 0.0))
        if row["Ratings"] >= _FEW_ROWS and row["RMSE"] is not None
    }
    if not enough:
        return f"No slice has {_FEW_ROWS} test ratings, too few to compare them."
    names = "; ".join(
        f"{name} ({row['RMSE']:.3f} over {row['Ratings']:,} test ratings)"
        for name, row in list(enough.items())[:3]
    )
    sure = ", ".join(name for name, row in enough.items() if (row["RMSE from"] or 0.0) > overall)
    more = f" Their whole interval is above the overall RMSE: {sure}." if sure else ""
    return f"Largest RMSE, against {overall:.3f} overall: {names}.{more}"


def _slice_chart(feature: str, drawn: Sequence[Row], column: str, overall: float) -> Chart:
    ends, (_, form) = sorted(drawn, key=lambda row: row[column]), _DRAWN[column]
    least, most = (f"{shown(row[column], form)} ({row['Value']})" for row in (ends[0], ends[-1]))
    return Chart(
        f"slice-{feature}-{column}".replace(" ", "-").replace("@", "-").lower(),
        f"{column} by {feature}",
        f"From {least} to {most}; the dashed line is {shown(overall, form)} overall.",
        charts.intervals(drawn, "Value", column, (f"{column} from", f"{column} to"), overall),
    )


def _comparison(context: Context) -> Iterator[Block]:
    measured = read_json(context.sources.results).get("tables") or ()
    name = context.sources.dataset.get("name")
    tables = [table for table in measured if table.get("dataset", ML_100K) == name]
    if tables:
        where = "by make compare, not in this run, and kept in docs/results.json"
        yield Text("Comparison with other methods", f"Measured on {name} {where}.")
    for number, table in enumerate(tables):
        columns = table["columns"]
        caption = ": ".join(part for part in (table.get("title"), table.get("protocol")) if part)
        rows = [dict(zip(columns, row, strict=True)) for row in table["rows"]]
        yield Table(f"results-{number}", caption, rows, dict.fromkeys(columns, ".4f"))
