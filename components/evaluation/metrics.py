"""The metrics of a recommender, computed by TFMA from one pass of sums.

The exported model's `serving_default` signature returns, per row, the predicted
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

from schema import features
from schema.predictions import (
    PREDICTED_RATING,
    RANK_ALL,
    RANK_POPULARITY,
    RANK_UNSEEN,
    RANKS,
    UNKNOWN_RANK,
)

TOP_KS: tuple[int, ...] = (1, 5, 10, 50, 100)
"""The cut-offs of `top_k_accuracy`."""

NDCG_K = 10

EXAMPLE_COUNT = "example_count"

ALMOST_ZERO = sys.float_info.min
"""What TFMA is given for a metric of exactly 0; readers turn it back.

TFMA divides by the baseline's value even for absolute change thresholds: after a
baseline of 0 every later model would compare as not a number, and never be blessed.
"""

_PREFIXES: tuple[str, ...] = ("", "unseen_", "popularity_")
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
    *(prefix + name for prefix in _PREFIXES for name in _RANK_METRICS),
)
METRIC_NAMES: tuple[str, ...] = (
    EXAMPLE_COUNT,
    *_MEANS,
    "r_squared",
    *(f"unseen_top_{k}_lift" for k in LIFT_KS),
)
"""Every metric of `RecommenderMetrics`, in the order in which people read them.

`r_squared` is the share of the ratings' variance that the model explains; 0 is what
predicting the mean reaches. `unseen_top_k_lift` is how many times as often as the most
popular unseen movies the model finds the true one: 1 is no better than popularity.
"""

Sums: TypeAlias = npt.NDArray[np.float64]
"""Sums over rows, `[SUMS]`: 1, squared error, absolute error, then hits, reciprocal ranks
and gains for each kind of rank, then rating and squared rating.
"""
SUMS = 1 + len(_MEANS) + 2


@dataclasses.dataclass(frozen=True)
class Rows:
    """Predictions for some rows beside the truth.

    Attributes:
      ratings: true ratings in stars, `[rows]`.
      predicted_ratings: predicted ratings in stars, `[rows]`, not yet clipped.
      rank_all: rank of the true movie among all movies, `[rows]`.
      rank_unseen: the same among the movies that the user has not rated in training.
      rank_popularity: the same by number of training ratings instead of the model's score.
    """

    ratings: npt.NDArray[np.float64]
    predicted_ratings: npt.NDArray[np.float64]
    rank_all: npt.NDArray[np.float64]
    rank_unseen: npt.NDArray[np.float64]
    rank_popularity: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        sizes = {field.name: getattr(self, field.name).shape for field in dataclasses.fields(self)}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"expected one value per row in each column, received shapes {sizes}")
        for name in RANKS:
            ranks = getattr(self, name)
            wrong = ranks[(ranks < 1) & (ranks != UNKNOWN_RANK)]
            if wrong.size:
                raise ValueError(
                    f"{name} must be 1 or more, or {UNKNOWN_RANK} for an unknown movie, "
                    f"received {wrong[0]:g}"
                )


def zero_sums() -> Sums:
    """Returns the sums over no rows."""
    return np.zeros(SUMS, dtype=np.float64)


def sum_rows(rows: Rows) -> Sums:
    """Returns the sums over `rows`, as `Sums` says.

    Predicted ratings are clipped to the scale of stars first: a model is never
    punished for confidence beyond what the scale can express, and serving clips too.
    """
    predicted = np.clip(rows.predicted_ratings, features.RATING_MIN, features.RATING_MAX)
    errors = predicted - rows.ratings
    return np.array(
        [
            errors.size,
            np.sum(errors**2),
            np.sum(np.abs(errors)),
            *_rank_sums(rows.rank_all),
            *_rank_sums(rows.rank_unseen),
            *_rank_sums(rows.rank_popularity),
            np.sum(rows.ratings),
            np.sum(rows.ratings**2),
        ],
        dtype=np.float64,
    )


def metrics_from_sums(sums: Sums) -> dict[str, float]:
    """Returns the metrics by name.

    Args:
      sums: sums over at least one row.

    Returns:
      `METRIC_NAMES` to values; NaN for every mean if there was no row.
    """
    count = float(sums[0])
    means = sums / count if count else np.full_like(sums, np.nan)
    metrics = {EXAMPLE_COUNT: count}
    metrics |= dict(zip(_MEANS, means[1:-2].tolist(), strict=True))
    label_mean, label_square_mean = means[-2:].tolist()
    variance = label_square_mean - label_mean**2
    squared_error = metrics["rmse"]
    metrics["rmse"] = float(np.sqrt(squared_error))
    # Where all ratings are alike there is nothing to explain; without rows nothing is known.
    metrics["r_squared"] = 0.0 if variance <= 0 else 1.0 - squared_error / variance
    for k in LIFT_KS:
        # No hit at all is taken for one: the lift stays finite.
        reference = max(metrics[f"popularity_top_{k}_accuracy"], 1.0 / max(count, 1.0))
        metrics[f"unseen_top_{k}_lift"] = metrics[f"unseen_top_{k}_accuracy"] / reference
    return metrics


def _rank_sums(ranks: npt.NDArray[np.float64]) -> list[float]:
    """Returns hits per k, reciprocal ranks and gains, summed over `ranks` (`[rows]`).

    With one relevant movie per row the ideal DCG is 1, so NDCG@k is 1 / log2(1 + rank)
    up to rank k and 0 beyond (Järvelin & Kekäläinen 2002).
    """
    known = ranks[ranks != UNKNOWN_RANK]
    gains = 1.0 / np.log2(1.0 + known[known <= NDCG_K])
    return [
        *(float(np.count_nonzero(known <= k)) for k in TOP_KS),
        float(np.sum(1.0 / known)),
        float(np.sum(gains)),
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
        return accumulator + sum_rows(_to_rows(element, self._model_name))

    def merge_accumulators(self, accumulators: Iterable[Sums]) -> Sums:
        return np.sum([zero_sums(), *accumulators], axis=0)

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
    missing = {PREDICTED_RATING, *RANKS} - set(predictions)
    if missing:
        raise ValueError(
            f"serving_default must return {sorted(missing)}, received {sorted(predictions)}"
        )
    return Rows(
        ratings=_flat(label),
        predicted_ratings=_flat(predictions[PREDICTED_RATING]),
        rank_all=_flat(predictions[RANK_ALL]),
        rank_unseen=_flat(predictions[RANK_UNSEEN]),
        rank_popularity=_flat(predictions[RANK_POPULARITY]),
    )


def _flat(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns `values` (a scalar, `[rows]` or `[rows, 1]`) as `[rows]` in double precision."""
    return np.asarray(values, dtype=np.float64).reshape(-1)
