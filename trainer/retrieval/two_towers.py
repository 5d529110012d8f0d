"""The two towers of the retrieval model, which score within a session.

Query and candidate vectors have the same three blocks, so one dot product scores a pair:
what the user likes × what the movie is, what the user just rated × what goes with it, and
1 × the movie's popularity.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from schema.features import Kind, Owner
from trainer.config import ModelConfig
from trainer.data.training_data import Catalogue
from trainer.retrieval.history import Recency, recency_of_batch
from transform import outputs as out

FEATURE_KINDS: tuple[Kind, ...] = (
    Kind.AGE,
    Kind.GENDER,
    Kind.TAGS,
    Kind.TITLE,
    Kind.YEAR,
    Kind.CATEGORY,
    Kind.ZIP_CODE,
    Kind.NUMBER,
)
"""Kinds of features that are embedded, in the order in which initial values are drawn.

Movies have an embedding of their id as well. Users have none: it overfits, and the history
identifies them.
"""

SECONDS_BOUNDARIES: tuple[float, ...] = tuple(2.0**power for power in range(1, 31))
"""Bounds of the buckets of seconds since the last event: 2 seconds to 34 years."""

LENGTH_BOUNDARIES: tuple[float, ...] = (
    1.0,
    *(k * 2.0**power for power in range(17) for k in (2.0, 3.0)),
)
"""Bounds of the buckets of the history's length: 1, 2, 3, 4, 6, 8, 12, ..., 196,608."""

_QUERY_OWNERS = (Owner.USER, Owner.CONTEXT)


def check_no_leak(query_features: tuple[out.Output, ...]) -> None:
    """Refuses features of the movie to be predicted, and its rating, in the query tower.

    Raises:
      ValueError: a feature is neither the user's nor the context's.
    """
    leaks = [f.name for f in query_features if f.owner not in _QUERY_OWNERS]
    if leaks:
        raise ValueError(
            "expected features of the user or the context in the query tower, received "
            f"{', '.join(leaks)}: the movie to be predicted would leak into the query"
        )


def embedding_table(name: str, rows: int, width: int, stddev: float = 0.05) -> tf.Variable:
    """Returns a variable `[rows, width]`, drawn from a normal distribution."""
    initial = tf.random.normal([rows, width], stddev=stddev)
    return tf.Variable(initial, name=name)


class FeatureSum(tf.Module):
    """The sum of the embeddings of several features.

    Args:
      features: the features, single- or multi-valued.
      sizes: number of indices of each, by name.
      width: embedding width.
      name: name of the module.
    """

    def __init__(
        self,
        features: tuple[out.Output, ...],
        sizes: Mapping[str, int],
        width: int,
        name: str,
    ) -> None:
        super().__init__(name=name)
        self.features = features
        self.width = width
        self.tables = {
            feature.name: embedding_table(feature.name, sizes[feature.name], width)
            for feature in features
        }

    def __call__(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[batch, width]` for `[batch]` indices (or a ragged batch of them).

        Zeros where there are no features; the batch size is that of any other of the `values`.
        """
        if not self.features:
            return tf.zeros([tf.shape(next(iter(values.values())))[0], self.width])
        return tf.add_n(list(self.parts(values).values()))

    def parts(self, values: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns each feature's embedding `[batch, width]` by name."""
        return {feature.name: self._embed(feature, values) for feature in self.features}

    def _embed(self, feature: out.Output, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        table, indices = self.tables[feature.name], values[feature.name]
        if not feature.multivalued:
            return tf.gather(table, indices)
        vectors = tf.gather(table, indices.values)
        return tf.math.unsorted_segment_sum(vectors, indices.value_rowids(), indices.nrows())


class CandidateTower(tf.Module):
    """What a movie is: its id's embedding plus those of its features, in two blocks.

    Args:
      catalogue: the movies; its features are held as constants.
      features: those of them that are embedded, beside the id.
      sizes: number of indices of each feature, by name.
      ratings_per_movie: `[movies]` training ratings of each, for the initial bias.
      config: widths.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        features: tuple[out.Output, ...],
        sizes: Mapping[str, int],
        ratings_per_movie: npt.NDArray[np.int64],
        config: ModelConfig,
    ) -> None:
        super().__init__(name="candidate_tower")
        width = config.embedding_dim
        self.features = catalogue_tensors(catalogue)
        self.ids = embedding_table("movie_id", sizes[out.ITEM_ID_INDEX], width)
        self.feature_sum = FeatureSum(features, sizes, width, "movie_features")
        self.recency_ids = embedding_table("movie_id_recency", sizes[out.ITEM_ID_INDEX], width)
        popularity = np.log1p(ratings_per_movie)
        bias = (popularity - popularity.mean()).astype(np.float32)
        self.bias = tf.Variable(bias[:, np.newaxis], name="popularity")

    def __call__(self) -> tf.Tensor:
        """Returns the vectors of all movies, `[movies, blocks]`."""
        ids = self.features[out.ITEM_ID_INDEX]
        tower = tf.gather(self.ids, ids) + self.feature_sum(self.features)
        return tf.concat([tower, tf.gather(self.recency_ids, ids), self.bias], axis=1)

    def l2(self) -> tf.Tensor:
        """Returns half the sum of squares of the embedding tables."""
        tables = [self.ids, *self.feature_sum.tables.values(), self.recency_ids]
        return tf.add_n([tf.nn.l2_loss(table) for table in tables])


class QueryTower(tf.Module):
    """What a user wants: history, the latest of it, profile and context.

    Args:
      features: what is known of the user.
      context: context features of the query, beside its time.
      sizes: number of indices of each feature, by name.
      config: widths and dropout.

    Raises:
      ValueError: there is a feature of the movie among the features.
    """

    def __init__(
        self,
        features: tuple[out.Output, ...],
        context: tuple[out.Output, ...],
        sizes: Mapping[str, int],
        config: ModelConfig,
    ) -> None:
        super().__init__(name="query_tower")
        check_no_leak((*features, *context))
        self.config = config
        movies, width = sizes[out.ITEM_ID_INDEX], config.embedding_dim
        self.profile = FeatureSum(features, sizes, width, "user_features")
        self.context = FeatureSum(context, sizes, width, "context_features")
        self.history = embedding_table("history", movies, width)
        self.recency = embedding_table("recency", movies, width)
        ones = tf.ones([len(config.recency_seconds), width])
        self.mixture = tf.Variable(ones, name="recency_mixture")
        self.seconds_table = tf.Variable(
            tf.zeros([len(SECONDS_BOUNDARIES) + 1, width]), name="seconds_since_last_event"
        )
        self.lengths_table = tf.Variable(
            tf.zeros([len(LENGTH_BOUNDARIES) + 1, width]), name="history_length"
        )

    def __call__(
        self,
        features: Mapping[str, tf.Tensor],
        history: tf.Tensor,
        recency: Recency,
        *,
        training: bool,
    ) -> tf.Tensor:
        """Returns query vectors `[batch, blocks]`.

        Args:
          features: transformed features of user and context, `[batch]` each.
          history: `[batch, dim]` pooled history.
          recency: the latest events.
          training: whether dropout applies.
        """
        rate = self.config.query_dropout if training else 0.0
        liked = self.in_context(tf.nn.dropout(history, rate) + self.profile(features), features)
        temporal_context = self.temporal_context(recency.seconds, recency.history_length)
        return query_of(liked + temporal_context, tf.nn.dropout(recency.block, rate))

    def in_context(self, liked: tf.Tensor, context: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[batch, dim]` history and profile with the context features added.

        Args:
          liked: `[batch, dim]`.
          context: transformed features of the context, `[batch]` each.
        """
        return liked + self.context(context) if self.context.features else liked

    def temporal_context(self, seconds: tf.Tensor, history_length: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, dim]`: embeddings of the seconds since the last event and of the
        history's length.

        Ratings that follow within seconds are of movies on the same page. New users rate popular
        movies, users with hundreds of ratings rarer ones.

        Args:
          seconds: `[batch]` float, since the latest event.
          history_length: `[batch]` integers, number of events before the query.
        """
        elapsed = tf.raw_ops.Bucketize(input=seconds, boundaries=SECONDS_BOUNDARIES)
        length = tf.raw_ops.Bucketize(input=history_length, boundaries=LENGTH_BOUNDARIES)
        return tf.gather(self.seconds_table, elapsed) + tf.gather(self.lengths_table, length)

    def recency_of_batch(
        self,
        movies: tf.Tensor,
        segments: tf.Tensor,
        timestamps: tf.Tensor,
        ties: tf.Tensor,
        hidden: tf.Tensor,
        history_length: tf.Tensor,
    ) -> Recency:
        """Returns the latest known events before each row.

        Args:
          movies: as of `trainer.retrieval.history.recency_of_batch`, like the next four.
          segments: see there.
          timestamps: see there.
          ties: see there.
          hidden: see there.
          history_length: `[batch]` how many events are known of before each row.
        """
        block, seconds = recency_of_batch(
            movies,
            segments,
            timestamps,
            ties,
            hidden,
            self.config.max_truncation if self.config.truncated_share else 0,
            self.recency,
            self.mixture,
            self.config.recency_seconds,
            self.config.recency_events,
        )
        return Recency(block, seconds, history_length)

    def l2(self) -> tf.Tensor:
        """Returns half the sum of squares of the embedding tables."""
        tables = [self.history, *self.profile.tables.values(), *self.context.tables.values()]
        tables += [self.recency, self.seconds_table, self.lengths_table]
        return tf.add_n([tf.nn.l2_loss(table) for table in tables])


def query_of(liked: tf.Tensor, recency: tf.Tensor) -> tf.Tensor:
    """Returns query vectors `[batch, blocks]` from history + profile and the session component."""
    return tf.pad(tf.concat([liked, recency], axis=1), [[0, 0], [0, 1]], constant_values=1.0)


def catalogue_tensors(catalogue: Catalogue) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """Returns the catalogue's features as constants, ragged where multi-valued."""
    tensors: dict[str, tf.Tensor | tf.RaggedTensor] = {}
    for name, values in catalogue.features.items():
        if isinstance(values, list):
            lengths = [len(row) for row in values]
            flat = np.concatenate(values) if values else np.zeros(0)
            tensors[name] = tf.RaggedTensor.from_row_lengths(
                tf.constant(flat, tf.int64), tf.constant(lengths, tf.int64)
            )
        else:
            tensors[name] = tf.constant(values, tf.int64)
    return tensors
