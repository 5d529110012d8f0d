"""What is said about metrics where they are shown; light enough for who only prints them."""

from __future__ import annotations

from schema.scenarios import SCENARIOS, metric_name

LOW, HIGH = "_low", "_high"
"""After a metric's name: the ends of its 95 % interval."""

CHANGE = "_change"
"""After a metric's name: the candidate's minus the baseline's."""

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
"""How many rows were asked again with features of other movies, and whose answers moved by it."""

MIN_USERS = 5
"""Of fewer users there are no intervals: one user drawn again is the same user."""

LOWER_IS_BETTER: frozenset[str] = frozenset(
    {LEAKING_ROWS}
    | {
        metric_name(scenario, metric)
        for scenario in SCENARIOS
        for metric in ("rating_rmse", "rating_mae", "rating_calibration_error")
    }
)
"""The metrics of which less is better. Of biases and of counts neither less nor more is."""


def word_of_change(metric: str, low: float | None, high: float | None) -> str:
    """Returns what the paired interval of a change says: better, worse or within noise.

    >>> word_of_change("next_visit_rating_rmse", -0.02, -0.01)
    'better'
    >>> word_of_change("next_visit_recall_at_10", -0.02, 0.01)
    'within noise'
    """
    if low is None or high is None or not (low > 0 or high < 0):
        return "within noise"
    return "better" if (high < 0) == (metric in LOWER_IS_BETTER) else "worse"
