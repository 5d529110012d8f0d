"""The Evaluator's configuration: metrics, slices and thresholds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf import wrappers_pb2

from components.evaluation import metrics
from components.evaluation.directions import CHANGE, HIGH, LEAKING_ROWS, LOW, LOWER_IS_BETTER
from components.evaluation.leak_check import Swapped
from schema.export_contract import EVALUATION_SIGNATURE
from schema.features import FeatureTable, Kind, names
from schema.scenarios import IN_SESSION, NEXT_VISIT, metric_name

SWAPPED = "swapped"
"""Key of the features that the leak check swaps, in the metric's configuration."""

SCALE, TIMES = "scale", "times"
"""Where it has the least and the greatest rating, if there are ratings, and whether there are
times."""

OWN = "own"
"""Where it has the metrics whose thresholds are the user's own (`Thresholds.own`)."""


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What a model must reach on the overall slice to be blessed.

    Metrics are those of the next visit unless the name says otherwise. A metric passes at the bound
    itself and within rounding of it (`metrics.ROUNDING`); an undefined one (NaN) misses it. None
    switches a threshold off. `..._worsening` thresholds compare with the latest blessed model, if
    there is one: the candidate is not blessed if the whole paired 95 % interval of the difference
    is beyond the allowed worsening. The interval covers the choice of test users, the allowed
    worsening the noise between two training seeds.

    Attributes:
      max_rating_rmse: highest RMSE, in stars.
      min_recall_at_10: lowest recall@10.
      min_recall_at_100: lowest recall@100.
      min_rating_r_squared: lowest share of the ratings' variance explained, below 1.
      min_recall_at_10_over_popularity: lowest upper end of the paired 95 % interval of recall@10
        minus popularity's; 0 refuses models that are worse than popularity beyond chance.
      min_recall_at_100_over_popularity: the same bound for recall@100.
      min_in_session_recall_at_10: lowest recall@10 in session, for split methods on which that is
        meaningful (`schema.scenarios.IN_SESSION.splits`).
      max_leaking_rows: highest number of leaking rows in the leak check's sample
        (`components.evaluation.leak_check`).
      rating_rmse_worsening: highest rise of RMSE over the baseline's, in stars.
      recall_at_10_worsening: largest fall of recall@10 below the baseline's.
      recall_at_100_worsening: largest fall of recall@100 below the baseline's.
      own_bounds: the user's own bounds by metric name, each in place of the one above; None
        switches it off.
      own_worsening: the user's own allowed worsening by metric name, in the same way.

    Raises:
      ValueError: a bound is out of range.
    """

    max_rating_rmse: float | None = None
    min_recall_at_10: float | None = None
    min_recall_at_100: float | None = None
    min_rating_r_squared: float | None = None
    min_recall_at_10_over_popularity: float | None = None
    min_recall_at_100_over_popularity: float | None = None
    min_in_session_recall_at_10: float | None = None
    max_leaking_rows: float | None = 0.0
    rating_rmse_worsening: float | None = 0.002
    recall_at_10_worsening: float | None = 0.004
    recall_at_100_worsening: float | None = 0.006
    own_bounds: tuple[tuple[str, float | None], ...] = ()
    own_worsening: tuple[tuple[str, float | None], ...] = ()

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
        for name in ("min_recall_at_10_over_popularity", "min_recall_at_100_over_popularity"):
            over = getattr(self, name)
            if over is not None and not -1 <= over <= 1:
                raise ValueError(f"{name} must be from -1 to 1, received {over}")
        rows = self.max_leaking_rows
        if rows is not None and not rows >= 0:
            raise ValueError(f"max_leaking_rows must be 0 or more, received {rows}")
        for name, allowed in self._worsenings().items():
            if allowed is not None and not allowed >= 0:
                raise ValueError(f"{name}_worsening must be 0 or more, received {allowed}")

    def value_bounds(self) -> dict[str, float]:
        """Returns the bounds by metric name."""
        next_visit = {
            "rating_rmse": self.max_rating_rmse,
            "recall_at_10": self.min_recall_at_10,
            "recall_at_100": self.min_recall_at_100,
            "rating_r_squared": self.min_rating_r_squared,
            f"recall_at_10_over_popularity{HIGH}": self.min_recall_at_10_over_popularity,
            f"recall_at_100_over_popularity{HIGH}": self.min_recall_at_100_over_popularity,
        }
        in_session = {"recall_at_10": self.min_in_session_recall_at_10}
        return _without_none(
            {
                **{metric_name(NEXT_VISIT, name): bound for name, bound in next_visit.items()},
                **{metric_name(IN_SESSION, name): bound for name, bound in in_session.items()},
                LEAKING_ROWS: self.max_leaking_rows,
                **dict(self.own_bounds),
            }
        )

    def allowed_worsening(self) -> dict[str, float]:
        """Returns the allowed worsening by metric name, each 0 or more."""
        shipped = {
            metric_name(NEXT_VISIT, name): value for name, value in self._worsenings().items()
        }
        return _without_none({**shipped, **dict(self.own_worsening)})

    def own(self) -> list[str]:
        """Returns the metrics whose bound, or with the suffix `CHANGE` whose change, is the
        user's own."""
        changes = [name + CHANGE for name, value in self.own_worsening if value is not None]
        return [*(name for name, value in self.own_bounds if value is not None), *changes]

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
      table: the features; metrics are sliced by its `sliced` ones.

    Without a baseline the Evaluator drops the change thresholds; with one it adds a second model
    named `tfma.BASELINE_KEY`.

    Raises:
      ValueError: every threshold is off. The Evaluator would then write no blessing at all. Or
        there is a threshold of a metric that the data cannot have.
    """
    bounded = [*thresholds.value_bounds(), *thresholds.allowed_worsening()]
    possible = metrics.measured(bounded, with_ratings=table.has_rating, with_times=table.has_time)
    if possible != tuple(bounded):
        raise ValueError(
            "expected thresholds of metrics that the data can have, received those of "
            f"{', '.join(name for name in bounded if name not in possible)}"
        )
    per_slice = _per_slice_thresholds(thresholds)
    if not per_slice:
        raise ValueError("expected at least one threshold: without any no model is ever blessed")
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                model_type=tfma.TF_GENERIC,
                signature_name=EVALUATION_SIGNATURE,
                label_key=next(iter(names(table.of_kind(Kind.RATING))), ""),
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
                            {
                                SWAPPED: Swapped.of(table).to_json(),
                                SCALE: list(table.scale[:2]) if table.has_rating else [],
                                TIMES: table.has_time,
                            }
                            | ({OWN: thresholds.own()} if thresholds.own() else {})
                        ),
                    )
                ],
                per_slice_thresholds=per_slice,
            )
        ],
        # TFMA's own example_count and loss metrics are not used.
        options=tfma.Options(include_default_metrics=wrappers_pb2.BoolValue(value=False)),
    )


def _per_slice_thresholds(
    thresholds: Thresholds,
) -> dict[str, tfma.PerSliceMetricThresholds]:
    """Returns the thresholds by metric, for the overall slice only.

    A plain threshold applies to every slice, so the smallest would decide the blessing.
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
    """Returns the features that the leak check swaps; None if the configuration has none."""
    found = _settings(eval_config).get(SWAPPED)
    return Swapped.from_json(found) if found else None


def not_measured(eval_config: tfma.EvalConfig) -> tuple[str, ...]:
    """Returns what the data does not have and what is not measured therefore, in words."""
    found = _settings(eval_config)
    words = {
        SCALE: "this data has no ratings: none are predicted, the verdict rests on the lists alone",
        TIMES: "this data has no times: nothing is measured within a session",
    }
    return tuple(text for name, text in words.items() if name in found and not found[name])


def _settings(eval_config: tfma.EvalConfig) -> dict[str, Any]:
    """Returns the configuration of our metric."""
    configs = [metric.config for spec in eval_config.metrics_specs for metric in spec.metrics]
    return {name: one for text in configs if text for name, one in json.loads(text).items()}


def own_thresholds(eval_config: tfma.EvalConfig) -> frozenset[str]:
    """Returns the metrics whose thresholds are the user's own, as `Thresholds.own`."""
    return frozenset(_settings(eval_config).get(OWN, ()))


def bounded_change(metric: str) -> str:
    """Returns the metric of the better end of a change's interval.

    If that end is beyond the allowed worsening, the whole interval is.
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
    """Returns a bound of `Thresholds` from the applied one, which is wider by the rounding."""
    return round(applied - _slack(metric), 9) + 0.0


def _without_none(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
