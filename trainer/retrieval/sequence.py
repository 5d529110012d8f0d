"""Retrieval in a session by causal attention over a user's latest events.

One transformer block (SASRec, Kang & McAuley 2018) whose attention is biased by relative position
and by the time from each event to the query, as in TiSASRec (Li et al. 2020) and HSTU (Zhai et al.
2024). The query knows the time since the latest event and the length of the history. It is trained
to predict each event of a history from those before it, by a softmax over the whole catalogue
without the movies that the user has rated by then.

The block has one layer, so that each position depends on its latest events alone: what is trained
on whole histories is exactly what is served from the latest events.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.config import SequenceConfig
from trainer.data.batches import user_batches
from trainer.data.training_data import IntArray, Interactions, TrainingData
from trainer.retrieval.events import Latest
from trainer.retrieval.two_towers import LENGTH_BOUNDARIES

SECONDS_BOUNDARIES: tuple[float, ...] = (
    1.0,
    *(k * 2.0**power for power in range(28) for k in (2.0, 3.0)),
)
"""Bounds of the buckets of seconds: same second, 1, 2, 3, 4, 6, 8, 12, ..., 25 years."""

_HIDDEN = -1e9
"""A logit of what cannot be attended to or predicted."""

_NOT_RATED = 1 << 30
"""Place of the first rating of a movie that a user has not rated."""

OnEpoch = Callable[[int, int, float], None]
"""Called after each epoch with its number, from 1 on, how many there are, and its loss."""


class Batch(NamedTuple):
    """Whole histories of some users in event order, padded to a fixed number of rows.

    Attributes:
      movies: `[rows]` int32 rows of the catalogue.
      segments: `[rows]` int32 ascending number of each row's user; padding is a user of its own.
      timestamps: `[rows]` int64 unix seconds.
      query_times: `[rows]` int64 unix seconds of the next event, which is to be predicted.
      places: `[rows]` int32: how many events of the user are before the row.
      targets: `[rows]` int32 the movie of the next event.
      weights: `[rows]` float32: 1 where there is a next event, else 0.
      first_rated: `[segments + 1, movies]` int32: the place at which each user rated each movie.
    """

    movies: tf.Tensor
    segments: tf.Tensor
    timestamps: tf.Tensor
    query_times: tf.Tensor
    places: tf.Tensor
    targets: tf.Tensor
    weights: tf.Tensor
    first_rated: tf.Tensor


class SequenceBlock(tf.Module):
    """Scores the whole catalogue from the latest events of a user and the time of the query.

    Args:
      config: shape, regularisation and training.
      ratings_per_movie: `[movies]` training ratings of each, for the initial bias.
      seed: of initial values, shuffles and dropout. No other random state is used or changed.

    Attributes:
      weight: of the block's scores in a session, beside those of the towers.
    """

    def __init__(self, config: SequenceConfig, ratings_per_movie: IntArray, seed: int) -> None:
        super().__init__(name="sequence")
        self.config, self.weight = config, config.weight_of(int(ratings_per_movie.sum()))
        self._seed = seed
        width, hidden, heads = config.width, config.hidden_units, config.heads
        scale = width**-0.5
        self.movies = self._normal("movies", [len(ratings_per_movie), width], 0.05)
        popularity = np.log1p(ratings_per_movie)
        self.bias = tf.Variable(
            0.5 * (popularity - popularity.mean()).astype(np.float32), name="bias"
        )
        self.query = self._normal("query", [width, width], scale)
        self.key = self._normal("key", [width, width], scale)
        self.value = self._normal("value", [width, width], scale)
        self.output = self._normal("output", [width, width], scale)
        self.hidden = self._normal("hidden", [width, hidden], scale)
        self.hidden_bias = tf.Variable(tf.zeros([hidden]), name="hidden_bias")
        self.back = self._normal("back", [hidden, width], hidden**-0.5)
        self.back_bias = tf.Variable(tf.zeros([width]), name="back_bias")
        self.scales = tf.Variable(tf.ones([3, width]), name="scales")
        buckets = len(SECONDS_BOUNDARIES) + 1
        self.position_bias = tf.Variable(
            tf.zeros([config.recency_events, heads]), name="position_bias"
        )
        self.seconds_bias = tf.Variable(tf.zeros([buckets, heads]), name="seconds_bias")
        self.seconds = tf.Variable(tf.zeros([buckets, width]), name="seconds_since_last_event")
        self.lengths = tf.Variable(
            tf.zeros([len(LENGTH_BOUNDARIES) + 1, width]), name="history_length"
        )

    def _normal(self, name: str, shape: list[int], stddev: float) -> tf.Variable:
        seed = [self._seed, sum(name.encode())]
        return tf.Variable(tf.random.stateless_normal(shape, seed, stddev=stddev), name=name)

    # -- answers --------------------------------------------------------------------------

    def scores(self, latest: Latest) -> tf.Tensor:
        """Returns `[batch, movies]` scores at the time of the query.

        Args:
          latest: the latest events. Columns after the first
            `config.recency_events` are not looked at. Scores of rows without events mean nothing.
        """
        start, _, shares = self._served(latest)
        states = self._finished(start, tf.reduce_sum(shares, axis=1))
        return tf.matmul(states, self.movies, transpose_b=True) + self.bias

    def contributions(self, latest: Latest, movies: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, n, events]`: by how much each score falls if an event is hidden.

        A hidden event is not attended to; the latest one leaves the query as well, where only
        its time stays.

        Args:
          latest: as in `scores`, with at most `config.recency_events` columns.
          movies: `[batch, n]` rows of the catalogue.
        """
        start, weights, shares = self._served(latest)
        attended = tf.reduce_sum(shares, axis=1)
        # Attention that does not see an event: without its share, the others scaled up to 1.
        without_share = attended[:, tf.newaxis] - shares
        without_share /= tf.maximum(1.0 - weights, 1e-6)[..., tf.newaxis]
        is_latest = tf.one_hot(0, tf.shape(weights)[1])[:, tf.newaxis]
        embedded = tf.gather(self.movies, latest.movies[:, :1])
        without = self._finished(start[:, tf.newaxis] - is_latest * embedded, without_share)
        change = self._finished(start, attended)[:, tf.newaxis] - without
        found = tf.matmul(tf.gather(self.movies, movies), change, transpose_b=True)
        return tf.where(latest.present[:, tf.newaxis], found, 0.0)

    def states(self, batch: Batch, dropout_seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns `[rows, width]`: each row's user after it, at the time of the next event.

        Each row attends to the latest `config.recency_events`, itself among them. The rows are cut
        into blocks of as many, each compared with itself and the block before, so that the work
        grows with the rows.

        Args:
          batch: histories; its number of rows is a multiple of `config.recency_events`.
          dropout_seed: scalar int32, another one in each step; no dropout where None.
        """
        length = self.config.recency_events
        embedded = tf.gather(self.movies, batch.movies)
        since = tf.cast(batch.query_times - batch.timestamps, tf.float32)
        start = self._start(embedded, since, batch.places + 1)
        # Users count from 1 on: the block of padding in front is nobody's.
        users = batch.segments + 1

        def queries(values: tf.Tensor) -> tf.Tensor:
            return tf.reshape(values, [-1, length, *values.shape[1:]])

        def events(values: tf.Tensor) -> tf.Tensor:
            cut = queries(tf.pad(values, [[length, 0]] + [[0, 0]] * (len(values.shape) - 1)))
            return tf.concat([cut[:-1], cut[1:]], axis=1)

        distance = tf.range(length)[:, tf.newaxis] + length - tf.range(2 * length)
        visible = queries(users)[:, :, tf.newaxis] == events(users)[:, tf.newaxis]
        visible &= (distance >= 0) & (distance < length)
        seconds = queries(batch.query_times)[:, :, tf.newaxis]
        seconds -= events(batch.timestamps)[:, tf.newaxis]
        weights = self._attention(
            queries(start),
            events(embedded),
            tf.cast(seconds, tf.float32),
            tf.clip_by_value(distance, 0, length - 1),
            visible,
        )
        weights = self._dropped(weights, dropout_seed, 0)
        attended = tf.einsum("nhqk,nkhd->nqhd", weights, events(self._values(embedded)))
        attended = tf.reshape(attended, [-1, *attended.shape[2:]])
        return self._finished(start, attended, dropout_seed)

    # -- parts ----------------------------------------------------------------------------

    def _served(self, latest: Latest) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns `[batch, width]` starts of the queries, `[batch, events, heads]` weights of the
        events, and `[batch, events, heads, width / heads]` the values times these."""
        length = self.config.recency_events
        embedded = tf.gather(self.movies, latest.movies[:, :length])
        seconds = latest.seconds[:, :length]
        start = self._start(embedded[:, 0], seconds[:, 0], latest.history_length)
        weights = self._attention(
            start[:, tf.newaxis],
            embedded,
            seconds[:, tf.newaxis],
            tf.range(tf.shape(seconds)[1])[tf.newaxis],
            latest.present[:, tf.newaxis, :length],
        )
        weights = tf.transpose(weights[:, :, 0], [0, 2, 1])
        return start, weights, weights[..., tf.newaxis] * self._values(embedded)

    def _start(self, embedded: tf.Tensor, since: tf.Tensor, history_length: tf.Tensor) -> tf.Tensor:
        """Returns `[n, width]` queries before attention.

        Args:
          embedded: `[n, width]` the latest events.
          since: `[n]` float32 seconds since these.
          history_length: `[n]` integers, how many events there are in all.
        """
        length = tf.raw_ops.Bucketize(input=history_length, boundaries=LENGTH_BOUNDARIES)
        return embedded + tf.gather(self.seconds, _bucket(since)) + tf.gather(self.lengths, length)

    def _attention(
        self,
        start: tf.Tensor,
        embedded: tf.Tensor,
        seconds: tf.Tensor,
        distance: tf.Tensor,
        visible: tf.Tensor,
    ) -> tf.Tensor:
        """Returns `[n, heads, queries, events]` weights that sum up to 1 over the visible events.

        Args:
          start: `[n, queries, width]`.
          embedded: `[n, events, width]`.
          seconds: `[n, queries, events]` float32 from event to query.
          distance: `[queries, events]` how many events are between event and query.
          visible: `[n, queries, events]` bool: what may be attended to.
        """
        query = self._by_head(tf.matmul(_normalised(start, self.scales[0]), self.query))
        key = self._by_head(tf.matmul(_normalised(embedded, self.scales[0]), self.key))
        logits = tf.einsum("nqhd,nkhd->nhqk", query, key) * query.shape[-1] ** -0.5
        bias = tf.gather(self.seconds_bias, _bucket(seconds))
        bias += tf.gather(self.position_bias, distance)
        logits += tf.transpose(bias, [0, 3, 1, 2])
        return tf.nn.softmax(tf.where(visible[:, tf.newaxis], logits, _HIDDEN))

    def _values(self, embedded: tf.Tensor) -> tf.Tensor:
        """Returns `[..., heads, width / heads]`: what a query gets of events that it attends to."""
        return self._by_head(tf.matmul(_normalised(embedded, self.scales[0]), self.value))

    def _by_head(self, values: tf.Tensor) -> tf.Tensor:
        heads = self.config.heads
        shape = tf.concat([tf.shape(values)[:-1], [heads, values.shape[-1] // heads]], axis=0)
        return tf.ensure_shape(
            tf.reshape(values, shape), [*values.shape[:-1], heads, values.shape[-1] // heads]
        )

    def _finished(
        self, start: tf.Tensor, attended: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns `[..., width]` states.

        Args:
          start: `[..., width]` queries before attention.
          attended: `[..., heads, width / heads]` what attention gave.
          dropout_seed: as in `states`.
        """
        attended = tf.reshape(attended, tf.shape(start))
        added = tf.matmul(attended, self.output)
        state = start + self._dropped(added, dropout_seed, 1)
        inner = tf.matmul(_normalised(state, self.scales[1]), self.hidden) + self.hidden_bias
        added = tf.matmul(tf.nn.gelu(inner, approximate=True), self.back) + self.back_bias
        return _normalised(state + self._dropped(added, dropout_seed, 2), self.scales[2])

    def _dropped(self, values: tf.Tensor, seed: tf.Tensor | None, place: int) -> tf.Tensor:
        if seed is None or not self.config.dropout:
            return values
        pair = tf.stack([seed, self._seed + place])
        return tf.nn.experimental.stateless_dropout(values, self.config.dropout, seed=pair)


def _bucket(seconds: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.Bucketize(input=seconds, boundaries=SECONDS_BOUNDARIES)


def _normalised(values: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Root mean square normalisation (Zhang & Sennrich 2019) over the last axis."""
    mean_square = tf.reduce_mean(tf.square(values), axis=-1, keepdims=True)
    return scale * values * tf.math.rsqrt(mean_square + 1e-6)


def softmax_loss(
    states: tf.Tensor, movies: tf.Tensor, bias: tf.Tensor, batch: Batch, rows: int
) -> tf.Tensor:
    """Returns the mean cross-entropy of the next events, among movies not rated before.

    Computed for some rows at a time, with the gradients, so that the logits stay in the
    processor's cache: twice as fast as all at once, and without their memory.

    Args:
      states: `[rows of the batch, width]`.
      movies: `[movies, width]`.
      bias: `[movies]`.
      batch: what the states were made of.
      rows: how many at a time.
    """

    @tf.custom_gradient
    def loss(
        states: tf.Tensor, movies: tf.Tensor, bias: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]]:
        total, of_states = tf.constant(0.0), []
        of_movies, of_bias = tf.zeros_like(movies), tf.zeros_like(bias)
        weights = batch.weights / tf.maximum(tf.reduce_sum(batch.weights), 1.0)
        for first in range(0, states.shape[0], rows):
            part = slice(first, first + rows)
            state, target, weight = states[part], batch.targets[part], weights[part]
            logits = tf.matmul(state, movies, transpose_b=True) + bias
            first_rated = tf.gather(batch.first_rated, batch.segments[part])
            logits = tf.where(first_rated <= batch.places[part, tf.newaxis], _HIDDEN, logits)
            highest = tf.reduce_max(logits, axis=1, keepdims=True)
            exponentials = tf.exp(logits - highest)
            sums = tf.reduce_sum(exponentials, axis=1, keepdims=True)
            own = tf.gather(logits, target, batch_dims=1)
            total += tf.reduce_sum(weight * ((highest + tf.math.log(sums))[:, 0] - own))
            # The gradient by the logits: their softmax, minus 1 at the target.
            softmax = exponentials * (weight[:, tf.newaxis] / sums)
            weighted = weight[:, tf.newaxis] * state
            of_states.append(
                tf.matmul(softmax, movies) - weight[:, tf.newaxis] * tf.gather(movies, target)
            )
            place = target[:, tf.newaxis]
            of_movies += tf.matmul(softmax, state, transpose_a=True)
            of_movies = tf.tensor_scatter_nd_sub(of_movies, place, weighted)
            of_bias += tf.reduce_sum(softmax, axis=0)
            of_bias = tf.tensor_scatter_nd_sub(of_bias, place, weight)
        gradients = (tf.concat(of_states, axis=0), of_movies, of_bias)
        return total, lambda upstream: tuple(upstream * gradient for gradient in gradients)

    return loss(states, movies, bias)


def fit_sequence(
    config: SequenceConfig, data: TrainingData, seed: int, on_epoch: OnEpoch
) -> tuple[SequenceBlock, list[float]]:
    """Trains a block on whole histories.

    Args:
      config: shape, regularisation and training.
      data: what is learned from.
      seed: of initial values, shuffles and dropout.
      on_epoch: see `OnEpoch`.

    Returns:
      The block, and its losses, one per epoch.

    Raises:
      ValueError: the loss is not a number: the learning rate is too high.
    """
    block = SequenceBlock(config, data.ratings_per_movie, seed)
    movies = len(data.catalogue.ids)
    rng = np.random.default_rng(seed)
    epochs, steps = config.schedule(
        sum(1 for _ in user_batches(data.interactions, config.batch_rows, rng))
    )
    warm_up = round(config.warm_up_share * epochs * steps)
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else config.learning_rate,
        max(1, epochs * steps - warm_up),
        warmup_target=config.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )
    optimizer = tf.keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-8)
    variables = block.trainable_variables
    optimizer.build(variables)

    def train_step(batch: Batch, step: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            table, bias = tf.convert_to_tensor(block.movies), tf.convert_to_tensor(block.bias)
            states = block.states(batch, step)
            loss = softmax_loss(states, table, bias, batch, config.softmax_rows)
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(
            (tf.convert_to_tensor(gradient), variable)
            for gradient, variable in zip(gradients, variables, strict=True)
        )
        return loss

    compiled = tf.function(train_step, [_batch_spec(config, movies), _STEP], autograph=False)
    losses: list[float] = []
    step = 0
    for epoch in range(1, epochs + 1):
        found = []
        for batch in batches(data.interactions, movies, config, rng, steps):
            found.append(float(compiled(batch, tf.constant(step))))
            step += 1
        losses.append(float(np.mean(found)))
        if not np.isfinite(losses[-1]):
            raise ValueError(
                f"expected a finite loss of the sequence block, received {losses[-1]}: lower its "
                f"learning rate ({config.learning_rate})"
            )
        on_epoch(epoch, epochs, losses[-1])
    return block, losses


_STEP = tf.TensorSpec([], tf.int32)


def _batch_spec(config: SequenceConfig, movies: int) -> Batch:
    """The shapes of every batch, so that the step is traced once."""
    whole, seconds, weights = (
        tf.TensorSpec([config.batch_rows], dtype) for dtype in (tf.int32, tf.int64, tf.float32)
    )
    rated = tf.TensorSpec([None, movies], tf.int32)
    return Batch(whole, whole, seconds, seconds, whole, whole, weights, rated)


def batches(
    interactions: Interactions,
    movies: int,
    config: SequenceConfig,
    rng: np.random.Generator,
    steps: int,
) -> Iterator[Batch]:
    """Yields one epoch: whole users in random order, packed into `config.batch_rows` rows.

    Args:
      interactions: the ratings.
      movies: how many there are in the catalogue.
      config: `batch_rows`.
      rng: of the order.
      steps: how many batches at most.
    """
    drawn = user_batches(interactions, config.batch_rows, rng)
    for positions, segments in itertools.islice(drawn, steps):
        yield batch_of(interactions, movies, positions, segments, config.batch_rows)


def batch_of(
    interactions: Interactions,
    movies: int,
    positions: IntArray,
    segments: IntArray,
    rows: int,
) -> Batch:
    """Returns a batch, padded to a number of rows.

    Args:
      interactions: the ratings.
      movies: how many there are in the catalogue.
      positions: `[n]` positions in `interactions`, of each user in event order.
      segments: `[n]` ascending number of each one's user, from 0 on.
      rows: n or more.
    """
    users, pad = int(segments[-1]) + 1, rows - len(positions)
    movie, time = interactions.movie_row[positions], interactions.timestamp[positions]
    place = positions - interactions.offsets[interactions.user_row[positions]]
    has_next = np.append(segments[1:] == segments[:-1], False)
    following = np.minimum(np.arange(len(positions)) + 1, len(positions) - 1)
    first_rated = np.full([users + 1, movies], _NOT_RATED, np.int32)
    first_rated[segments, movie] = place

    def padded(values: npt.NDArray[Any], dtype: type[np.generic], value: int = 0) -> tf.Tensor:
        return tf.constant(np.pad(values.astype(dtype), (0, pad), constant_values=value))

    return Batch(
        padded(movie, np.int32),
        padded(segments, np.int32, users),
        padded(time, np.int64),
        padded(np.where(has_next, time[following], time), np.int64),
        padded(place, np.int32),
        padded(movie[following], np.int32),
        padded(has_next, np.float32),
        tf.constant(first_rated),
    )
