"""How two methods differ on one test: the difference of a metric, paired by user."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from benchmarks.compare.methods import MEASURED, Sums, metrics_of
from benchmarks.compare.protocols import FloatArray
from metrics import bootstrap


@dataclasses.dataclass(frozen=True)
class Difference:
    """By how much a metric is higher than another method's, with a 95 % interval.

    Attributes:
      value: the difference; of several seeds that of their mean.
      low: lower end of the interval.
      high: upper end.
    """

    value: float
    low: float
    high: float

    def describe(self) -> str:
        """Returns the difference with its interval, for a cell of a table.

        >>> Difference(0.0059, 0.0031, 0.0088).describe()
        '+0.0059 (+0.0031 to +0.0088)'
        """
        return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f})"

    def word(self, *, lower_is_better: bool) -> str:
        """Returns "better", "worse", or "within noise" where the interval holds 0."""
        if self.low <= 0.0 <= self.high:
            return "within noise"
        return "better" if (self.value < 0.0) is lower_is_better else "worse"


def paired(ours: Sequence[Sums], other: Sums, metric: str) -> Difference:
    """Returns how a metric of ours differs from another method's on the same rows.

    The interval is that of drawing users again: both are measured on the same draws, so what is
    hard for both does not widen it. It says nothing about other seeds of either.

    Args:
      ours: sums per user, once for each seed.
      other: those of the other method.
      metric: name of the metric.

    Raises:
      ValueError: the two were not measured on the same users.
    """
    key = _key(metric, other)
    if any(len(sums[key]) != len(other[key]) for sums in ours):
        raise ValueError(f"expected {metric} of the same users, received of different numbers")
    values, drawn = zip(*(_value_and_draws(sums, key, metric) for sums in ours), strict=True)
    theirs, their_draws = _value_and_draws(other, key, metric)
    low, high = bootstrap.interval(np.mean(drawn, axis=0) - their_draws)
    return Difference(float(np.mean(values) - theirs), low, high)


def _key(metric: str, sums: Sums) -> str:
    """Returns which sums a metric is made of."""
    # The longest name that fits: "new_user_10" begins like "new_user_1".
    fitting = [scenario for scenario in MEASURED if metric.startswith(f"{scenario.name}_")]
    scenario = max(fitting, key=lambda scenario: len(scenario.name))
    part = "ratings" if metric.startswith(f"{scenario.name}_rating") else "lists"
    key = f"{scenario.name}_{part}"
    if key not in sums:
        raise ValueError(f"expected sums for {metric}, received {', '.join(sums) or 'none'}")
    return key


def _value_and_draws(sums: Sums, key: str, metric: str) -> tuple[float, FloatArray]:
    value = metrics_of({key: sums[key].sum(axis=0)})[metric]
    return float(value), metrics_of({key: bootstrap.drawn_sums(sums[key])})[metric]
