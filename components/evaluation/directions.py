"""Names and directions of metrics, importable without TensorFlow."""

from __future__ import annotations

from schema.scenarios import SCENARIOS, metric_name

LOW, HIGH = "_low", "_high"
"""Suffixes of a metric's name: the ends of its 95 % interval."""

CHANGE = "_change"
"""Suffix of a metric's name: the candidate's minus the baseline's."""

CHANGES: tuple[str, ...] = tuple(
    metric_name(scenario, metric)
    for scenario in SCENARIOS
    for metric in (
        "recall_at_10",
        "recall_at_100",
        *(["user_ndcg_at_10"] if scenario.one_list_per_user else []),
        "rating_rmse",
        "rating_mae",
    )
)
"""The metrics whose change from the baseline is computed, with a paired interval."""

LEAK_CHECKED_ROWS, LEAKING_ROWS = "leak_checked_rows", "leaking_rows"
"""Rows evaluated again with features of other movies, and those whose outputs then differ."""

MIN_USERS = 5
"""Fewest users for which intervals are computed: a bootstrap needs several to resample."""

LOWER_IS_BETTER: frozenset[str] = frozenset(
    {LEAKING_ROWS}
    | {
        metric_name(scenario, metric)
        for scenario in SCENARIOS
        for metric in ("rating_rmse", "rating_mae", "rating_calibration_error")
    }
)
"""The metrics of which lower is better. Biases and counts have no direction."""


def word_of_change(metric: str, low: float | None, high: float | None) -> str:
    """Returns "better", "worse" or, if the paired interval contains 0, "within noise".

    >>> word_of_change("next_visit_rating_rmse", -0.02, -0.01)
    'better'
    >>> word_of_change("next_visit_recall_at_10", -0.02, 0.01)
    'within noise'
    """
    if low is None or high is None or not (low > 0 or high < 0):
        return "within noise"
    return "better" if (high < 0) == (metric in LOWER_IS_BETTER) else "worse"
