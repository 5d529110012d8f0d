"""The Gibbs sampler of the Bayesian probabilistic matrix factorisation (`rating_bpmf`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.sparse
import threadpoolctl

from schema.features import Kind, Owner
from trainer.config import BpmfConfig
from trainer.data.training_data import TrainingData
from trainer.rating.principal_components import principal_components
from trainer.rating.rating_bpmf import Array, BpmfFit, Ints, TimeEffect, effect_keys
from transform.outputs import Output

_KNOWN_KINDS = (Kind.AGE, Kind.GENDER, Kind.TAGS, Kind.YEAR, Kind.CATEGORY)
"""What is known of users and movies, in the order of the columns."""


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
        config: BpmfConfig,
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


@dataclasses.dataclass(frozen=True)
class ObservedRatings:
    """Ratings, and what is known of their users and movies beside them.

    Attributes:
      user: `[ratings]` rows in `user_known`.
      movie: `[ratings]` rows in `movie_known`.
      rating: `[ratings]` stars.
      timestamp: `[ratings]` unix seconds.
      user_known: `[users, features]`; users without ratings are predicted from these.
      movie_known: `[movies, features]`, likewise.
    """

    user: Ints
    movie: Ints
    rating: npt.NDArray[np.float32]
    timestamp: Ints
    user_known: npt.NDArray[np.float32]
    movie_known: npt.NDArray[np.float32]


class GibbsSampler:
    """Draws users, movies, effects of time and noise in turn, each given all others.

    Args:
      observed: the ratings.
      config: rank, samples, priors.
      seed: of all randomness.
    """

    def __init__(self, observed: ObservedRatings, config: BpmfConfig, seed: int) -> None:
        self._observed, self._config = observed, config
        self._rng = np.random.default_rng(seed)
        user, movie = observed.user, observed.movie
        users, movies = len(observed.user_known), len(observed.movie_known)
        self._mean = float(observed.rating.mean())
        self._stars = observed.rating.astype(np.float64) - self._mean
        self._ratings_per_user = np.bincount(user, minlength=users)
        self._users = self._entities(observed.user_known, user)
        self._movies = self._entities(observed.movie_known, movie)
        self._kinds = [(True, seconds) for seconds in config.user_slices]
        self._kinds += [(False, seconds) for seconds in config.movie_slices]
        self._effects = [
            _Effects(user if of_user else movie, observed.timestamp, seconds)
            for of_user, seconds in self._kinds
        ]
        self._effects_sum = np.zeros(len(user))
        self._by_user = _Layout(user, movie, (users, movies))
        self._by_movie = _Layout(movie, user, (movies, users))
        self._noise_precision, self._user_precision = 1.4, np.ones(users)
        self._bias_totals = np.zeros(users), np.zeros(movies)
        self._kept: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []

    def _entities(self, known: npt.NDArray[np.float32], rows: Ints) -> _Entities:
        rated = np.bincount(rows, minlength=len(known)) > 0
        config = self._config
        return _Entities(known.astype(np.float64), rated, config.rank, config, self._rng)

    @threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
    def fit(self, on_sweep: Callable[[int, int], None] | None = None) -> BpmfFit:
        """Samples from the posterior and averages; to be called once.

        BLAS is kept to one thread: the matrices are small, and several threads wait for each
        other longer than they compute (ten times the CPU seconds where other processes are
        busy). The result then does not depend on the number of cores either.

        Args:
          on_sweep: called after each sweep with its number and the number of sweeps.
        """
        burn_in, samples = self._config.sweeps(len(self._stars))
        for sweep in range(1, burn_in + samples + 1):
            self._sweep()
            if sweep > burn_in:
                self._keep()
            if on_sweep:
                on_sweep(sweep, burn_in + samples)
        return self._posterior_means(samples)

    def _sweep(self) -> None:
        self._sample_users()
        self._sample_movies()
        self._sample_noise(self._sample_effects())

    def _sample_users(self) -> None:
        observed = self._observed
        self._users.sample_prior()
        self._users.sample_weights(
            self._by_user.ones,
            self._by_user.values(
                self._stars - self._effects_sum - self._movies.bias[observed.movie]
            ),
            self._movies,
            self._noise_precision * self._user_precision,
            np.ones(len(observed.movie_known)),
        )

    def _sample_movies(self) -> None:
        observed = self._observed
        self._movies.sample_prior()
        self._movies.sample_weights(
            self._by_movie.ones,
            self._by_movie.values(
                self._stars - self._effects_sum - self._users.bias[observed.user]
            ),
            self._users,
            self._noise_precision,
            self._user_precision,
        )

    def _sample_effects(self) -> Array:
        """Draws the effects of time; returns the `[ratings]` residuals that are left."""
        user, movie = self._observed.user, self._observed.movie
        products = np.einsum("nk,nk->n", self._users.vectors[user], self._movies.vectors[movie])
        residuals = self._stars - self._effects_sum - products
        residuals = residuals - self._users.bias[user] - self._movies.bias[movie]
        precision = self._noise_precision * self._user_precision[user]
        for effect in self._effects:
            change = effect.sample(residuals, precision, self._rng)
            self._effects_sum += change
            residuals -= change
        return residuals

    def _sample_noise(self, residuals: Array) -> None:
        """Draws the precision of all ratings and that of each user's (gamma)."""
        user, squared = self._observed.user, residuals**2
        self._noise_precision = self._rng.gamma(1 + len(squared) / 2) / (
            1 + 0.5 * float(self._user_precision[user] @ squared)
        )
        freedom = self._config.noise_freedom / 2
        by_user = np.bincount(user, squared, len(self._user_precision))
        self._user_precision = self._rng.gamma(freedom + self._ratings_per_user / 2) / (
            freedom + 0.5 * self._noise_precision * by_user
        )

    def _keep(self) -> None:
        """Adds the present draw to the samples that count."""
        self._bias_totals[0][:] += self._users.bias
        self._bias_totals[1][:] += self._movies.bias
        vectors = self._users.vectors, self._movies.vectors
        self._kept.append((vectors[0].astype(np.float32), vectors[1].astype(np.float32)))
        for effect in self._effects:
            effect.keep()

    def _posterior_means(self, samples: int) -> BpmfFit:
        user_vectors, movie_vectors = mean_product(self._kept, self._config.served_rank)
        user_bias, movie_bias = self._bias_totals
        return BpmfFit(
            mean=self._mean,
            user_bias=(user_bias / samples).astype(np.float32),
            movie_bias=(movie_bias / samples).astype(np.float32),
            user_vectors=user_vectors,
            movie_vectors=movie_vectors,
            effects=tuple(
                TimeEffect(of_user, seconds, one.keys, (one.total / samples).astype(np.float32))
                for (of_user, seconds), one in zip(self._kinds, self._effects, strict=True)
            ),
            noise=float(1.0 / np.sqrt(self._noise_precision)),
        )


def fit_bpmf(
    data: TrainingData,
    config: BpmfConfig,
    seed: int,
    on_sweep: Callable[[int, int], None],
) -> BpmfFit:
    """Fits the Bayesian factorisation to the training ratings.

    Rows are those of the users and of the catalogue, and one more each for the unknown ones.

    Args:
      data: the training data.
      config: rank, samples, priors.
      seed: of all randomness.
      on_sweep: called after each sweep with its number and the number of sweeps.
    """
    interactions, users, catalogue = data.interactions, data.users, data.catalogue
    sizes = data.feature_sizes
    user_parts, movie_parts = principal_components(
        interactions.user_row,
        interactions.movie_row,
        len(users.ids) + 1,
        len(catalogue.ids) + 1,
        config.components,
    )
    user_known = [
        _one_hot(users.features[one.name], sizes[one.name]) for one in _known(data, Owner.USER)
    ]
    movie_known = [
        _one_hot(catalogue.features[one.name], sizes[one.name]) for one in _known(data, Owner.MOVIE)
    ]
    observed = ObservedRatings(
        interactions.user_row,
        interactions.movie_row,
        interactions.rating,
        interactions.timestamp,
        np.concatenate([user_parts, *user_known], axis=1),
        np.concatenate([movie_parts, *movie_known], axis=1),
    )
    return GibbsSampler(observed, config, seed).fit(on_sweep)


def _known(data: TrainingData, owner: Owner) -> tuple[Output, ...]:
    """Returns the side information: each value is a column of a dense regression.

    Open vocabularies, those with a least number of ratings (directors, lead actors), have too
    many values for that.
    """
    found = data.outputs.of_kinds(owner, _KNOWN_KINDS)
    return tuple(one for one in found if not one.source.min_ratings)


def _one_hot(
    values: npt.NDArray[np.int64] | list[npt.NDArray[np.int64]], size: int
) -> npt.NDArray[np.float32]:
    """Returns `[rows + 1, size]`; of the last row, the unknown one, nothing is known."""
    marks = np.zeros([len(values) + 1, size], np.float32)
    for row, value in enumerate(values):
        marks[row, value] = 1.0
    return marks


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
