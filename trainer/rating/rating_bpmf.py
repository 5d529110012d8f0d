"""A Bayesian factorisation of the ratings, by Gibbs sampling.

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
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.sparse
import threadpoolctl

from trainer.config import BayesConfig

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
class BayesFit:
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


def predict(fit: BayesFit, user: Ints, movie: Ints, timestamp: Ints | None) -> Array:
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


class _Entities:
    """Users or movies: bias and vector of each, with the prior they share.

    Args:
      known: `[entities, features]` what is known of each.
      rated: `[entities]` whether there are ratings; the others keep the prior's mean.
      rank: width of the vectors.
      config: prior.
      rng: source of all randomness.
    """

    def __init__(
        self,
        known: Array,
        rated: npt.NDArray[np.bool_],
        rank: int,
        config: BayesConfig,
        rng: np.random.Generator,
    ) -> None:
        count, width = len(known), rank + 1
        self._known = np.concatenate([np.ones((count, 1)), known], axis=1)
        self._penalty = np.full(self._known.shape[1], config.side_penalty)
        self._penalty[0] = 0.1
        self._rated, self._rng = rated, rng
        self._freedom = width + 2
        self._scale = np.eye(width) * config.prior_variance * self._freedom
        self._precision = np.eye(width) * 5.0
        self._prior = np.zeros((count, width))
        self._pairs = np.triu_indices(width)
        self.weights = np.zeros((count, width))
        self.weights[:, 1:] = rng.normal(0.0, 0.1, (count, rank))

    @property
    def bias(self) -> Array:
        """`[entities]` stars."""
        return self.weights[:, 0]

    @property
    def vectors(self) -> Array:
        """`[entities, rank]`."""
        return self.weights[:, 1:]

    def sample_prior(self) -> None:
        """Draws the prior's mean and precision, given the weights (normal-Wishart)."""
        known, weights, rng = self._known[self._rated], self.weights[self._rated], self._rng
        gram = known.T @ known + np.diag(self._penalty)
        mean = np.linalg.solve(gram, known.T @ weights)
        scale = self._scale + weights.T @ weights - mean.T @ gram @ mean
        self._precision = _wishart(
            np.linalg.inv((scale + scale.T) / 2), self._freedom + len(weights), rng
        )
        spread = np.linalg.solve(np.linalg.cholesky(gram).T, rng.standard_normal(mean.shape))
        drawn = mean + spread @ np.linalg.inv(np.linalg.cholesky(self._precision))
        self._prior = self._known @ drawn

    def sample_weights(
        self,
        ratings: scipy.sparse.csr_matrix,
        residuals: scipy.sparse.csr_matrix,
        others: _Entities,
        own_precision: Array | float,
        other_precision: Array,
    ) -> None:
        """Draws all biases and vectors, given those of the other side.

        Args:
          ratings: `[entities, others]` ones where there is a rating.
          residuals: the same with the stars that bias and vector have to explain.
          others: the other side.
          own_precision: `[entities]` or one precision of the ratings, by entity ...
          other_precision: ... times `[others]` by other.
        """
        width = self.weights.shape[1]
        inputs = np.concatenate([np.ones((len(others.vectors), 1)), others.vectors], axis=1)
        one, two = self._pairs
        squares = inputs[:, one] * inputs[:, two] * other_precision[:, np.newaxis]
        own = np.broadcast_to(own_precision, len(self.weights))[:, np.newaxis]
        precision = np.empty((len(self.weights), width, width))
        precision[:, one, two] = precision[:, two, one] = (ratings @ squares) * own
        precision += self._precision
        evidence = (residuals @ (inputs * other_precision[:, np.newaxis])) * own
        evidence += self._prior @ self._precision
        root = np.linalg.cholesky(precision)
        noise = self._rng.standard_normal((len(self.weights), width, 1))
        half = np.linalg.solve(root, evidence[:, :, np.newaxis])
        self.weights = np.linalg.solve(root.transpose(0, 2, 1), half + noise)[:, :, 0]
        self.weights[~self._rated] = self._prior[~self._rated]


class _Effects:
    """One kind of effects of time: independent normal variables with a common variance."""

    def __init__(self, rows: Ints, timestamp: Ints, seconds: int) -> None:
        self.keys, self._place = np.unique(
            effect_keys(rows, timestamp, seconds), return_inverse=True
        )
        self._values = np.zeros(len(self.keys))
        self._precision = 20.0
        self.total = np.zeros(len(self.keys))

    def sample(self, rest: Array, precision: Array, rng: np.random.Generator) -> Array:
        """Draws the effects, given what is left of the ratings; returns each rating's change."""
        number = len(self.keys)
        rest = rest + self._values[self._place]
        posterior = self._precision + np.bincount(self._place, precision, number)
        mean = np.bincount(self._place, precision * rest, number) / posterior
        drawn = mean + rng.standard_normal(number) / np.sqrt(posterior)
        change: Array = (drawn - self._values)[self._place]
        self._values = drawn
        self._precision = rng.gamma(2 + number / 2) / (0.1 + 0.5 * drawn @ drawn)
        return change

    def keep(self) -> None:
        """Adds the present draw to the sum of samples."""
        self.total += self._values


@threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
def fit(
    user: Ints,
    movie: Ints,
    rating: npt.NDArray[np.float32],
    timestamp: Ints,
    user_known: npt.NDArray[np.float32],
    movie_known: npt.NDArray[np.float32],
    config: BayesConfig,
    seed: int,
    on_sweep: Callable[[int, int], None] | None = None,
) -> BayesFit:
    """Samples from the posterior and averages.

    Args:
      user: `[ratings]` rows in `user_known`.
      movie: `[ratings]` rows in `movie_known`.
      rating: `[ratings]` stars.
      timestamp: `[ratings]` unix seconds.
      user_known: `[users, features]`; users without ratings are predicted from these.
      movie_known: `[movies, features]`, likewise.
      config: rank, samples, priors.
      seed: of all randomness.
      on_sweep: called after each sweep with its number and the number of sweeps.

    BLAS is kept to one thread: the matrices are small, and several threads wait for each other
    longer than they compute (ten times the CPU seconds where other processes are busy). The result
    then does not depend on the number of cores either.
    """
    rng = np.random.default_rng(seed)
    users, movies, ratings = len(user_known), len(movie_known), len(rating)
    burn_in, samples = config.sweeps(ratings)
    mean = float(rating.mean())
    stars = rating.astype(np.float64) - mean
    user_rated = np.bincount(user, minlength=users) > 0
    movie_rated = np.bincount(movie, minlength=movies) > 0
    left = _Entities(user_known.astype(np.float64), user_rated, config.rank, config, rng)
    right = _Entities(movie_known.astype(np.float64), movie_rated, config.rank, config, rng)
    kinds = [(True, seconds) for seconds in config.user_slices]
    kinds += [(False, seconds) for seconds in config.movie_slices]
    effects = [_Effects(user if own else movie, timestamp, length) for own, length in kinds]
    timed = np.zeros(ratings)
    by_user = _Layout(user, movie, (users, movies))
    by_movie = _Layout(movie, user, (movies, users))
    noise_precision, user_precision = 1.4, np.ones(users)
    per_user = np.bincount(user, minlength=users)
    bias_totals = np.zeros(users), np.zeros(movies)
    vectors: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []
    for sweep in range(1, burn_in + samples + 1):
        left.sample_prior()
        left.sample_weights(
            by_user.ones,
            by_user.values(stars - timed - right.bias[movie]),
            right,
            noise_precision * user_precision,
            np.ones(movies),
        )
        right.sample_prior()
        right.sample_weights(
            by_movie.ones,
            by_movie.values(stars - timed - left.bias[user]),
            left,
            noise_precision,
            user_precision,
        )
        products = np.einsum("nk,nk->n", left.vectors[user], right.vectors[movie])
        rest = stars - timed - products - left.bias[user] - right.bias[movie]
        precision = noise_precision * user_precision[user]
        for effect in effects:
            change = effect.sample(rest, precision, rng)
            timed += change
            rest -= change
        squared = rest**2
        noise_precision = rng.gamma(1 + ratings / 2) / (
            1 + 0.5 * float(user_precision[user] @ squared)
        )
        doubt = config.noise_freedom / 2
        user_precision = rng.gamma(doubt + per_user / 2) / (
            doubt + 0.5 * noise_precision * np.bincount(user, squared, users)
        )
        if sweep > burn_in:
            bias_totals[0][:] += left.bias
            bias_totals[1][:] += right.bias
            vectors.append((left.vectors.astype(np.float32), right.vectors.astype(np.float32)))
            for effect in effects:
                effect.keep()
        if on_sweep:
            on_sweep(sweep, burn_in + samples)
    user_vectors, movie_vectors = mean_product(vectors, config.served_rank)
    return BayesFit(
        mean=mean,
        user_bias=(bias_totals[0] / samples).astype(np.float32),
        movie_bias=(bias_totals[1] / samples).astype(np.float32),
        user_vectors=user_vectors,
        movie_vectors=movie_vectors,
        effects=tuple(
            TimeEffect(own, seconds, one.keys, (one.total / samples).astype(np.float32))
            for (own, seconds), one in zip(kinds, effects, strict=True)
        ),
        noise=float(1.0 / np.sqrt(noise_precision)),
    )


class _Layout:
    """The ratings as a sparse matrix whose values change while its places do not."""

    def __init__(self, rows: Ints, columns: Ints, shape: tuple[int, int]) -> None:
        numbers = np.arange(1, len(rows) + 1, dtype=np.float64)
        self._matrix = scipy.sparse.csr_matrix((numbers, (rows, columns)), shape)
        self._order = self._matrix.data.astype(np.int64) - 1
        self.ones = self._with(np.ones(len(self._order)))

    def values(self, values: Array) -> scipy.sparse.csr_matrix:
        """Returns the matrix with `[ratings]` values at the ratings' places."""
        return self._with(values[self._order])

    def _with(self, data: Array) -> scipy.sparse.csr_matrix:
        parts = (data, self._matrix.indices, self._matrix.indptr)
        return scipy.sparse.csr_matrix(parts, self._matrix.shape)


def mean_product(
    samples: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]], rank: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns vectors whose dot products are the samples' mean products, up to a rank.

    The singular value decomposition of the mean, by QR of both sides: the matrix of all
    users and movies is never built.

    Args:
      samples: `[users, k]` and `[movies, k]` of each sample.
      rank: how many singular vectors are kept.

    Returns:
      `[users, rank]` and `[movies, rank]`, narrower where there is less to keep.
    """
    left = np.concatenate([one for one, _ in samples], axis=1)
    right = np.concatenate([other for _, other in samples], axis=1) / np.float32(len(samples))
    left_basis, left_part = np.linalg.qr(left)
    right_basis, right_part = np.linalg.qr(right)
    turn, values, back = np.linalg.svd(left_part @ right_part.T)
    kept = min(rank, len(values))
    scale = np.sqrt(values[:kept])
    return left_basis @ (turn[:, :kept] * scale), right_basis @ (back[:kept].T * scale)


def _wishart(scale: Array, freedom: int, rng: np.random.Generator) -> Array:
    """Draws from a Wishart distribution (Bartlett's decomposition)."""
    width = len(scale)
    lower = np.tril(rng.standard_normal((width, width)), -1)
    lower[np.diag_indices(width)] = np.sqrt(rng.chisquare(freedom - np.arange(width)))
    root = np.linalg.cholesky(scale) @ lower
    drawn: Array = root @ root.T
    return drawn
