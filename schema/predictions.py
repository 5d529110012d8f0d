"""The names of what a model answers per row: the contract of the Trainer and the Evaluator."""

from __future__ import annotations

PREDICTED_RATING = "predicted_rating"
"""Stars, clipped to the scale."""

RANK_ALL = "rank_all"
"""The movie's rank, from 1 on, among all movies."""

RANK_UNSEEN = "rank_unseen"
"""The movie's rank among those the user has not rated in training."""

RANK_POPULARITY = "rank_popularity"
"""The same by number of training ratings, to compare with."""

RANKS: tuple[str, ...] = (RANK_ALL, RANK_UNSEEN, RANK_POPULARITY)
"""Ranks among the outputs of the `serving_default` signature."""

UNKNOWN_RANK = -1
"""The rank of a movie that is not in the model's catalogue: a miss."""
