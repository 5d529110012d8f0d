"""The Evaluator's verdict as one object, with its reasons in words.

TFMA writes it as records of metrics by slice and model, failed thresholds and the applied
configuration, and as an empty file that means blessed.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.writers import eval_config_writer

from components.evaluation import metrics
from components.evaluation.config import (
    bounded_change,
    not_measured,
    own_thresholds,
    stated_bound,
)
from components.evaluation.directions import (
    CHANGE,
    CHANGES,
    HIGH,
    LEAKING_ROWS,
    LOW,
    LOWER_IS_BETTER,
    MIN_USERS,
    word_of_change,
)

BLESSED_FILE = "BLESSED"
"""Empty file that the Evaluator writes for a blessed model."""

ThresholdKind: TypeAlias = Literal["value", "change"]


@dataclasses.dataclass(frozen=True)
class ThresholdResult:
    """One threshold on the overall slice and its result.

    Attributes:
      metric: name of the metric.
      kind: "value" bounds the metric itself, "change" its difference from the baseline; a change
        threshold is missed if the whole 95 % interval of the difference is beyond the bound.
      bound: the last allowed value, or the last allowed candidate minus baseline.
      value: the candidate's; None if it was not computed.
      baseline: the baseline's; None for a value threshold.
      passed: TFMA's result.
      low: lower end of the paired interval of the difference; None for a value threshold.
      high: its upper end.
      own: whether the bound is the user's own.
    """

    metric: str
    kind: ThresholdKind
    bound: float
    value: float | None
    baseline: float | None
    passed: bool
    low: float | None = None
    high: float | None = None
    own: bool = False

    def limit(self) -> float | None:
        """Returns the last allowed value of the metric; None without a baseline's value."""
        if self.kind == "value":
            return self.bound
        return None if self.baseline is None else self.baseline + self.bound

    def describe(self) -> str:
        """Returns the threshold and its result as a sentence without a full stop."""
        limit = self.limit()
        if self.value is None or math.isnan(self.value):
            return _undefined(self.metric)
        if limit is None or math.isnan(limit):
            return f"{self.metric} of the blessed model could not be computed"
        if self.kind == "change":
            return self._describe_change()
        if self.metric == LEAKING_ROWS and not self.passed:
            return (
                f"{LEAKING_ROWS}: on {self.value:,.0f} rows of a sample an output changed when the "
                "row's movie features, rating or time were replaced by another row's: the model "
                "reads the movie to be predicted, which no served query has"
            )
        lower_is_better = self.metric in LOWER_IS_BETTER
        value, shown_limit = _apart(self.value, limit)
        if not self.passed:
            side = "above" if lower_is_better else "below"
        elif abs(self.value - limit) <= metrics.ROUNDING:
            side = "at"
        else:
            side = "within"
        found = f"{self.metric} {value} is {side} the allowed {shown_limit}"
        if self.own:
            found += " (your own threshold)"
        if not self.passed and self.metric.endswith(metrics.OVER_POPULARITY + HIGH):
            return f"{found}: the most popular movies are found more often, beyond chance"
        return found

    def _describe_change(self) -> str:
        if self.value is None or self.baseline is None or self.low is None or self.high is None:
            return f"{self.metric} beside the blessed model's could not be computed"
        value, baseline = _apart(self.value, self.baseline)
        word = word_of_change(self.metric, self.low, self.high)
        beyond = "" if self.passed else f", beyond the allowed {self.bound:+g}"
        return (
            f"{self.metric} {value} is {word} beside the blessed model's {baseline}: changed by "
            f"{self.value - self.baseline:+.4f}, 95 % interval {self.low:+.4f} to "
            f"{self.high:+.4f}{beyond}"
        )


@dataclasses.dataclass(frozen=True)
class Change:
    """The difference of a metric from the blessed model's, on the same test rows.

    Attributes:
      metric: name of the metric.
      change: the candidate's minus the baseline's.
      low: lower end of the paired 95 % interval.
      high: its upper end.
      word: "better", "worse" or "within noise", as the interval says.
    """

    metric: str
    change: float
    low: float
    high: float
    word: str


@dataclasses.dataclass(frozen=True)
class SliceMetrics:
    """The candidate's metrics on one slice.

    Attributes:
      feature: the slicing feature.
      value: its value, as text.
      metrics: value by metric name.
    """

    feature: str
    value: str
    metrics: Mapping[str, float]


NO_BASELINE = "there is no earlier model to compare with, so no threshold on changes was checked"
"""What a verdict says of a model without a baseline."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a model was blessed, and why.

    Attributes:
      blessed: whether the model may be pushed.
      has_baseline: whether there was a blessed model to compare with. Without one `thresholds`
        has no change thresholds.
      metrics: the candidate's metrics over all rows, by name; empty without rows.
      baseline_metrics: the baseline's, by name; empty without a baseline.
      slices: the candidate's metrics by slice, sorted by feature and value.
      thresholds: every applied threshold, all on the overall slice.
      changes: differences from the baseline over all rows; empty without one.
      left_out: what is not measured because of what the data lacks, in words.
    """

    blessed: bool
    has_baseline: bool
    metrics: Mapping[str, float]
    baseline_metrics: Mapping[str, float]
    slices: tuple[SliceMetrics, ...]
    thresholds: tuple[ThresholdResult, ...]
    changes: tuple[Change, ...] = ()
    left_out: tuple[str, ...] = ()

    def failed(self) -> tuple[ThresholdResult, ...]:
        """Returns the thresholds that were missed."""
        return tuple(threshold for threshold in self.thresholds if not threshold.passed)

    def reasons(self, comparable: bool = True) -> tuple[str, ...]:
        """Returns why the model was not blessed, and what was not applied or not measured.

        Args:
          comparable: False if the blessed model cannot be evaluated any more.
        """
        lines = [threshold.describe() for threshold in self.failed()]
        if not self.metrics:
            lines = ["no test rows were evaluated"]
        elif self.metrics.get(metrics.EXAMPLE_COUNT) == 0:
            lines = ["no test row is of a user with training ratings, so there are no metrics"]
        elif not self.blessed and not lines:
            lines = ["the Evaluator did not bless the model although every threshold was met"]
        if not comparable:
            lines.append(
                "the model blessed before is not comparable, since an earlier release "
                "evaluated other outputs, so no threshold on changes was checked"
            )
        elif not self.has_baseline:
            lines.append(NO_BASELINE)
        return (*lines, *self.left_out)

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON types; NaN and infinity become null."""
        fields = _json_safe(dataclasses.asdict(self))
        return {**fields, "reasons": list(self.reasons())}


def read_verdict(evaluation_uri: str | Path, blessing_uri: str | Path) -> Verdict:
    """Returns the verdict of a finished Evaluator execution.

    Args:
      evaluation_uri: folder of its `evaluation` output.
      blessing_uri: folder of its `blessing` output.

    Raises:
      FileNotFoundError: the Evaluator has not written a result there.
    """
    config = _applied_config(Path(evaluation_uri))
    has_baseline = any(spec.is_baseline for spec in config.model_specs)
    candidate = tfma.CANDIDATE_KEY if has_baseline else ""
    by_slice = _load_metrics(evaluation_uri, candidate)
    baseline_metrics = (
        _load_metrics(evaluation_uri, tfma.BASELINE_KEY).get((), {}) if has_baseline else {}
    )
    overall = by_slice.get((), {})
    trivial = trivial_metrics(overall)
    changes = _changes(overall, trivial) if has_baseline else ()
    return Verdict(
        blessed=(Path(blessing_uri) / BLESSED_FILE).exists(),
        has_baseline=has_baseline,
        metrics=_without_changes(overall, trivial),
        baseline_metrics=_without_changes(baseline_metrics, trivial),
        slices=_slice_metrics(by_slice, trivial),
        thresholds=tuple(
            result
            for result in _threshold_results(
                config, overall, baseline_metrics, changes, _failures(evaluation_uri)
            )
            if result.own or result.metric not in trivial
        ),
        changes=changes,
        left_out=(*not_measured(config), *_of_few_movies(overall, trivial)),
    )


_AT_K = re.compile(r"_at_(\d+)")


def trivial_metrics(overall: Mapping[str, float]) -> frozenset[str]:
    """Returns the metrics at a k of at least as many movies as there are left to rank.

    Any list finds everything there. NDCG is none of them: it depends on the order.

    Args:
      overall: the metrics over all rows; without the number of movies left none is trivial.
    """
    left = overall.get(metrics.MOVIES_TO_RANK, math.inf)
    at_k = {name: _AT_K.search(name) for name in metrics.METRIC_NAMES if "ndcg" not in name}
    return frozenset(name for name, found in at_k.items() if found and int(found[1]) >= left > 0)


def _of_few_movies(overall: Mapping[str, float], trivial: frozenset[str]) -> Iterator[str]:
    if trivial:
        longest = f"{overall[metrics.MOVIES_TO_RANK]:.0f}"
        yield (
            f"no user's list can be longer than {longest}, so recall@k is 1 for any model if k is "
            f"{longest} or more: it is left out there, with its thresholds"
        )


def _without_changes(found: Mapping[str, float], trivial: frozenset[str]) -> dict[str, float]:
    known = (name for name in metrics.METRIC_NAMES if name in found)
    return {name: found[name] for name in known if name not in trivial}


def _changes(overall: Mapping[str, float], trivial: frozenset[str]) -> tuple[Change, ...]:
    found = []
    for metric in CHANGES:
        if metric in trivial:
            continue
        names = [metric + CHANGE + end for end in ("", LOW, HIGH)]
        if not all(name in overall for name in names):
            continue
        change, low, high = (overall[name] for name in names)
        sure = overall.get(metrics.USER_COUNT, 0) >= MIN_USERS
        word = word_of_change(metric, low, high) if sure else word_of_change(metric, None, None)
        found.append(Change(metric, change, low, high, word))
    return tuple(found)


def _applied_config(evaluation: Path) -> tfma.EvalConfig:
    """Returns the applied configuration: with a baseline, or without change thresholds."""
    if not (evaluation / "eval_config.json").exists():
        raise FileNotFoundError(
            f"expected an evaluation in {evaluation}, found no eval_config.json: "
            "the Evaluator has not finished there"
        )
    config, *_ = eval_config_writer.load_eval_run(str(evaluation))
    return config


SliceKey: TypeAlias = tuple[tuple[str, Any], ...]


def _load_metrics(evaluation_uri: str | Path, model_name: str) -> dict[SliceKey, dict[str, float]]:
    """Returns one model's metrics by slice key and name."""
    result = tfma.load_eval_result(str(evaluation_uri), model_name=model_name)
    return {
        tuple(slice_key): _plain_metrics(by_output)
        for slice_key, by_output in result.slicing_metrics
    }


def _plain_metrics(by_output: Mapping[str, Any]) -> dict[str, float]:
    """Returns our metrics out of TFMA's {output: {sub key: {name: {type: value}}}}."""
    values = by_output[""][""]
    known = (*metrics.METRIC_NAMES, *metrics.CHANGE_NAMES)
    found = {name: float(values[name]["doubleValue"]) for name in known if name in values}
    return {name: 0.0 if v == metrics.ALMOST_ZERO else v for name, v in found.items()}


def _slice_metrics(
    by_slice: Mapping[SliceKey, Mapping[str, float]], trivial: frozenset[str]
) -> tuple[SliceMetrics, ...]:
    named = (
        (
            " and ".join(str(feature) for feature, _ in key),
            " and ".join(str(value) for _, value in key),
            _without_changes(values, trivial),
        )
        for key, values in sorted(by_slice.items(), key=lambda item: repr(item[0]))
        if key
    )
    return tuple(SliceMetrics(feature, value, values) for feature, value, values in named)


FailedThreshold: TypeAlias = tuple[str, ThresholdKind]


def _failures(evaluation_uri: str | Path) -> frozenset[FailedThreshold] | None:
    """Returns the missed thresholds; None if the overall slice was never seen."""
    result = tfma.load_validation_result(str(evaluation_uri))
    if result.missing_slices:
        return None
    return frozenset(
        (failure.metric_key.name, "change" if failure.metric_key.is_diff else "value")
        for per_slice in result.metric_validations_per_slice
        for failure in per_slice.failures
    )


def _threshold_results(
    config: tfma.EvalConfig,
    overall: Mapping[str, float],
    baseline: Mapping[str, float],
    changes: tuple[Change, ...],
    failures: frozenset[FailedThreshold] | None,
) -> tuple[ThresholdResult, ...]:
    """Returns every threshold in `config`, in the order of the metrics."""
    by_metric = {change.metric: change for change in changes}
    found, own = [], own_thresholds(config)
    for metric, kind, bound in _bounds(config):
        change = by_metric.get(metric) if kind == "change" else None
        checked = bounded_change(metric) if kind == "change" else metric
        found.append(
            ThresholdResult(
                metric=metric,
                kind=kind,
                bound=bound,
                value=overall.get(metric),
                baseline=baseline.get(metric) if kind == "change" else None,
                passed=failures is not None and (checked, kind) not in failures,
                low=change.low if change else None,
                high=change.high if change else None,
                own=(metric + CHANGE if kind == "change" else metric) in own,
            )
        )
    return tuple(found)


def _bounds(config: tfma.EvalConfig) -> Iterator[tuple[str, ThresholdKind, float]]:
    for spec in config.metrics_specs:
        for metric in metrics.METRIC_NAMES:
            for threshold in _thresholds_of(spec, metric):
                for side in ("lower_bound", "upper_bound"):
                    if threshold.value_threshold.HasField(side):
                        applied = getattr(threshold.value_threshold, side).value
                        yield metric, "value", stated_bound(metric, applied)
            for threshold in _thresholds_of(spec, bounded_change(metric)):
                if threshold.change_threshold.HasField("absolute"):
                    applied = threshold.change_threshold.absolute.value
                    yield metric, "change", stated_bound(metric, applied)


def _thresholds_of(spec: tfma.MetricsSpec, name: str) -> Iterator[tfma.MetricThreshold]:
    # Reading a missing key of a protobuf map would add it.
    if name in spec.per_slice_thresholds:
        for entry in spec.per_slice_thresholds[name].thresholds:
            yield entry.threshold


def _undefined(metric: str) -> str:
    if metric.endswith("_rating_r_squared"):
        return f"{metric} is undefined: all test ratings are the same"
    return f"{metric} could not be computed"


def _apart(value: float, limit: float) -> tuple[str, str]:
    """Returns both numbers with four decimals, or as many as show their difference."""
    for decimals in range(4, 12):
        shown = f"{value:.{decimals}f}", f"{limit:.{decimals}f}"
        if value == limit or shown[0] != shown[1]:
            return shown
    return repr(value), repr(limit)


def _json_safe(value: Any) -> Any:  # noqa: ANN401 - any tree of plain data
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(item) for item in value]
    return value
