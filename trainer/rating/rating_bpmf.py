"""Bayesian probabilistic matrix factorisation (BPMF) of the ratings, by Gibbs sampling.

stars = mean + user + movie + effects of time + user vector · movie vector + noise, as in
Salakhutdinov & Mnih (Bayesian Probabilistic Matrix Factorization using Markov Chain Monte
Carlo, 2008), with three additions:

- the prior mean of a vector is a linear function of what is known of the user or movie
  (Simm et al., Macau, 2015): profile, genres, and which movies were rated at all, whatever the
  stars, as principal components (Rendle, Zhang, Koren, On the Difficulty of Evaluating
  Baselines, 2019, found such implicit feedback to matter);
- effects of (user, day), (user, moment) and (movie, month): people rate in moods, and what was
  rated within the same seconds is rated alike (Koren, Collaborative Filtering with Temporal
  Dynamics, 2009);
- each user has a noise level of their own.

Predictions are posterior means: averages over samples. Many samples of low-rank products have
a mean of higher rank; it is cut to the leading singular vectors, so that what is served is two
small tables and a dot product. A query outside of the training's days and moments has no
effects of time. Everything is vectorised over ratings; a sweep costs about
ratings · (rank + 1)² additions.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROW = 1 << 34
"""Keys of effects are row · ROW + time slice; slices stay below it for 5,000 years."""


@dataclasses.dataclass(frozen=True)
class TimeEffect:
    """Effects of a user or movie in a slice of time.

    Attributes:
      of_user: whether the rows are users; movies otherwise.
      seconds: length of a slice.
      keys: `[effects]` ascending, row · 2^34 + time // seconds.
      values: `[effects]` stars, posterior means.
    """

    of_user: bool
    seconds: int
    keys: Ints
    values: npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class BpmfFit:
    """Posterior means, to be looked up and multiplied.

    Attributes:
      mean: stars.
      user_bias: `[users]` stars.
      movie_bias: `[movies]` stars.
      user_vectors: `[users, dim]`.
      movie_vectors: `[movies, dim]`.
      effects: effects of time.
      noise: standard deviation of a rating that the fit leaves, in stars.
    """

    mean: float
    user_bias: npt.NDArray[np.float32]
    movie_bias: npt.NDArray[np.float32]
    user_vectors: npt.NDArray[np.float32]
    movie_vectors: npt.NDArray[np.float32]
    effects: tuple[TimeEffect, ...]
    noise: float


def predict(fit: BpmfFit, user: Ints, movie: Ints, timestamp: Ints | None) -> Array:
    """Returns predicted stars `[n]`, not clipped; None leaves out the effects of time.

    The reference of what the exported model computes.
    """
    found = fit.mean + fit.user_bias[user] + fit.movie_bias[movie].astype(np.float64)
    found += np.sum(fit.user_vectors[user] * fit.movie_vectors[movie], axis=1)
    if timestamp is None:
        return found
    for effect in fit.effects:
        keys = effect_keys(user if effect.of_user else movie, timestamp, effect.seconds)
        place = np.minimum(np.searchsorted(effect.keys, keys), len(effect.keys) - 1)
        found += np.where(effect.keys[place] == keys, effect.values[place], 0.0)
    return found


def effect_keys(rows: Ints, timestamp: Ints, seconds: int) -> Ints:
    """Returns the keys of effects, `[n]`."""
    keys: Ints = rows * ROW + timestamp // seconds
    return keys
