"""Bayesian probabilistic matrix factorisation (BPMF) of the ratings, by Gibbs sampling.

stars = mean + user + movie + user vector · movie vector + noise, as in Salakhutdinov & Mnih
(Bayesian Probabilistic Matrix Factorization using Markov Chain Monte Carlo, 2008), with two
additions:

- the prior mean of a bias and vector is a linear function of side information of user or movie
  (Simm et al., Macau, 2015): profile, genres, the number of ratings, and which movies were rated
  at all, whatever the stars, as principal components (Rendle, Zhang, Koren, On the Difficulty of
  Evaluating Baselines, 2019, found such implicit feedback to matter);
- each movie has a noise level of its own, and each user while movies are drawn.

There are no effects of time: those of seconds, minutes and days do not hold at the next visit.

Draws of the movies are served. Given one draw, the posterior mean of a user's bias and vector
follows in closed form from the user's events and profile (`trainer.rating.posterior`), for known
and new users alike; predictions are means over draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from schema.features import Kind, Owner
from trainer.config import BpmfConfig, sweep_cost
from trainer.data.training_data import TrainingData
from trainer.lookups import (
    in_pieces,
    one_graph,
    rows_of,
    saved_variable,
    weighted_rows,
)
from trainer.rating import posterior
from trainer.rating.gibbs import GibbsSampler, ObservedRatings
from trainer.rating.posterior import BpmfFit, joined
from trainer.rating.side_information import (
    Floats,
    HistoryFeatures,
    UserHistories,
    fit_history_features,
    one_hot,
)
from trainer.retrieval.events import Latest
from transform.outputs import Output

_KNOWN_KINDS = (Kind.AGE, Kind.GENDER, Kind.TAGS, Kind.YEAR, Kind.CATEGORY, Kind.NUMBER)
"""Kinds of features in the side information, in the order of the columns."""

_PAIRS_AT_ONCE = 4_096
"""Pairs of a user and a movie whose draws are gathered in one go: some 5 KB each."""


_EVENTS_AT_ONCE = 32
"""Events whose products are padded to the longest of a few such pieces."""


class RatedEvents(NamedTuple):
    """What users have rated or watched, as pairs.

    Attributes:
      pairs: `[events, 2]` int64: the row of the batch, the row of the catalogue.
      ratings: `[events]` float32 stars.
      rated: `[events]` bool: whether there are stars; an event without is part of the side
        information only.
    """

    pairs: tf.Tensor
    ratings: tf.Tensor
    rated: tf.Tensor


_RATED_EVENTS = RatedEvents(
    tf.TensorSpec([None, 2], tf.int64), tf.TensorSpec([None]), tf.TensorSpec([None], tf.bool)
)


class Bpmf(tf.Module):
    """The factorisation as a standalone model.

    Args:
      config: rank, draws, priors.
      seed: of all randomness.
      on_sweep: called after each sweep with its number and the number of sweeps.
    """

    def __init__(
        self,
        config: BpmfConfig,
        seed: int,
        on_sweep: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__(name="bpmf")
        self._config, self._seed, self._on_sweep = config, seed, on_sweep

    def fit(self, data: TrainingData) -> None:
        """Draws from the posterior; to be called once, before everything else."""
        sizes = {one.name: data.feature_sizes[one.name] for one in known_features(data, Owner.USER)}
        self._make_tables(fit_bpmf(data, self._config, self._seed, self._on_sweep), sizes)

    def thinned(self, draws: int) -> Bpmf:
        """Returns the factorisation with about so many draws, whose states of users cost less."""
        found = Bpmf(self._config, self._seed)
        sizes = {name: weights.shape[0] for name, weights in self.profile_weights.items()}
        fitted = dataclasses.replace(self.fitted, draws=self.fitted.draws.thinned(draws))
        found._make_tables(fitted, sizes)
        return found

    def _make_tables(self, fitted: BpmfFit, sizes: Mapping[str, int]) -> None:
        """Makes what is served; `sizes` are those of the profile's features, by name."""
        self.fitted = fitted
        draws, history = self.fitted.draws, self.fitted.history_features
        count, movies, width = draws.movies.shape
        self._shape = count, width
        self.movies = saved_variable(draws.movies.transpose(1, 0, 2), "movie_draws")
        self.user_precision = saved_variable(draws.user_precision, "user_precision")
        self.noise_precision = saved_variable(draws.noise_precision.T, "noise_precision")
        self.event_weights = saved_variable(history.event_weights, "event_weights")
        weights = draws.user_weights.transpose(1, 0, 2).reshape([-1, count * width])
        self.prior_start = saved_variable(weights[0], "prior_start")
        end = 1 + history.width
        self.history_weights = saved_variable(weights[1:end], "history_weights")
        self.profile_weights: dict[str, tf.Variable] = {}
        for name, size in sizes.items():
            start, end = end, end + size
            self.profile_weights[name] = saved_variable(weights[start:end], name)
        states = tf.TensorSpec([None, count * width])
        self._user_state = one_graph(self._state_of, _RATED_EVENTS, states)
        self._ratings = one_graph(self._stars_of, states, tf.TensorSpec([None, None], tf.int32))

    @property
    def state_width(self) -> int:
        """How many numbers the state of a user is."""
        count, width = self._shape
        return count * width

    def user_states(self, data: TrainingData) -> Floats:
        """Returns `[users + 1, width]` the state of each user and of one without events.

        Args:
          data: whose interactions are the users' events; they need not be those that were
            fitted.
        """
        found = states_of_all(self.fitted, data)
        return found.reshape([len(found), -1])

    def profile(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[batch, width]`: the part of the prior's mean that follows from the profile.

        Args:
          features: transformed features of the users, `[batch]` each.
        """
        batch = tf.shape(next(iter(features.values())))[0]
        found = tf.repeat(self.prior_start[tf.newaxis], batch, axis=0)
        for name, weights in self.profile_weights.items():
            found += tf.gather(weights, features[name])
        return found

    def user_state(self, events: RatedEvents, profile: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, width]`: the posterior means of bias and vector, for each draw.

        As `trainer.rating.posterior.user_states` does.

        Args:
          events: the users' events, each movie once.
          profile: `[batch, width]`, of `profile`.
        """
        return self._user_state(events, profile)

    def _state_of(self, events: RatedEvents, profile: tf.Tensor) -> tf.Tensor:
        batch = tf.shape(profile)[0]
        return self._solved(self._products(events, batch), self._sums(events, batch), profile)

    def states_of_parts(
        self, events: RatedEvents, ends: tf.Tensor, profile: tf.Tensor
    ) -> tf.Tensor:
        """Returns `[parts, width]`: the states of one user who had only the first events.

        Events between two ends are summed once for all parts that have them.

        Args:
          events: the user's events in event order.
          ends: `[parts]` int64, ascending, at least one: how many events each part has.
          profile: `[1, width]`, of `profile`.
        """
        cuts, _ = tf.unique(tf.sort(tf.concat([tf.range(0, ends[-1], _EVENTS_AT_ONCE), ends], 0)))
        before = tf.range(ends[-1])
        piece = tf.searchsorted(cuts, before, side="right", out_type=tf.int64)
        pairs = tf.stack([piece, events.pairs[: ends[-1], 1]], axis=1)
        cut = RatedEvents(pairs, *(values[: ends[-1]] for values in events[1:]))
        # Summed by a product of matrices, `tf.cumsum` over the first axis takes far longer.
        within = tf.cast(cuts <= ends[:, tf.newaxis], tf.float32)
        products, sums = (
            tf.tensordot(within, of(cut, tf.size(cuts)), 1) for of in (self._products, self._sums)
        )
        return self._solved(products, sums, tf.repeat(profile, tf.size(ends), axis=0))

    def _solved(self, products: tf.Tensor, sums: tf.Tensor, profile: tf.Tensor) -> tf.Tensor:
        """Returns the states `[batch, width]`, given `_products` and `_sums` of the events."""
        count, width = self._shape
        prior = profile + tf.matmul(self._history_features(sums), self.history_weights)
        prior = tf.reshape(prior, [-1, count, width])
        precision = products[..., :width, :width] + self.user_precision
        side = products[..., :width, width]
        side += tf.einsum("udi,dij->udj", prior, self.user_precision)
        solved = tf.linalg.cholesky_solve(tf.linalg.cholesky(precision), side[..., tf.newaxis])
        return tf.reshape(solved, [-1, count * width])

    def _sums(self, events: RatedEvents, batch: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, 1 + components]`: how many events there are, and sums over them."""
        ones = tf.ones_like(events.ratings)
        counts = tf.math.unsorted_segment_sum(ones, events.pairs[:, 0], batch)[:, tf.newaxis]
        sums = weighted_rows(events.pairs, ones, tf.cast(batch, tf.int64), self.event_weights)
        return tf.concat([counts, sums], axis=1)

    def _history_features(self, sums: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, components + 1]`, as `HistoryFeatures` does, given `_sums`."""
        scale, counts = self.fitted.history_features.count_scale, sums[:, :1]
        logs = tf.clip_by_value(tf.math.log1p(counts), scale.lowest, scale.highest)
        pooled = sums[:, 1:] / tf.sqrt(tf.maximum(counts, 1.0))
        return tf.concat([pooled, (logs - scale.mean) / scale.spread], axis=1)

    def _products(self, events: RatedEvents, batch: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, draws, 2 + rank, 2 + rank]`: for each rated event what bias and vector
        multiply and, last, the stars that they explain; the products of these, times the precision
        of the rating, summed over the events."""
        pairs = tf.boolean_mask(events.pairs, events.rated)
        ratings = tf.boolean_mask(events.ratings, events.rated)
        order = tf.argsort(pairs[:, 0], stable=True)
        user, movie = tf.unstack(tf.gather(pairs, order), num=2, axis=1)
        drawn = rows_of(self.movies, movie)
        targets = tf.gather(ratings, order)[:, tf.newaxis] - self.fitted.mean - drawn[:, :, 0]
        ones = tf.ones_like(drawn[:, :, :1])
        parts = tf.concat([ones, drawn[:, :, 1:], targets[:, :, tf.newaxis]], axis=2)
        parts *= tf.sqrt(rows_of(self.noise_precision, movie))[:, :, tf.newaxis]
        rows = tf.RaggedTensor.from_value_rowids(parts, user, tf.cast(batch, tf.int64))
        # Padded to the longest history, with zeros.
        padded = tf.transpose(rows.to_tensor(), [0, 2, 1, 3])
        return tf.matmul(padded, padded, transpose_a=True)

    def ratings(self, user_state: tf.Tensor, movie_row: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, n]` stars, not clipped.

        Args:
          user_state: `[batch, width]`.
          movie_row: `[batch, n]` rows of the catalogue; may be that of the unknown movie.
        """
        return self._ratings(user_state, movie_row)

    def _stars_of(self, user_state: tf.Tensor, movie_row: tf.Tensor) -> tf.Tensor:
        batch, n = tf.unstack(tf.shape(movie_row))
        user = tf.repeat(tf.range(batch), n)
        stars = in_pieces(
            lambda pair: self._stars(user_state, pair[:, 0], pair[:, 1]),
            tf.stack([user, tf.reshape(movie_row, [-1])], axis=1),
            _PAIRS_AT_ONCE,
        )
        return tf.reshape(stars, [batch, n])

    def session_residual(self, user_state: tf.Tensor, latest: Latest) -> tf.Tensor:
        """Returns `[batch]`: how many stars the ratings of a session are above their predictions.

        It is the mean over the latest events, weighted by exp(-seconds / `session_seconds`) and
        shrunk towards 0. Unlike effects that are keyed by the time itself it holds for any session.

        Args:
          user_state: `[batch, width]`, of users with these events.
          latest: the latest events of the session.
        """
        given = latest.earlier & (latest.ratings > 0)
        weights = tf.where(given, tf.exp(-latest.seconds / self._config.session_seconds), 0.0)
        residuals = latest.ratings - self.ratings(user_state, latest.movies)
        total = tf.reduce_sum(weights * residuals, axis=1)
        return total / (tf.reduce_sum(weights, axis=1) + self._config.session_shrinkage)

    def _stars(self, user_state: tf.Tensor, user: tf.Tensor, movie_row: tf.Tensor) -> tf.Tensor:
        """Returns `[n]` stars, given `[n]` rows of the users' states and of the catalogue."""
        count, width = self._shape
        drawn = rows_of(self.movies, movie_row)
        state = tf.reshape(tf.gather(user_state, user), [-1, count, width])
        products = tf.reduce_sum(drawn[..., 1:] * state[..., 1:], axis=2)
        stars = drawn[..., 0] + state[..., 0] + products
        return self.fitted.mean + tf.reduce_mean(stars, axis=1)

    def scores(self, user_state: tf.Tensor) -> tf.Tensor:
        """Returns `[users, movies]` stars of the whole catalogue."""
        count, width = self._shape
        movies = tf.convert_to_tensor(self.movies)[:-1]
        state = tf.reshape(user_state, [-1, count, width])
        products = tf.einsum("udk,mdk->um", state[..., 1:], movies[..., 1:]) / count
        own = tf.reduce_mean(state[..., 0], axis=1, keepdims=True)
        return self.fitted.mean + products + own + tf.reduce_mean(movies[..., 0], axis=1)

    def export(self) -> Mapping[str, tf.Variable]:
        """Returns the tables that are served, by name."""
        return {
            "movie_draws": self.movies,
            "user_precision": self.user_precision,
            "noise_precision": self.noise_precision,
            "event_weights": self.event_weights,
            "prior_start": self.prior_start,
            "history_weights": self.history_weights,
            **self.profile_weights,
        }


def fit_bpmf(
    data: TrainingData,
    config: BpmfConfig,
    seed: int,
    on_sweep: Callable[[int, int], None] | None = None,
) -> BpmfFit:
    """Fits the Bayesian factorisation to the training ratings.

    Movies are those of the catalogue, and one more, the unknown one.

    Args:
      data: the training data.
      config: rank, draws, priors.
      seed: of all randomness.
      on_sweep: called after each sweep with its number and the number of sweeps.
    """
    observed, features = observed_ratings(data, config)
    entities = len(observed.user_known) + len(observed.movie_known)
    chains = config.chains_of(sweep_cost(len(observed.user), entities))

    def counted(chain: int) -> Callable[[int, int], None]:
        return lambda sweep, sweeps: on_sweep and on_sweep(chain * sweeps + sweep, chains * sweeps)

    seeds = np.random.SeedSequence(seed).spawn(chains)
    samplers = [GibbsSampler(observed, config, chain_seed) for chain_seed in seeds]
    draws = joined([one.draw(counted(number)) for number, one in enumerate(samplers)])
    return BpmfFit(samplers[0].mean, draws, features)


def observed_ratings(
    data: TrainingData, config: BpmfConfig
) -> tuple[ObservedRatings, HistoryFeatures]:
    """Returns the ratings with the side information, and what computes a history's part of it.

    A user's columns are those of `BpmfFit`; a movie's are the principal components of who rated
    it, the number of ratings, and its features.

    Args:
      data: the training data.
      config: how many components there are.
    """
    histories = _histories(data)
    features, movie_known = fit_history_features(
        histories, len(data.catalogue.ids) + 1, config.components
    )
    profiles = _marks(data, Owner.USER)[:-1]
    observed = ObservedRatings(
        data.interactions.user_row,
        data.interactions.movie_row,
        data.interactions.rating,
        posterior.known_of_users(features, histories, profiles),
        np.concatenate([movie_known, _marks(data, Owner.MOVIE)], axis=1),
    )
    return observed, features


def states_of_all(fit: BpmfFit, data: TrainingData) -> Floats:
    """Returns `[users + 1, draws, 1 + rank]` the states of users and of one without events.

    Args:
      fit: the fitted factorisation.
      data: whose interactions are the users' events; they need not be those that were fitted.
    """
    histories, profiles = _histories(data, extra=1), _marks(data, Owner.USER)
    return posterior.user_states(fit, histories, data.interactions.rating, profiles)


def known_features(data: TrainingData, owner: Owner) -> tuple[Output, ...]:
    """Returns the side information: each value is a column of a dense regression.

    Open vocabularies, those with a least number of ratings (directors, lead actors), have too
    many values for that.
    """
    found = data.outputs.of_kinds(owner, _KNOWN_KINDS)
    return tuple(one for one in found if not one.source.min_ratings)


def _marks(data: TrainingData, owner: Owner) -> Floats:
    """Returns `[rows + 1, values]` side information of users or movies; the last row is unknown."""
    table = data.users if owner == Owner.USER else data.catalogue
    sizes, features = data.feature_sizes, known_features(data, owner)
    empty = np.zeros([len(table.ids) + 1, 0], np.float32)
    marks = [one_hot(table.features[one.name], sizes[one.name]) for one in features]
    return np.concatenate([empty, *marks], axis=1)


def _histories(data: TrainingData, extra: int = 0) -> UserHistories:
    """Returns the users' histories, and some empty ones."""
    offsets = data.interactions.offsets
    ends = np.full(extra, offsets[-1])
    return UserHistories(np.concatenate([offsets, ends]), data.interactions.movie_row)
