"""The Gibbs sampler of the Bayesian probabilistic matrix factorisation (`rating_bpmf`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import threadpoolctl
from scipy.linalg import blas, lapack

from trainer.config import BpmfConfig, sweep_cost
from trainer.rating.posterior import Draws
from trainer.rating.side_information import Array, Floats, Ints

_ROWS_AT_ONCE = 1 << 18
"""Ratings whose vectors are gathered in one go, unless one user or movie has more."""


_START_PENALTY = 0.1
"""Ridge penalty on the part of the prior's mean that all users, or all movies, share."""


@dataclasses.dataclass(frozen=True)
class ObservedRatings:
    """Ratings, and the side information of their users and movies.

    Attributes:
      user: `[ratings]` rows in `user_known`.
      movie: `[ratings]` rows in `movie_known`.
      rating: `[ratings]` stars.
      user_known: `[users, features]`.
      movie_known: `[movies, features]`; movies without ratings are predicted from these.
    """

    user: Ints
    movie: Ints
    rating: Floats
    user_known: npt.NDArray[np.floating[Any]]
    movie_known: npt.NDArray[np.floating[Any]]


class _Entities:
    """Users or movies: bias and vector of each, with the prior they share.

    Args:
      known: `[entities, features]` side information.
      rows: `[ratings]` the entity of each rating.
      others: `[ratings]` that of the other side.
      config: rank and prior.
      rng: source of all randomness.
    """

    def __init__(
        self,
        known: npt.NDArray[np.floating[Any]],
        rows: Ints,
        others: Ints,
        config: BpmfConfig,
        rng: np.random.Generator,
    ) -> None:
        count, width = len(known), config.rank + 1
        self.order = np.argsort(rows, kind="stable")
        self.rows, self.others = rows[self.order], others[self.order]
        self.counts = np.bincount(rows, minlength=count)
        self._offsets = np.concatenate([[0], np.cumsum(self.counts)]).tolist()
        self._blocks = _blocks(self.counts)
        self._rated = self.counts > 0
        self._known: Array = np.concatenate([np.ones((count, 1)), known], axis=1)
        self._of_rated: Array = self._known[self._rated]
        self._products: Array = self._of_rated.T @ self._of_rated
        self._penalty, self._config = config.side_penalty, config
        self._freedom = width + 2
        self._scale = np.eye(width) * config.prior_variance * self._freedom
        self._rng = rng
        self.precision: Array = np.eye(width) * 5.0
        self.weights: Array = np.zeros((self._known.shape[1], width))
        self._prior: Array = np.zeros((count, width))
        self.values = np.zeros((count, width), np.float32)
        self.values[:, 1:] = rng.normal(0.0, 0.1, (count, config.rank))

    @property
    def bias(self) -> Floats:
        """`[entities]` stars."""
        return self.values[:, 0]

    def inputs(self) -> Floats:
        """Returns `[entities, 1 + rank]`: what bias and vector of the other side multiply."""
        found = self.values.copy()
        found[:, 0] = 1.0
        return found

    def sample_prior(self) -> None:
        """Draws the prior's mean and precision, given the values (normal-Wishart)."""
        known, values, rng = self._of_rated, self.values[self._rated].astype(np.float64), self._rng
        penalty = np.full(known.shape[1], self._penalty)
        penalty[0] = _START_PENALTY
        gram = self._products + np.diag(penalty)
        mean = np.linalg.solve(gram, known.T @ values)
        scale = self._scale + values.T @ values - mean.T @ gram @ mean
        self.precision = _wishart(
            np.linalg.inv((scale + scale.T) / 2), self._freedom + len(values), rng
        )
        spread = np.linalg.solve(np.linalg.cholesky(gram).T, rng.standard_normal(mean.shape))
        inverse_root: Array = np.linalg.inv(np.linalg.cholesky(self.precision))
        self.weights = mean + spread @ inverse_root
        self._prior = self._known @ self.weights
        self._sample_penalty()

    def _sample_penalty(self) -> None:
        """Draws the ridge penalty, given the weights (gamma; Simm et al. 2015)."""
        weights = self.weights[1:]
        length = float(((weights @ self.precision) * weights).sum())
        freedom = self._config.side_penalty_freedom
        shape = (freedom + weights.size) / 2
        scale = 2 / (freedom / self._config.side_penalty + length)
        self._penalty = self._rng.gamma(shape) * scale

    def sample_values(
        self, target: Array, others: _Entities, own_precision: Array, other_precision: Array
    ) -> None:
        """Draws all biases and vectors, given those of the other side.

        With A = √precision · inputs of an entity's ratings, A x = target + noise and the prior
        x ~ N(m, Λ⁻¹), (AᵀA + Λ)⁻¹ (Aᵀ (target + z₁) + Λ m + Λ^½ z₂) with standard normal z₁
        and z₂ is a draw from the posterior (Papandreou & Yuille, Gaussian Sampling by Local
        Perturbations, 2010): one solve per entity, and no inverse.

        Args:
          target: `[ratings]` in this side's order: the stars that bias and vector explain.
          others: the other side.
          own_precision: `[entities]` precision of the ratings, by entity ...
          other_precision: ... times `[others]` by other.
        """
        own_root, other_root = np.sqrt(own_precision), np.sqrt(other_precision)
        inputs = others.inputs() * other_root[:, np.newaxis].astype(np.float32)
        target = target * own_root[self.rows] * other_root[self.others]
        target = (target + self._rng.standard_normal(len(target))).astype(np.float32)
        prior = self._prior @ self.precision
        noise = self._rng.standard_normal(prior.shape)
        evidence = (prior + noise @ np.linalg.cholesky(self.precision).T).astype(np.float32)
        precision = np.asfortranarray(self.precision, np.float32)
        roots, precisions = own_root.tolist(), own_precision.tolist()
        for first, last in self._blocks:
            block = self._offsets[first]
            rated = inputs[self.others[block : self._offsets[last]]].T
            for row in range(first, last):
                start, end = self._offsets[row], self._offsets[row + 1]
                if start == end:
                    continue
                own = rated[:, start - block : end - block]
                matrix = blas.ssyrk(precisions[row], own, 1.0, precision, lower=1)
                side = blas.sgemv(roots[row], own, target[start:end], 1.0, evidence[row])
                _, self.values[row], _ = lapack.sposv(
                    matrix, side, lower=1, overwrite_a=1, overwrite_b=1
                )
        self.values[~self._rated] = self._prior[~self._rated]


class GibbsSampler:
    """Draws users, movies and noise in turn, each given all others.

    Args:
      observed: the ratings.
      config: rank, draws, priors.
      seed: of all randomness.
    """

    def __init__(
        self, observed: ObservedRatings, config: BpmfConfig, seed: int | np.random.SeedSequence
    ) -> None:
        self._config = config
        self._rng = np.random.default_rng(seed)
        user, movie = observed.user, observed.movie
        self.mean = float(observed.rating.mean())
        stars = observed.rating.astype(np.float64) - self.mean
        self._users = _Entities(observed.user_known, user, movie, config, self._rng)
        self._movies = _Entities(observed.movie_known, movie, user, config, self._rng)
        self._stars = stars[self._users.order], stars[self._movies.order]
        self._noise_precision = 1.4
        self._user_precision = np.ones(len(observed.user_known))
        self._movie_precision = np.ones(len(observed.movie_known))

    @threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
    def draw(self, on_sweep: Callable[[int, int], None] | None = None) -> Draws:
        """Samples from the posterior; to be called once.

        BLAS is kept to one thread: the matrices are small, and several threads wait for each
        other longer than they compute (ten times the CPU seconds where other processes are
        busy). The result then does not depend on the number of cores either.

        Args:
          on_sweep: called after each sweep with its number and the number of sweeps.
        """
        entities = len(self._users.counts) + len(self._movies.counts)
        cost = sweep_cost(len(self._stars[0]), entities)
        burn_in, draws, thinning = self._config.sweeps(cost)
        sweeps = burn_in + draws * thinning
        kept = []
        for sweep in range(1, sweeps + 1):
            self._sweep()
            if sweep > burn_in and (sweep - burn_in) % thinning == 0:
                kept.append(
                    (
                        self._movies.values.copy(),
                        self._users.weights.astype(np.float32),
                        self._users.precision.astype(np.float32),
                        (self._noise_precision * self._movie_precision).astype(np.float32),
                    )
                )
            if on_sweep:
                on_sweep(sweep, sweeps)
        return Draws(*(np.stack(parts) for parts in zip(*kept, strict=True)))

    def _sweep(self) -> None:
        users, movies = self._users, self._movies
        users.sample_prior()
        users.sample_values(
            self._stars[0] - movies.bias[users.others],
            movies,
            self._noise_precision * self._user_precision,
            self._movie_precision,
        )
        movies.sample_prior()
        movies.sample_values(
            self._stars[1] - users.bias[movies.others],
            users,
            self._noise_precision * self._movie_precision,
            self._user_precision,
        )
        self._sample_noise()

    def _sample_noise(self) -> None:
        """Draws the precision of all ratings, then that of each user's and movie's (gamma)."""
        users, config, squared = self._users, self._config, self._residuals() ** 2
        of_movies = self._movie_precision[users.others]
        summed = float((self._user_precision[users.rows] * of_movies) @ squared)
        self._noise_precision = self._rng.gamma(1 + len(squared) / 2) / (1 + 0.5 * summed)
        scaled = self._noise_precision * squared
        self._user_precision = self._sample_precision(
            users.rows, scaled * of_movies, users.counts, config.user_noise_freedom
        )
        self._movie_precision = self._sample_precision(
            users.others,
            scaled * self._user_precision[users.rows],
            self._movies.counts,
            config.movie_noise_freedom,
        )

    def _sample_precision(self, rows: Ints, squared: Array, counts: Ints, freedom: float) -> Array:
        """Draws `[entities]` precisions of users or movies around 1.

        Args:
          rows: `[ratings]` the entity of each rating.
          squared: `[ratings]` squared residuals times all other precisions.
          counts: `[entities]` ratings of each.
          freedom: degrees of freedom of the prior.
        """
        summed = np.bincount(rows, squared, len(counts))
        drawn: Array = self._rng.gamma((freedom + counts) / 2) / ((freedom + summed) / 2)
        return drawn

    def _residuals(self) -> Array:
        """Returns `[ratings]` what bias and vectors leave of the stars, in the users' order."""
        users, movies = self._users, self._movies
        found = self._stars[0] - users.bias[users.rows] - movies.bias[users.others]
        for start in range(0, len(found), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            left, right = users.values[users.rows[rows], 1:], movies.values[users.others[rows], 1:]
            found[rows] -= np.einsum("nk,nk->n", left, right)
        return found


def _blocks(counts: Ints, limit: int = _ROWS_AT_ONCE) -> list[tuple[int, int]]:
    """Returns first and last (exclusive) of consecutive entities with up to `limit` ratings.

    Args:
      counts: `[entities]` ratings of each; one with more than the limit has a block of its own.
      limit: ratings of a block.
    """
    found, first, held = [], 0, 0
    for row, count in enumerate(counts.tolist()):
        if held and held + count > limit:
            found.append((first, row))
            first, held = row, 0
        held += count
    return [*found, (first, len(counts))]


def _wishart(scale: Array, freedom: int, rng: np.random.Generator) -> Array:
    """Draws from a Wishart distribution (Bartlett's decomposition)."""
    width = len(scale)
    lower = np.tril(rng.standard_normal((width, width)), -1)
    lower[np.diag_indices(width)] = np.sqrt(rng.chisquare(freedom - np.arange(width)))
    root = np.linalg.cholesky(scale) @ lower
    drawn: Array = root @ root.T
    return drawn
