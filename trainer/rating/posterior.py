"""Posterior draws of the Bayesian factorisation, and the states of users that follow from them.

Given one draw's movies, a user's bias and vector have a normal posterior in closed form: that of
a Bayesian linear regression (Bishop, Pattern Recognition and Machine Learning, 2006, equations
3.50 and 3.51). The prediction is the mean over draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import threadpoolctl

from trainer.rating.side_information import Array, Floats, HistoryFeatures, UserHistories


@dataclasses.dataclass(frozen=True)
class Draws:
    """Draws from the posterior of movies and of the users' prior.

    Attributes:
      movies: `[draws, movies, 1 + rank]` bias in stars, and vector.
      user_weights: `[draws, 1 + features, 1 + rank]`: the prior mean of a user's bias and vector
        is 1 and the side information times these.
      user_precision: `[draws, 1 + rank, 1 + rank]` their precision around it.
      noise_precision: `[draws, movies]` precision of one rating of the movie.
    """

    movies: Floats
    user_weights: Floats
    user_precision: Floats
    noise_precision: Floats

    def inputs(self) -> Floats:
        """Returns `[draws, movies, 1 + rank]`: what a user's bias and vector multiply."""
        found = self.movies.copy()
        found[:, :, 0] = 1.0
        return found

    def thinned(self, count: int) -> Draws:
        """Returns at least `count` of the draws, evenly spaced, or all where there are fewer."""
        step = max(1, len(self.movies) // count)
        names = [field.name for field in dataclasses.fields(Draws)]
        return Draws(**{name: getattr(self, name)[::step] for name in names})


def joined(chains: Sequence[Draws]) -> Draws:
    """Returns the draws of all chains as one."""
    names = [field.name for field in dataclasses.fields(Draws)]
    return Draws(**{name: np.concatenate([getattr(one, name) for one in chains]) for name in names})


@dataclasses.dataclass(frozen=True)
class BpmfFit:
    """The fitted factorisation; nothing in it belongs to one user.

    The side information of a user is, in this order: the principal components of the history, the
    number of ratings, and the profile.

    Attributes:
      mean: stars.
      draws: from the posterior.
      history_features: computes the part of the side information that follows from a history.
    """

    mean: float
    draws: Draws
    history_features: HistoryFeatures


def known_of_users(features: HistoryFeatures, histories: UserHistories, profiles: Floats) -> Array:
    """Returns `[users, features]`: the side information of users.

    Args:
      features: computes the part that follows from a history.
      histories: the histories.
      profiles: `[users, profile features]`.
    """
    return np.concatenate([features(histories), profiles], axis=1)


@threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
def user_states(
    fit: BpmfFit, histories: UserHistories, ratings: Floats, profiles: Floats
) -> Floats:
    """Returns `[users, draws, 1 + rank]`: the posterior means of bias and vector.

    BLAS is kept to one thread: the matrices are small, and several threads wait for each other
    longer than they compute.

    Args:
      fit: the fitted factorisation.
      histories: the histories, which need not be those that were fitted.
      ratings: `[events]` stars.
      profiles: `[users, profile features]`.
    """
    draws = fit.draws
    known = known_of_users(fit.history_features, histories, profiles)
    known = np.concatenate([np.ones((len(known), 1)), known], axis=1).astype(np.float32)
    # Precision · mean of the prior.
    evidence = np.matmul(known @ draws.user_weights, draws.user_precision)
    inputs = draws.inputs()
    found = np.empty((len(known), *evidence[:, 0].shape), np.float32)
    for user, (start, end) in enumerate(
        zip(histories.offsets[:-1].tolist(), histories.offsets[1:].tolist(), strict=True)
    ):
        movies = histories.movie[start:end]
        rated = inputs[:, movies]
        target = ratings[start:end] - np.float32(fit.mean) - draws.movies[:, movies, 0]
        weighted = rated.transpose(0, 2, 1) * draws.noise_precision[:, np.newaxis, movies]
        precision = weighted @ rated + draws.user_precision
        side = weighted @ target[:, :, np.newaxis] + evidence[:, user, :, np.newaxis]
        found[user] = np.linalg.solve(precision, side)[:, :, 0]
    return found
