"""What the Evaluator computes, for which slices, and what a model must reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import tensorflow_model_analysis as tfma
from google.protobuf import wrappers_pb2

from components.evaluation import metrics
from components.evaluation.directions import LOWER_IS_BETTER
from schema.export_contract import EVALUATION_SIGNATURE
from schema.features import FeatureTable


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What a model must reach on the overall slice to be blessed.

    The bounds themselves are allowed, and what is beyond them by rounding alone
    (`metrics.ROUNDING`). A metric that is undefined (NaN) misses its bound. None switches a
    threshold off. The `worsening` thresholds compare with the latest blessed model and apply
    only when there is one. They must be wider than the noise between two seeds.

    Attributes:
      max_rmse: highest RMSE, in stars.
      min_unseen_top_10_accuracy: lowest share of rows in the top 10 among unseen movies.
      min_unseen_top_100_accuracy: the same for the top 100.
      min_r_squared: lowest share of the ratings' variance explained, below 1.
      min_unseen_top_100_lift: lowest ratio of the top-100 share to that of popularity.
      max_above_ceiling: how far the top-10 share may be above what a query that depends on
        the user alone can reach; more is taken for a leak.
      rmse_worsening: how far RMSE may rise above the baseline's, in stars.
      unseen_top_10_worsening: how far the share may fall below the baseline's.
      unseen_top_100_worsening: the same for the top 100.
      min_untimed_top_10_accuracy: as min_unseen_top_10_accuracy, asked without times.
      min_untimed_top_100_accuracy: the same for the top 100.

    Raises:
      ValueError: a bound is out of range.
    """

    max_rmse: float | None = 0.92
    min_unseen_top_10_accuracy: float | None = 0.17
    min_unseen_top_100_accuracy: float | None = 0.62
    min_r_squared: float | None = None
    min_unseen_top_100_lift: float | None = None
    max_above_ceiling: float | None = 0.0
    rmse_worsening: float | None = 0.005
    unseen_top_10_worsening: float | None = 0.01
    unseen_top_100_worsening: float | None = 0.01
    min_untimed_top_10_accuracy: float | None = None
    min_untimed_top_100_accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.max_rmse is not None and not self.max_rmse > 0:
            raise ValueError(f"max_rmse must be above 0, received {self.max_rmse}")
        for name in (
            "min_unseen_top_10_accuracy",
            "min_unseen_top_100_accuracy",
            "min_untimed_top_10_accuracy",
            "min_untimed_top_100_accuracy",
        ):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1, received {share}")
        if self.min_r_squared is not None and not self.min_r_squared < 1:
            raise ValueError(f"min_r_squared must be below 1, received {self.min_r_squared}")
        lift = self.min_unseen_top_100_lift
        if lift is not None and not lift >= 0:
            raise ValueError(f"min_unseen_top_100_lift must be 0 or more, received {lift}")
        for name, allowed in self._worsenings().items():
            if allowed is not None and not allowed >= 0:
                raise ValueError(f"{name} must be 0 or more, received {allowed}")

    def value_bounds(self) -> dict[str, float]:
        """Returns the bound each metric must keep to, by metric name."""
        return _without_none(
            {
                "rmse": self.max_rmse,
                "unseen_top_10_accuracy": self.min_unseen_top_10_accuracy,
                "unseen_top_100_accuracy": self.min_unseen_top_100_accuracy,
                "untimed_top_10_accuracy": self.min_untimed_top_10_accuracy,
                "untimed_top_100_accuracy": self.min_untimed_top_100_accuracy,
                "r_squared": self.min_r_squared,
                "unseen_top_100_lift": self.min_unseen_top_100_lift,
                metrics.ABOVE_CEILING: self.max_above_ceiling,
            }
        )

    def allowed_worsening(self) -> dict[str, float]:
        """Returns how much worse than the baseline each metric may be, never negative."""
        return _without_none(
            {
                "rmse": self.rmse_worsening,
                "unseen_top_10_accuracy": self.unseen_top_10_worsening,
                "unseen_top_100_accuracy": self.unseen_top_100_worsening,
            }
        )

    def _worsenings(self) -> dict[str, float | None]:
        return {
            "rmse_worsening": self.rmse_worsening,
            "unseen_top_10_worsening": self.unseen_top_10_worsening,
            "unseen_top_100_worsening": self.unseen_top_100_worsening,
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
    return {
        metric: tfma.PerSliceMetricThresholds(
            thresholds=[
                tfma.PerSliceMetricThreshold(
                    slicing_specs=[tfma.SlicingSpec()],
                    threshold=_metric_threshold(metric, bounds.get(metric), worsening.get(metric)),
                )
            ]
        )
        for metric in metrics.METRIC_NAMES
        if metric in bounds or metric in worsening
    }


def _metric_threshold(
    metric: str, bound: float | None, worsening: float | None
) -> tfma.MetricThreshold:
    """Returns the bound and the allowed worsening in the metric's own direction."""
    lower_is_better = metric in LOWER_IS_BETTER
    slack = metrics.ROUNDING if lower_is_better else -metrics.ROUNDING
    threshold = tfma.MetricThreshold()
    if bound is not None:
        side = "upper_bound" if lower_is_better else "lower_bound"
        getattr(threshold.value_threshold, side).value = bound + slack
    if worsening is not None:
        # TFMA compares candidate minus baseline: at most +x, or at least -x.
        threshold.change_threshold.direction = (
            tfma.MetricDirection.LOWER_IS_BETTER
            if lower_is_better
            else tfma.MetricDirection.HIGHER_IS_BETTER
        )
        threshold.change_threshold.absolute.value = slack + (
            worsening if lower_is_better else -worsening
        )
    return threshold


def stated_bound(metric: str, applied: float) -> float:
    """Returns the bound as it was given from the one that is applied, wider by the rounding."""
    slack = metrics.ROUNDING if metric in LOWER_IS_BETTER else -metrics.ROUNDING
    # What is finer than the rounding is no part of a bound.
    return round(applied - slack, 9) + 0.0


def _without_none(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
