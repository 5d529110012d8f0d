"""Whether known users are served by a strongly penalised EASE, chosen on validation.

Where the future differs from the past, as after a time T for everybody, weights that fit the past
closely find less than those of an EASE whose penalty grows so fast with a movie's ratings that
little but co-occurrence is left, beside popularity. On random splits and within each user's own
time it finds far less. So the data decides: EASE and the candidates for its place are fitted to the
ratings that are not validation, and the movies of validation are looked for in their lists.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import scipy.sparse

from metrics import ranking
from metrics.ranking import Bools, Floats, Ints
from trainer.config import LongTermConfig
from trainer.data.training_data import Interactions, TrainingData, rating_residuals
from trainer.retrieval.ease import ease_weights

_NDCG_AT, _RECALL_AT = 10, 100
_LEAST_USERS, _MOST_USERS = 30, 1_000
"""With fewer users in validation no choice is made; of more, so many are drawn."""
_SMALLEST = 1e-9
"""Keeps divisions defined where no movie of validation is found."""


class StrongEase(NamedTuple):
    """How users with long histories are served where the usual list is not the best.

    Attributes:
      popularity_penalty: what is added to EASE's λ for each rating of the movie.
      popularity_weight: weight of the standardised log popularity beside EASE's scores.
    """

    popularity_penalty: float
    popularity_weight: float


def choose(config: LongTermConfig, data: TrainingData) -> StrongEase | None:
    """Returns what finds most on validation, or None where that is the usual EASE.

    A candidate is compared with the usual EASE by the relative differences of NDCG@10 of users and
    of recall@100 of rows, summed. It must gain more than one standard error over users (the rule of
    Breiman et al., Classification and Regression Trees, 1984). Penalties are tried in ascending
    order for as long as they gain.

    Args:
      config: EASE's values, and the candidates.
      data: the fitted ratings, of which those of validation are marked.
    """
    held_out = _held_out(data)
    if held_out is None:
        return None
    usual = held_out.found(held_out.scores(config, config.ease_popularity_penalty))
    chosen, best = None, 0.0
    for penalty in sorted(config.strong_penalties):
        scores = held_out.scores(config, penalty)
        gains = {
            weight: _gain(held_out.found(scores + weight * held_out.popularity), usual)
            for weight in config.strong_popularity_weights
        }
        weight, (gain, error) = max(gains.items(), key=lambda item: item[1])
        if gain <= max(best, error):
            break
        chosen, best = StrongEase(penalty, weight), gain
    return chosen


@dataclasses.dataclass(frozen=True)
class _HeldOut:
    """What is fitted to, and what is to be found.

    Attributes:
      fitted: the ratings that are not validation.
      users: `[users]` rows of those who are measured.
      owners: `[rows]` the place in `users` of who rated a movie of validation.
      wanted: `[rows]` that movie.
      popularity: `[movies]` standardised log popularity.
      seen: `[users, movies]` what is not in the lists.
    """

    fitted: Interactions
    users: Ints
    owners: Ints
    wanted: Ints
    popularity: Floats
    seen: Bools

    def scores(self, config: LongTermConfig, popularity_penalty: float) -> Floats:
        """Returns `[users, movies]` EASE's standardised scores with another penalty."""
        fitted, movies = self.fitted, len(self.popularity)
        weights = ease_weights(
            fitted, movies, config.ease_penalty, popularity_penalty, config.ease_user_exponent
        )
        of_events = 1.0 + config.ease_rating_weight * rating_residuals(fitted)
        shape = len(fitted.offsets) - 1, movies
        histories = scipy.sparse.csr_matrix((of_events, fitted.movie_row, fitted.offsets), shape)
        return _standardised(np.asarray(histories[self.users] @ weights))

    def found(self, scores: Floats) -> Floats:
        """Returns `[users, 2]` NDCG@10 of each user's list and hits among its first 100."""
        ranks = ranking.filtered_ranks(scores, self.seen, self.owners, self.wanted)
        hits = np.bincount(self.owners, ranking.hits(ranks, _RECALL_AT))
        return np.stack([ranking.ndcg_per_user(ranks, self.owners, _NDCG_AT), hits], axis=1)


def _held_out(data: TrainingData) -> _HeldOut | None:
    """Returns what is measured on; None where too few known users have ratings of validation."""
    held, movies = data.interactions, len(data.catalogue.ids)
    fitted = held.where(~held.validation)
    known = held.validation & (np.diff(fitted.offsets)[held.user_row] > 0)
    users = np.unique(held.user_row[known])
    if len(users) < _LEAST_USERS:
        return None
    users = users[np.unique(np.linspace(0, len(users) - 1, _MOST_USERS).astype(np.int64))]
    known &= np.isin(held.user_row, users)
    own = np.isin(fitted.user_row, users)
    counts = np.bincount(fitted.movie_row, minlength=movies)
    return _HeldOut(
        fitted,
        users,
        np.searchsorted(users, held.user_row[known]),
        held.movie_row[known].astype(np.int64),
        _standardised(np.log1p(counts)[np.newaxis])[0],
        ranking.seen_matrix(
            np.searchsorted(users, fitted.user_row[own]),
            fitted.movie_row[own],
            (len(users), movies),
        ),
    )


def _gain(found: Floats, usual: Floats) -> tuple[float, float]:
    """Returns the mean over users of what is found more, relative to `usual`, and its error."""
    means = np.maximum(usual.mean(axis=0), _SMALLEST)
    gains = ((found - usual) / means).sum(axis=1)
    return float(gains.mean()), float(gains.std() / math.sqrt(len(gains)))


def _standardised(scores: Floats) -> Floats:
    deviation = np.maximum(scores.std(axis=1, keepdims=True), _SMALLEST)
    found: Floats = (scores - scores.mean(axis=1, keepdims=True)) / deviation
    return found
