"""The metrics of a recommender, computed by TFMA from one pass of sums.

The exported model's signature for the evaluation returns, per row, the predicted
rating and the 1-based rank of the true movie among all movies and among those the
user has not rated in training (-1: the movie is unknown to the model, a miss).
Every metric here is a ratio of sums over rows, so one accumulator of sums serves
all of them; metrics are derived once per slice, when the sums are complete.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow_model_analysis as tfma

from metrics import legacy, ranking, rating
from schema import features
from schema.export_contract import EVALUATION_SIGNATURE
from schema.predictions import (
    PREDICTED_RATING,
    RANK_ALL,
    RANK_PLAIN,
    RANK_POPULARITY,
    RANK_UNSEEN,
    RANK_UNTIMED,
    RANKS,
    UNKNOWN_RANK,
    UNTIMED_RATING,
    USER_KEY,
)

TOP_KS: tuple[int, ...] = (1, 5, 10, 50, 100)
"""The cut-offs of `top_k_accuracy`."""

NDCG_K = 10

EXAMPLE_COUNT = "example_count"

ALMOST_ZERO = sys.float_info.min
"""What TFMA is given for a metric of exactly 0; readers turn it back.

TFMA divides by the baseline's value even for absolute change thresholds: after a
baseline of 0 every later model would compare as not a number, and never be blessed.
Thresholds are wider by `ROUNDING`, so that it keeps to a bound of 0.
"""

ROUNDING = 1e-9
"""How far a metric may be beyond a threshold by rounding alone.

Metrics are quotients of double sums: n additions are off by n·ε of the sum at most (Higham
2002, 4.2), which is 1e-9 for four million test rows. A bound given in decimals and the
difference of two metrics are rounded too: 0.16 - 0.17 is below -0.01.
"""

_PREFIXES: Mapping[str, str] = {
    RANK_ALL: "",
    RANK_PLAIN: "plain_",
    RANK_UNSEEN: "unseen_",
    RANK_UNTIMED: "untimed_",
    RANK_POPULARITY: "popularity_",
}
"""Of the metrics over each of `RANKS`."""

_RANK_METRICS: tuple[str, ...] = (
    *(f"top_{k}_accuracy" for k in TOP_KS),
    "mrr",
    f"ndcg_at_{NDCG_K}",
)

LIFT_KS: tuple[int, ...] = (10, 100)
"""The cut-offs at which the model is compared with popularity."""

_MEANS: tuple[str, ...] = (
    "rmse",
    "mae",
    "untimed_rmse",
    *(_PREFIXES[kind] + name for kind in RANKS for name in _RANK_METRICS),
)

_USER_KINDS: tuple[str, ...] = (RANK_UNSEEN, RANK_UNTIMED)
"""The ranks that are averaged over users as well."""

_USER_METRICS: tuple[str, ...] = (f"user_recall_at_{NDCG_K}", f"user_ndcg_at_{NDCG_K}")

CEILING = f"user_only_top_{NDCG_K}_ceiling"
ABOVE_CEILING = f"unseen_top_{NDCG_K}_above_ceiling"

METRIC_NAMES: tuple[str, ...] = (
    EXAMPLE_COUNT,
    *_MEANS,
    "r_squared",
    *(f"unseen_top_{k}_lift" for k in LIFT_KS),
    *(_PREFIXES[kind] + name for kind in _USER_KINDS for name in _USER_METRICS),
    CEILING,
    ABOVE_CEILING,
)
"""Every metric of `RecommenderMetrics`, in the order in which people read them.

Prefixes say which rank is meant: none, among all movies with those seen in training last;
`plain_`, the same with the seen ones where their scores put them; `unseen_`, among the
movies not seen in training; `untimed_`, the same asked without the times of the history;
`popularity_`, by popularity alone.

`r_squared` is the share of the ratings' variance that the model explains; 0 is what
predicting the mean reaches. It is undefined (NaN) where all ratings are the same.
`unseen_top_k_lift` is how many times as often as the most popular unseen movies the model
finds the true one: 1 is no better than popularity.

`user_recall_at_10` and `user_ndcg_at_10` are means over users of the share of a user's test
movies among the 10 recommended, and of DCG@10 over that of the best possible order
(Järvelin & Kekäläinen 2002). `user_only_top_10_ceiling` is the highest top-10 accuracy of
ten recommendations that depend on the user alone: the sum of min(10, test rows of the user)
over all rows. A top-10 accuracy above it (`unseen_top_10_above_ceiling` > 0) means that
queries knew more than the user: suspect a leak.
"""

Floats: TypeAlias = npt.NDArray[np.float64]
SUMS = 1 + len(_MEANS) + 2
"""Sums over rows: 1, squared error, absolute error, squared error of the untimed rating, then
hits, reciprocal ranks and gains for each kind of rank, then rating and squared rating.
"""
USER_SUMS = 1 + 2 * len(_USER_KINDS)
"""Sums over a user's rows: 1, then hits and gains in the top 10 for each kind of rank."""


@dataclasses.dataclass(frozen=True)
class Sums:
    """What metrics are derived from.

    Attributes:
      rows: `[SUMS]` sums over all rows.
      users: `[users]` int64, ascending.
      by_user: `[users, USER_SUMS]` sums over each user's rows.
    """

    rows: Floats
    users: npt.NDArray[np.int64]
    by_user: Floats


@dataclasses.dataclass(frozen=True)
class Rows:
    """Predictions for some rows beside the truth.

    Attributes:
      users: a number for each user, `[rows]`.
      ratings: true ratings in stars, `[rows]`.
      predicted_ratings: predicted ratings in stars, `[rows]`, not yet clipped.
      untimed_ratings: the same asked after the training's end.
      ranks: ranks of the true movie `[rows]`, for each name in `RANKS`.
    """

    users: npt.NDArray[np.int64]
    ratings: Floats
    predicted_ratings: Floats
    untimed_ratings: Floats
    ranks: Mapping[str, Floats]

    def __post_init__(self) -> None:
        columns = {
            "users": self.users,
            "ratings": self.ratings,
            "predicted_ratings": self.predicted_ratings,
            "untimed_ratings": self.untimed_ratings,
            **self.ranks,
        }
        sizes = {name: values.shape for name, values in columns.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"expected one value per row in each column, received shapes {sizes}")
        for name, ranks in self.ranks.items():
            wrong = ranks[(ranks < 1) & (ranks != UNKNOWN_RANK)]
            if wrong.size:
                raise ValueError(
                    f"{name} must be 1 or more, or {UNKNOWN_RANK} for an unknown movie, "
                    f"received {wrong[0]:g}"
                )


def zero_sums() -> Sums:
    """Returns the sums over no rows."""
    return Sums(np.zeros(SUMS), np.zeros(0, np.int64), np.zeros([0, USER_SUMS]))


def sum_rows(rows: Rows) -> Sums:
    """Returns the sums over `rows`.

    Predicted ratings are clipped to the scale of stars first: a model is never
    punished for confidence beyond what the scale can express, and serving clips too.
    """
    errors = _clipped(rows.predicted_ratings) - rows.ratings
    untimed_errors = _clipped(rows.untimed_ratings) - rows.ratings
    sums = [
        errors.size,
        np.sum(errors**2),
        np.sum(np.abs(errors)),
        np.sum(untimed_errors**2),
        *(value for kind in RANKS for value in _rank_sums(rows.ranks[kind])),
        np.sum(rows.ratings),
        np.sum(rows.ratings**2),
    ]
    each = [np.ones(errors.size)]
    for kind in _USER_KINDS:
        ranks = rows.ranks[kind]
        each += [
            ranking.hits(ranks, NDCG_K).astype(np.float64),
            ranking.discounted_gains(ranks, NDCG_K),
        ]
    users, by_user = _by_user(rows.users, np.stack(each, axis=1))
    return Sums(np.array(sums, np.float64), users, by_user)


def add_sums(several: Iterable[Sums]) -> Sums:
    """Returns the sums over the rows of all."""
    parts = [zero_sums(), *several]
    users, by_user = _by_user(
        np.concatenate([part.users for part in parts]),
        np.concatenate([part.by_user for part in parts]),
    )
    return Sums(np.sum([part.rows for part in parts], axis=0), users, by_user)


def _by_user(users: npt.NDArray[np.int64], values: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Adds up `[rows, columns]` values by user."""
    keys, place = np.unique(users, return_inverse=True)
    totals = [np.bincount(place, column, len(keys)) for column in values.T]
    return keys, np.stack(totals, axis=1)


def _clipped(stars: Floats) -> Floats:
    return rating.clip(stars, (features.RATING_MIN, features.RATING_MAX))


def metrics_from_sums(sums: Sums) -> dict[str, float]:
    """Returns the metrics by name.

    Args:
      sums: sums over at least one row.

    Returns:
      `METRIC_NAMES` to values; NaN for every mean if there was no row, and for what is
      undefined.
    """
    count = float(sums.rows[0])
    means = sums.rows / count if count else np.full_like(sums.rows, np.nan)
    metrics = {EXAMPLE_COUNT: count}
    metrics |= dict(zip(_MEANS, means[1:-2].tolist(), strict=True))
    variance = _variance(*sums.rows[[0, -2, -1]].tolist())
    squared_error = metrics["rmse"]
    metrics["rmse"] = float(np.sqrt(squared_error))
    metrics["untimed_rmse"] = float(np.sqrt(metrics["untimed_rmse"]))
    metrics["r_squared"] = 1.0 - squared_error / variance if variance else float("nan")
    for k in LIFT_KS:
        # No hit at all is taken for one: the lift stays finite.
        reference = max(metrics[f"popularity_top_{k}_accuracy"], 1.0 / max(count, 1.0))
        metrics[f"unseen_top_{k}_lift"] = metrics[f"unseen_top_{k}_accuracy"] / reference
    metrics |= _user_metrics(sums.by_user)
    metrics[ABOVE_CEILING] = metrics[f"unseen_top_{NDCG_K}_accuracy"] - metrics[CEILING]
    return {name: metrics[name] for name in METRIC_NAMES}


def _variance(count: float, total: float, squares: float) -> float:
    """Returns the population variance from sums over `count` values; 0 if all are equal.

    The difference of a mean square and a squared mean is not exact: both are rounded before
    they cancel. `count`·Σx² − (Σx)² is, for whole and half stars up to 2⁵¹. Of other values,
    what is no larger than the rounding of the sums is taken for 0.
    """
    scaled = count * squares
    spread = scaled - total**2
    exact = (2 * total).is_integer() and (4 * squares).is_integer() and scaled < 2**51
    smallest = 0.0 if exact else count * float(np.finfo(np.float64).eps) * scaled
    return spread / count**2 if spread > smallest else 0.0


def _user_metrics(by_user: Floats) -> dict[str, float]:
    if not len(by_user):
        names = [_PREFIXES[kind] + name for kind in _USER_KINDS for name in _USER_METRICS]
        return dict.fromkeys([*names, CEILING], float("nan"))
    counts = by_user[:, 0].astype(np.int64)
    metrics = {}
    for position, kind in enumerate(_USER_KINDS):
        hits, gains = by_user[:, 1 + 2 * position], by_user[:, 2 + 2 * position]
        values = (
            legacy.uncapped_user_recall(hits, by_user[:, 0]),
            ranking.user_ndcg_from_sums(gains, counts, NDCG_K),
        )
        for name, value in zip(_USER_METRICS, values, strict=True):
            metrics[_PREFIXES[kind] + name] = value
    metrics[CEILING] = ranking.user_only_ceiling(counts, NDCG_K)
    return metrics


def _rank_sums(ranks: Floats) -> list[float]:
    """Returns hits per k, reciprocal ranks and gains, summed over `ranks` (`[rows]`)."""
    return [
        *(float(np.count_nonzero(ranking.hits(ranks, k))) for k in TOP_KS),
        float(np.sum(ranking.reciprocal_ranks(ranks))),
        float(np.sum(ranking.discounted_gains(ranks, NDCG_K))),
    ]


class RecommenderMetrics(tfma.metrics.Metric):
    """All of `METRIC_NAMES` from one combiner.

    A TFMA metric class is usually one metric; this one yields many keys because each
    further combiner is paid for again in every slice. Thresholds therefore go by metric
    name into `MetricsSpec.per_slice_thresholds` (see `components.evaluation.config`).
    """

    def __init__(self, name: str = "recommender_metrics") -> None:
        super().__init__(_computations, name=name)


def _computations(
    name: str, model_names: list[str] | None = None
) -> list[tfma.metrics.MetricComputation]:
    """Returns one computation per model; the arguments are those TFMA passes."""
    del name  # the keys carry the metrics' own names
    return [
        tfma.metrics.MetricComputation(
            keys=[_metric_key(metric, model_name) for metric in METRIC_NAMES],
            preprocessors=None,
            combiner=_SumsCombiner(model_name),
        )
        for model_name in model_names or [""]
    ]


def _metric_key(metric: str, model_name: str) -> tfma.metrics.MetricKey:
    # TFMA looks thresholds given by metric name up with example_weighted=None.
    return tfma.metrics.MetricKey(name=metric, model_name=model_name, example_weighted=None)


class _SumsCombiner(beam.CombineFn):  # type: ignore[misc, unused-ignore]
    """Adds up `Sums` over inputs that hold one row or many."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name

    def create_accumulator(self) -> Sums:
        return zero_sums()

    def add_input(self, accumulator: Sums, element: tfma.metrics.StandardMetricInputs) -> Sums:
        return add_sums([accumulator, sum_rows(_to_rows(element, self._model_name))])

    def merge_accumulators(self, accumulators: Iterable[Sums]) -> Sums:
        return add_sums(accumulators)

    def extract_output(self, accumulator: Sums) -> dict[tfma.metrics.MetricKey, float]:
        values = metrics_from_sums(accumulator)
        return {
            _metric_key(name, self._model_name): value or ALMOST_ZERO
            for name, value in values.items()
        }


def _to_rows(element: tfma.metrics.StandardMetricInputs, model_name: str) -> Rows:
    """Returns the rows in a metric input of TFMA.

    Raises:
      ValueError: an output of the signature or the label is missing.
    """
    # With a baseline, both labels and predictions nest under the model's name.
    predictions = element.get_predictions(model_name)
    label = element.get_labels(model_name)
    if label is None:
        raise ValueError("expected a label on every row to evaluate, received none")
    if not isinstance(predictions, Mapping):
        raise ValueError(f"expected a dict of outputs, received {type(predictions).__name__}")
    missing = {PREDICTED_RATING, UNTIMED_RATING, USER_KEY, *RANKS} - set(predictions)
    if missing:
        raise ValueError(
            f"{EVALUATION_SIGNATURE} must return {sorted(missing)}, received {sorted(predictions)}"
        )
    return Rows(
        users=np.asarray(predictions[USER_KEY], np.int64).reshape(-1),
        ratings=_flat(label),
        predicted_ratings=_flat(predictions[PREDICTED_RATING]),
        untimed_ratings=_flat(predictions[UNTIMED_RATING]),
        ranks={kind: _flat(predictions[kind]) for kind in RANKS},
    )


def _flat(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns `values` (a scalar, `[rows]` or `[rows, 1]`) as `[rows]` in double precision."""
    return np.asarray(values, dtype=np.float64).reshape(-1)
