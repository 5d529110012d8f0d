"""Which way is better, for each metric; light enough for who only prints them."""

from __future__ import annotations

LOWER_IS_BETTER: frozenset[str] = frozenset(
    {"rmse", "mae", "untimed_rmse", "unseen_top_10_above_ceiling"}
)
"""The metrics of which less is better; of all others more is."""
