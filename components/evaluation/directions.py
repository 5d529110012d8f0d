"""What is said about metrics where they are shown; light enough for who only prints them."""

from __future__ import annotations

from schema.scenarios import SCENARIOS, metric_name

LOW, HIGH = "_low", "_high"
"""After a metric's name: the ends of its 95 % interval."""

MIN_USERS = 5
"""Of fewer users there are no intervals: one user drawn again is the same user."""

LOWER_IS_BETTER: frozenset[str] = frozenset(
    metric_name(scenario, metric)
    for scenario in SCENARIOS
    for metric in ("rating_rmse", "rating_mae", "rating_calibration_error")
)
"""The metrics of which less is better; of all others but `NEITHER` more is."""

NEITHER: frozenset[str] = frozenset(
    ["example_count", "user_count"]
    + [
        metric_name(scenario, metric)
        for scenario in SCENARIOS
        for metric in ("rating_bias", "popularity_bias_at_10")
    ]
)
"""The metrics of which neither more nor less is better."""
