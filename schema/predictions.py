"""The names of what a model answers per row: the contract of the Trainer and the Evaluator."""

from __future__ import annotations

PREDICTED_RATING = "predicted_rating"
"""Stars, clipped to the scale."""

UNTIMED_RATING = "untimed_rating"
"""The same, asked after the training's end."""

RANK_ALL = "rank_all"
"""The movie's rank, from 1 on, among all movies; those seen in training come last."""

RANK_PLAIN = "rank_plain"
"""The same with those seen in training where their scores put them."""

RANK_UNSEEN = "rank_unseen"
"""The movie's rank among those the user has not rated in training."""

RANK_UNTIMED = "rank_untimed"
"""The same without the times of the history: what a user who comes back later gets."""

RANK_POPULARITY = "rank_popularity"
"""The same by number of training ratings, to compare with."""

RANKS: tuple[str, ...] = (
    RANK_ALL,
    RANK_PLAIN,
    RANK_UNSEEN,
    RANK_UNTIMED,
    RANK_POPULARITY,
)
"""Ranks among the outputs of the evaluation's signature."""

USER_KEY = "user_key"
"""A number that is the same for all rows of a user, to average over users."""

UNKNOWN_RANK = -1
"""The rank of a movie that is not in the model's catalogue: a miss."""
