"""What the Evaluator computes, for which slices, and what a model must reach."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import tensorflow_model_analysis as tfma
from google.protobuf import wrappers_pb2

from components.evaluation import metrics
from components.evaluation.directions import CHANGE, HIGH, LEAKING_ROWS, LOW, LOWER_IS_BETTER
from components.evaluation.leak_check import Swapped
from schema.export_contract import EVALUATION_SIGNATURE
from schema.features import FeatureTable
from schema.scenarios import IN_SESSION, NEXT_VISIT, metric_name

SWAPPED = "swapped"
"""Where the configuration of the metrics has the features that the leak check swaps."""

SCALE = "scale"
"""Where it has the least and the greatest rating."""


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What a model must reach on the overall slice to be blessed.

    All but one are about the next visit, which is what people meet. The bounds themselves are
    allowed, and what is beyond them by rounding alone (`metrics.ROUNDING`). A metric that is
    undefined (NaN) misses its bound. None switches a threshold off. The `worsening` thresholds
    compare with the latest blessed model and apply only when there is one: a model is refused
    where the paired 95 % interval of the difference lies wholly beyond what is allowed. That
    interval says how sure the difference is on these test rows; what is allowed stands for the
    noise between two seeds of the training.

    Attributes:
      max_rating_rmse: highest RMSE, in stars.
      min_recall_at_10: lowest share of rows whose movie is among the first ten.
      min_recall_at_100: the same for the first hundred.
      min_rating_r_squared: lowest share of the ratings' variance explained, below 1.
      min_recall_at_100_over_popularity: what the upper end of the paired 95 % interval of
        recall_at_100 minus that of popularity must reach; 0 refuses a model only where it is
        below popularity beyond chance.
      min_in_session_recall_at_10: lowest share in the session, where that is honest
        (`schema.scenarios.IN_SESSION.splits`).
      max_leaking_rows: how many rows of the leak check's sample may have an answer that moved
        (`components.evaluation.leak_check`).
      rating_rmse_worsening: how far RMSE may rise above the baseline's, in stars.
      recall_at_10_worsening: how far the share may fall below the baseline's.
      recall_at_100_worsening: the same for the first hundred.

    Raises:
      ValueError: a bound is out of range.
    """

    max_rating_rmse: float | None = None
    min_recall_at_10: float | None = None
    min_recall_at_100: float | None = None
    min_rating_r_squared: float | None = None
    min_recall_at_100_over_popularity: float | None = None
    min_in_session_recall_at_10: float | None = None
    max_leaking_rows: float | None = 0.0
    rating_rmse_worsening: float | None = 0.002
    recall_at_10_worsening: float | None = 0.004
    recall_at_100_worsening: float | None = 0.006

    def __post_init__(self) -> None:
        if self.max_rating_rmse is not None and not self.max_rating_rmse > 0:
            raise ValueError(f"max_rating_rmse must be above 0, received {self.max_rating_rmse}")
        for name in ("min_recall_at_10", "min_recall_at_100", "min_in_session_recall_at_10"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1, received {share}")
        explained = self.min_rating_r_squared
        if explained is not None and not explained < 1:
            raise ValueError(f"min_rating_r_squared must be below 1, received {explained}")
        over = self.min_recall_at_100_over_popularity
        if over is not None and not -1 <= over <= 1:
            raise ValueError(
                f"min_recall_at_100_over_popularity must be from -1 to 1, received {over}"
            )
        rows = self.max_leaking_rows
        if rows is not None and not rows >= 0:
            raise ValueError(f"max_leaking_rows must be 0 or more, received {rows}")
        for name, allowed in self._worsenings().items():
            if allowed is not None and not allowed >= 0:
                raise ValueError(f"{name}_worsening must be 0 or more, received {allowed}")

    def value_bounds(self) -> dict[str, float]:
        """Returns the bound each metric must keep to, by metric name."""
        next_visit = {
            "rating_rmse": self.max_rating_rmse,
            "recall_at_10": self.min_recall_at_10,
            "recall_at_100": self.min_recall_at_100,
            "rating_r_squared": self.min_rating_r_squared,
            f"recall_at_100_over_popularity{HIGH}": self.min_recall_at_100_over_popularity,
        }
        in_session = {"recall_at_10": self.min_in_session_recall_at_10}
        return _without_none(
            {
                **{metric_name(NEXT_VISIT, name): bound for name, bound in next_visit.items()},
                **{metric_name(IN_SESSION, name): bound for name, bound in in_session.items()},
                LEAKING_ROWS: self.max_leaking_rows,
            }
        )

    def allowed_worsening(self) -> dict[str, float]:
        """Returns how much worse than the baseline each metric may be, never negative."""
        return _without_none(
            {metric_name(NEXT_VISIT, name): value for name, value in self._worsenings().items()}
        )

    def _worsenings(self) -> dict[str, float | None]:
        return {
            "rating_rmse": self.rating_rmse_worsening,
            "recall_at_10": self.recall_at_10_worsening,
            "recall_at_100": self.recall_at_100_worsening,
        }


def build_eval_config(thresholds: Thresholds, table: FeatureTable) -> tfma.EvalConfig:
    """Returns the Evaluator's configuration.

    Args:
      thresholds: what a model must reach.
      table: the features; its `sliced` ones are those that results are sliced by.

    Without a baseline the Evaluator drops the change thresholds by itself; with one it
    adds a second model under the name `tfma.BASELINE_KEY`.

    Raises:
      ValueError: every threshold is off. The Evaluator then writes no blessing at all.
    """
    per_slice = _per_slice_thresholds(thresholds)
    if not per_slice:
        raise ValueError("expected at least one threshold: without any no model is ever blessed")
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                model_type=tfma.TF_GENERIC,
                signature_name=EVALUATION_SIGNATURE,
                label_key=table.rating.name,
            )
        ],
        slicing_specs=[
            tfma.SlicingSpec(),
            *(tfma.SlicingSpec(feature_keys=[feature.name]) for feature in table.sliced),
        ],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(
                        class_name=metrics.RecommenderMetrics.__name__,
                        module=metrics.RecommenderMetrics.__module__,
                        config=json.dumps(
                            {SWAPPED: Swapped.of(table).to_json(), SCALE: list(table.scale[:2])}
                        ),
                    )
                ],
                per_slice_thresholds=per_slice,
            )
        ],
        # TFMA adds its own example_count and loss metrics unless told not to.
        options=tfma.Options(include_default_metrics=wrappers_pb2.BoolValue(value=False)),
    )


def _per_slice_thresholds(
    thresholds: Thresholds,
) -> dict[str, tfma.PerSliceMetricThresholds]:
    """Returns the thresholds by metric, for the overall slice only.

    A plain threshold applies to every slice: the smallest would withhold the blessing.
    """
    bounds, worsening = thresholds.value_bounds(), thresholds.allowed_worsening()
    found = {
        metric: _value_threshold(metric, bounds[metric])
        for metric in metrics.METRIC_NAMES
        if metric in bounds
    }
    found |= {
        bounded_change(metric): _change_threshold(metric, worsening[metric])
        for metric in metrics.METRIC_NAMES
        if metric in worsening
    }
    return {
        name: tfma.PerSliceMetricThresholds(
            thresholds=[
                tfma.PerSliceMetricThreshold(
                    slicing_specs=[tfma.SlicingSpec()], threshold=threshold
                )
            ]
        )
        for name, threshold in found.items()
    }


def swapped_features(eval_config: tfma.EvalConfig) -> Swapped | None:
    """Returns what the leak check swaps, from an Evaluator's configuration; None if it has none."""
    for spec in eval_config.metrics_specs:
        for metric in spec.metrics:
            values = json.loads(metric.config) if metric.config else {}
            if values.get(SWAPPED):
                return Swapped.from_json(values[SWAPPED])
    return None


def bounded_change(metric: str) -> str:
    """Returns which end of a change's interval is bounded: the better one.

    Where even that is beyond what is allowed, the whole interval is.
    """
    return metric + CHANGE + (LOW if metric in LOWER_IS_BETTER else HIGH)


def _value_threshold(metric: str, bound: float) -> tfma.MetricThreshold:
    """Returns the bound in the metric's own direction."""
    threshold = tfma.MetricThreshold()
    side = "upper_bound" if metric in LOWER_IS_BETTER else "lower_bound"
    getattr(threshold.value_threshold, side).value = bound + _slack(metric)
    return threshold


def _change_threshold(metric: str, worsening: float) -> tfma.MetricThreshold:
    """Returns the allowed worsening in the metric's own direction.

    TFMA compares candidate minus baseline: at most +x, or at least -x.
    """
    threshold = tfma.MetricThreshold()
    lower_is_better = metric in LOWER_IS_BETTER
    threshold.change_threshold.direction = (
        tfma.MetricDirection.LOWER_IS_BETTER
        if lower_is_better
        else tfma.MetricDirection.HIGHER_IS_BETTER
    )
    threshold.change_threshold.absolute.value = _slack(metric) + (
        worsening if lower_is_better else -worsening
    )
    return threshold


def _slack(metric: str) -> float:
    return metrics.ROUNDING if metric in LOWER_IS_BETTER else -metrics.ROUNDING


def stated_bound(metric: str, applied: float) -> float:
    """Returns the bound as it was given from the one that is applied, wider by the rounding."""
    # What is finer than the rounding is no part of a bound.
    return round(applied - _slack(metric), 9) + 0.0


def _without_none(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
