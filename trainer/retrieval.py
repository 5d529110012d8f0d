"""Retrieval as it is served: taste, and while a session lasts the towers that see its order.

The score of a movie is one dot product of a query and a candidate vector:

| block | query | candidate |
|---|---|---|
| taste | a · tanh(pooled history + profile + start) | embedding + features |
| tower | s · (pooled history + profile) | embedding + features |
| recency | s · latest events | embedding |
| biases | a, s | log popularity, as trained |
| movies | a · c · (EASE's scores) - penalty on seen ones | one-hot |

with s = 1 in a session and 0 after it, and a the weight of taste: `session_weight` in a
session, 1 after it. The last block is as wide as the catalogue and is added without writing
the one-hot out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from trainer.config import ModelConfig
from trainer.data import Catalogue
from trainer.history import mean_history, recency_of_events, recency_weights
from trainer.model import MovieRecommender
from trainer.taste import Floats, TasteModel
from transform import outputs as out


class Events(NamedTuple):
    """What users have rated, as pairs.

    Attributes:
      rows: `[events]` int32, the row of the batch.
      movies: `[events]` int32, rows of the catalogue.
      stars: `[events]` float32, above the user's mean; 0 where not known.
    """

    rows: tf.Tensor
    movies: tf.Tensor
    stars: tf.Tensor


class Latest(NamedTuple):
    """The latest events before a query.

    Attributes:
      movies: `[batch, events]` int32, rows of the catalogue; any where not `earlier`.
      seconds: `[batch, events]` float32, from the event to the query.
      earlier: `[batch, events]` bool, whether there is such an event, strictly earlier.
    """

    movies: tf.Tensor
    seconds: tf.Tensor
    earlier: tf.Tensor


class History(NamedTuple):
    """Everything users have rated, padded to the longest.

    Attributes:
      movies: `[batch, events]` int32, rows of the catalogue; any where not `there`.
      stars: `[batch, events]` float32, above the user's mean; 0 where not known.
      seconds: `[batch, events]` float32, from the event to the query.
      earlier: `[batch, events]` bool, whether the event is strictly before the query.
      there: `[batch, events]` bool, false for padding.
    """

    movies: tf.Tensor
    stars: tf.Tensor
    seconds: tf.Tensor
    earlier: tf.Tensor
    there: tf.Tensor


class Knowledge(NamedTuple):
    """What follows from histories alone, one row per user.

    Attributes:
      number: `[users]` float32, lengths of the histories.
      taste: `[users, dim]` sums of the autoencoder's embeddings.
      tower: `[users, dim]` pooled history of the query tower.
      ease: `[users, movies]` EASE's scores, weighted; zero-width where there is none.
    """

    number: tf.Tensor
    taste: tf.Tensor
    tower: tf.Tensor
    ease: tf.Tensor


class HistoryRetrieval(tf.Module):
    """Scores of all movies from histories.

    Args:
      model: the trained towers.
      taste: the trained autoencoder.
      ease: EASE's weights `[movies, movies]`; None where the catalogue is too large.
      catalogue: every movie.
    """

    def __init__(
        self,
        model: MovieRecommender,
        taste: TasteModel,
        ease: Floats | None,
        catalogue: Catalogue,
    ) -> None:
        super().__init__(name="retrieval")
        self._config: ModelConfig = model.model_config
        self._taste_config = taste.taste_config
        self._movies = len(catalogue.ids)
        self._query_tower = model.query_tower
        self._taste = taste
        self._movie_ids = tf.constant(catalogue.features[out.MOVIE_ID.name], tf.int32)
        towers = model.candidate_tower()
        self._widths = [taste.ids.shape[1], 1, towers.shape[1]]
        vectors = tf.concat([taste.candidates(), taste.bias[:, tf.newaxis], towers], axis=1)
        self.candidates = tf.Variable(vectors, trainable=False, name="candidates")
        self.ease = None if ease is None else tf.Variable(ease, trainable=False, name="ease")

    def knowledge(self, events: Events, batch: tf.Tensor) -> Knowledge:
        """Sums up histories; `batch` is the number of users."""
        vectors = tf.gather(self._taste.input_table, events.movies)
        vectors += events.stars[:, tf.newaxis] * tf.gather(self._taste.opinion, events.movies)
        number = tf.math.unsorted_segment_sum(tf.ones_like(events.stars), events.rows, batch)
        tower = tf.gather(self._query_tower.history, tf.gather(self._movie_ids, events.movies))
        totals = tf.math.unsorted_segment_sum(tower, events.rows, batch)
        return Knowledge(
            number=number,
            taste=tf.math.unsorted_segment_sum(vectors, events.rows, batch),
            tower=mean_history(totals, number),
            ease=self._ease_scores(events, batch),
        )

    def _ease_scores(self, events: Events, batch: tf.Tensor) -> tf.Tensor:
        if self.ease is None:
            return tf.zeros([batch, 0])
        indices = tf.cast(tf.stack([events.rows, events.movies], axis=1), tf.int64)
        shape = tf.stack([tf.cast(batch, tf.int64), self._movies])
        seen = tf.SparseTensor(indices, tf.ones_like(events.stars), shape)
        weight = self._taste_config.ease_weight
        return weight * tf.sparse.sparse_dense_matmul(seen, self.ease)

    def taste_scores(self, knowledge: Knowledge, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[batch, movies]` scores that do not depend on when one asks."""
        query = self._taste.query(knowledge.taste, knowledge.number, features)
        vectors, bias, _ = tf.split(self.candidates, self._widths, axis=1)
        scores = tf.matmul(query, vectors, transpose_b=True) + tf.squeeze(bias, axis=1)
        return scores if self.ease is None else scores + knowledge.ease

    def scores(
        self,
        taste: tf.Tensor,
        knowledge: Knowledge,
        features: Mapping[str, tf.Tensor],
        latest: Latest,
    ) -> tf.Tensor:
        """Returns `[batch, movies]` scores at the time of the query.

        Args:
          taste: what `taste_scores` gave.
          knowledge: of each row's user.
          features: transformed features of user and context, `[batch]` each.
          latest: the latest events before each query.
        """
        if self._query_tower.recency is None:
            return taste
        query = self._query_tower(features, knowledge.tower, self._recency(latest), training=False)
        towers = tf.split(self.candidates, self._widths, axis=1)[2]
        timed = tf.matmul(query, towers, transpose_b=True)
        in_session = _in_session(latest.earlier, latest.seconds, self._config)
        return tf.where(in_session, timed + self._taste_config.session_weight * taste, taste)

    def taste_vectors(self) -> tf.Tensor:
        """Returns `[movies, dim]`: near ones are liked by the same people."""
        return self.candidates[:, : self._widths[0]]

    def contributions(
        self,
        knowledge: Knowledge,
        features: Mapping[str, tf.Tensor],
        history: History,
        movies: tf.Tensor,
    ) -> tf.Tensor:
        """Returns `[batch, n, events]`: how much each event adds to the score of each movie.

        The scores are sums over events but for the autoencoder's tanh, of which the gradient
        at the query times the event's input is taken.

        Args:
          knowledge: of each row's user.
          features: transformed features of user and context, `[batch]` each.
          history: everything the users have rated.
          movies: `[batch, n]` rows of the catalogue.
        """
        taste, _, towers = tf.split(tf.gather(self.candidates, movies), self._widths, axis=2)
        query = self._taste.query(knowledge.taste, knowledge.number, features)
        share = tf.math.rsqrt(knowledge.number + 1.0)[:, tf.newaxis, tf.newaxis]
        inputs = tf.gather(self._taste.input_table, history.movies)
        inputs += history.stars[:, :, tf.newaxis] * tf.gather(self._taste.opinion, history.movies)
        slope = (1.0 - tf.square(query))[:, tf.newaxis]
        found = tf.matmul(taste * slope, inputs * share, transpose_b=True)
        if self.ease is not None:
            zeros = tf.zeros_like(found, tf.int32)
            pairs = tf.stack(
                [zeros + history.movies[:, tf.newaxis], zeros + movies[:, :, tf.newaxis]], axis=-1
            )
            found += self._taste_config.ease_weight * tf.gather_nd(self.ease, pairs)
        if self._query_tower.recency is not None:
            in_session = _in_session(history.earlier, history.seconds, self._config)
            timed = self._timed_contributions(history, towers, share)
            weight = self._taste_config.session_weight
            found = tf.where(in_session[:, :, tf.newaxis], timed + weight * found, found)
        return tf.where(history.there[:, tf.newaxis], found, 0.0)

    def _timed_contributions(
        self, history: History, towers: tf.Tensor, share: tf.Tensor
    ) -> tf.Tensor:
        tower = self._query_tower
        width = self._config.embedding_dim
        ids = tf.gather(self._movie_ids, history.movies)
        weights = recency_weights(
            history.seconds[:, tf.newaxis],
            history.earlier[:, tf.newaxis],
            self._config.recency_seconds,
        )[:, :, 0]
        mixed = tf.einsum("bte,td->bed", weights, tower.mixture) * tf.gather(tower.recency, ids)
        pooled = tf.gather(tower.history, ids) * share
        return tf.matmul(
            towers[:, :, : 2 * width], tf.concat([pooled, mixed], axis=2), transpose_b=True
        )

    def _recency(self, latest: Latest) -> tf.Tensor:
        return recency_of_events(
            tf.gather(self._movie_ids, latest.movies),
            latest.seconds,
            latest.earlier,
            self._query_tower.recency,
            self._query_tower.mixture,
            self._config.recency_seconds,
        )


def _in_session(earlier: tf.Tensor, seconds: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    """Returns `[batch, 1]` bool: whether the user rated something not long ago."""
    recent = earlier & (seconds <= float(config.session_seconds))
    return tf.reduce_any(recent, axis=1, keepdims=True)
