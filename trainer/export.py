"""The exported model: one SavedModel that answers with plain TensorFlow.

A `tf.Module` that holds the preprocessing graph, both towers' results for what is known
(the candidate matrix, each known user's pooled history), the rating model, the catalogue's
titles and each user's training history. Three signatures:

- `serving_default`: serialized tf.Examples to rating and ranks, for the Evaluator and batch
  jobs;
- `recommend`: who (and what not) to movies;
- `rank`: who and which movies to stars.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schema import features as raw
from schema.features import Owner
from schema.predictions import (
    PREDICTED_RATING,
    RANK_ALL,
    RANK_POPULARITY,
    RANK_UNSEEN,
    UNKNOWN_RANK,
)
from trainer.config import ModelConfig
from trainer.data import Catalogue, IntArray, Interactions, Users
from trainer.history import mean_history, recency_of_events
from trainer.model import MovieRecommender
from transform import outputs as out

_USER_INPUTS: tuple[raw.Feature, ...] = raw.model_inputs(Owner.USER)
_WORST = tf.float32.min


class ServingModel(tf.Module):
    """The trained model with everything it needs to answer.

    Args:
      model: the trained model.
      transform_output: the preprocessing graph.
      catalogue: every movie.
      users: the users of the training ratings.
      interactions: the training ratings, which become the users' histories.
    """

    def __init__(
        self,
        model: MovieRecommender,
        transform_output: tft.TFTransformOutput,
        catalogue: Catalogue,
        users: Users,
        interactions: Interactions,
    ) -> None:
        super().__init__(name="movie_recommender")
        self._config: ModelConfig = model.model_config
        self._movies = len(catalogue.ids)
        self._users = len(users.ids)
        self.transform = transform_output.transform_features_layer()
        self.query_tower = model.query_tower
        self.rating_model = model.rating_model
        self.candidates = _constant(model.candidate_tower(), "candidates")
        self._build_catalogue(catalogue, model)
        self._build_users(users, interactions)

    def _build_catalogue(self, catalogue: Catalogue, model: MovieRecommender) -> None:
        unknown_movie = _features_of_an_unknown_movie(self.transform)
        self._movie_features = {
            name: tf.concat([values, unknown_movie[name]], axis=0)
            for name, values in model.candidate_tower.features.items()
        }
        self._movie_rows = _lookup(catalogue.ids, "movie_rows")
        # One more row stands for "no movie": where fewer than k can be recommended.
        self._movie_ids = tf.constant([*catalogue.ids, b""])
        self._titles = tf.constant([*catalogue.titles, b""])

    def _build_users(self, users: Users, interactions: Interactions) -> None:
        """Lays out histories by user; one more user, the unknown one, has an empty history."""
        movie_id = self._movie_features[out.MOVIE_ID.name].numpy()[interactions.movie_row]
        vectors = self.query_tower.history.numpy()[movie_id]
        totals = np.zeros([self._users + 1, vectors.shape[1]], np.float32)
        np.add.at(totals, interactions.user_row, vectors)
        counts = np.diff(interactions.offsets, append=interactions.offsets[-1])
        self._user_rows = _lookup(users.ids, "user_rows")
        self.history = _constant(mean_history(totals, counts.astype(np.float32)), "history")
        self.history_movies = _constant(interactions.movie_row.astype(np.int32), "history_movies")
        self.history_times = _constant(interactions.timestamp, "history_times")
        self.last_time = _constant(interactions.timestamp.max(), "last_time")
        popularity = np.bincount(interactions.movie_row, minlength=self._movies)
        self.popularity = _constant(popularity.astype(np.int64), "popularity")
        self.history_starts = _constant(interactions.offsets.astype(np.int64), "history_starts")
        self.history_ends = _constant(
            np.append(interactions.offsets[1:], interactions.offsets[-1]).astype(np.int64),
            "history_ends",
        )
        self._search_steps = _search_steps(interactions.offsets)
        self._profiles = {
            name: tf.constant(np.append(values, 0), tf.int64)
            for name, values in users.features.items()
        }

    # -- the parts of an answer ------------------------------------------------------------

    def _query_features(
        self, user_row: tf.Tensor, values: Mapping[str, tf.Tensor], timestamp: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Transforms user and context; what is left empty is taken from a known profile.

        A time after the last training rating is an unknown one: its bucket would be that of
        whoever rated last.
        """
        transformed = self.transform({**values, raw.TIMESTAMP.name: timestamp})
        features = {feature.name: transformed[feature.name] for feature in _QUERY_OUTPUTS}
        bucket = features[out.TIME_BUCKET.name]
        later = timestamp > self.last_time
        features[out.TIME_BUCKET.name] = tf.where(
            later, tf.cast(out.UNKNOWN_TIME, tf.int64), bucket
        )
        known = user_row < self._users
        for feature in out.owned_by(Owner.USER):
            given = _is_given(values[feature.source.name])
            stored = tf.gather(self._profiles[feature.name], user_row)
            features[feature.name] = tf.where(known & ~given, stored, features[feature.name])
        return features

    def _queries(
        self, user_row: tf.Tensor, features: Mapping[str, tf.Tensor], timestamp: tf.Tensor
    ) -> tf.Tensor:
        history = tf.gather(self.history, user_row)
        recency = self._recency(user_row, timestamp)
        return self.query_tower(features, history, recency, training=False)

    def _recency(self, user_row: tf.Tensor, timestamp: tf.Tensor) -> tf.Tensor | None:
        """The recency block from the latest events strictly before each query's time."""
        if self.query_tower.recency is None:
            return None
        starts = tf.gather(self.history_starts, user_row)
        ends = self._first_not_before(user_row, timestamp)
        back = tf.range(1, self._config.recency_events + 1, dtype=tf.int64)
        positions = ends[:, tf.newaxis] - back[tf.newaxis, :]
        there = positions >= starts[:, tf.newaxis]
        positions = tf.maximum(positions, 0)
        seconds = timestamp[:, tf.newaxis] - tf.gather(self.history_times, positions)
        rows = tf.gather(self.history_movies, positions)
        return recency_of_events(
            tf.gather(self._movie_features[out.MOVIE_ID.name], rows),
            tf.cast(seconds, tf.float32),
            there,
            self.query_tower.recency,
            self.query_tower.mixture,
            self._config.recency_seconds,
        )

    def _first_not_before(self, user_row: tf.Tensor, timestamp: tf.Tensor) -> tf.Tensor:
        """Binary search, per query, for the first event of the user at or after the time."""
        low = tf.gather(self.history_starts, user_row)
        high = tf.gather(self.history_ends, user_row)
        last = tf.maximum(tf.size(self.history_times, tf.int64) - 1, 0)
        for _ in range(self._search_steps):
            middle = (low + high) // 2
            before = tf.gather(self.history_times, tf.minimum(middle, last)) < timestamp
            searching = low < high
            low = tf.where(searching & before, middle + 1, low)
            high = tf.where(searching & ~before, middle, high)
        return low

    def _seen(self, user_row: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` bool: which movies are in the user's training history."""
        starts = tf.gather(self.history_starts, user_row)
        lengths = tf.gather(self.history_ends, user_row) - starts
        positions = tf.ragged.range(starts, starts + lengths)
        movies = tf.gather(self.history_movies, positions.values)
        return self._mark(positions.value_rowids(), movies, tf.shape(user_row)[0])

    def _mark(self, rows: tf.Tensor, movies: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` bool, true at the pairs; unknown movies are passed over."""
        indices = tf.stack([tf.cast(rows, tf.int32), tf.cast(movies, tf.int32)], axis=1)
        indices = tf.boolean_mask(indices, indices[:, 1] < self._movies)
        marks = tf.ones([tf.shape(indices)[0]], tf.int32)
        return tf.scatter_nd(indices, marks, [batch, self._movies]) > 0

    def _stars(self, features: Mapping[str, tf.Tensor], movie_row: tf.Tensor) -> tf.Tensor:
        movie_features = {
            name: tf.gather(values, movie_row) for name, values in self._movie_features.items()
        }
        predicted = self.rating_model(features, movie_features, training=False)
        return tf.clip_by_value(predicted, raw.RATING_MIN, raw.RATING_MAX)

    # -- the signatures --------------------------------------------------------------------

    def predict_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores the (user, movie) of each serialized tf.Example; missing features are unknown.

        Args:
          examples: `[batch]` serialized tf.Examples with features of `schema.features`.

        Returns:
          `predicted_rating` `[batch]` stars; `rank_all` and `rank_unseen` `[batch]` int64:
          the movie's rank from 1 on among all movies, and among those not in the user's
          training history; `rank_popularity` the latter by number of training ratings,
          to compare with. Ties count against the movie. A movie that is not in the
          catalogue has rank -1.
        """
        values = _parse_single_values(examples, (*_USER_INPUTS, raw.TIMESTAMP, raw.MOVIE_ID))
        movie_row = self._movie_rows.lookup(values.pop(raw.MOVIE_ID.name))
        timestamp = _or_now(values.pop(raw.TIMESTAMP.name))
        user_row = self._user_rows.lookup(values[raw.USER_ID.name])
        features = self._query_features(user_row, values, timestamp)
        queries = self._queries(user_row, features, timestamp)
        scores = tf.matmul(queries, self.candidates, transpose_b=True)
        column = tf.minimum(movie_row, self._movies - 1)
        own = tf.gather(scores, column, batch_dims=1)[:, tf.newaxis]
        # "Not below" rather than "at or above": a score that is no number beats nobody.
        not_below = ~(scores < own)
        as_popular = (
            self.popularity[tf.newaxis] >= tf.gather(self.popularity, column)[:, tf.newaxis]
        )
        others_seen = self._seen(user_row) & ~tf.one_hot(column, self._movies, True, False)
        known = movie_row < self._movies
        return {
            PREDICTED_RATING: self._stars(features, movie_row),
            RANK_ALL: _count(not_below, known),
            RANK_UNSEEN: _count(not_below & ~others_seen, known),
            RANK_POPULARITY: _count(as_popular & ~others_seen, known),
        }

    def recommend(
        self,
        values: Mapping[str, tf.Tensor],
        timestamp: tf.Tensor,
        k: tf.Tensor,
        exclude_movie_ids: tf.Tensor,
        exclude_seen: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Returns the k best movies for each user, best first.

        Args:
          values: `[batch]` raw user features; empty where not known.
          timestamp: `[batch]` unix seconds of the query; 0 means now.
          k: scalar, how many at most.
          exclude_movie_ids: `[batch, any]` ids that may not be recommended.
          exclude_seen: scalar bool, leave out the user's training history.

        Returns:
          `movie_id`, `movie_title`, `score`, `predicted_rating`, each `[batch, at most k]`,
          and `count` `[batch]`: how many of a row are recommendations. The rest of a row,
          where fewer were left, has empty ids and the lowest score there is.
        """
        timestamp = _or_now(timestamp)
        user_row = self._user_rows.lookup(values[raw.USER_ID.name])
        exclude_movie_ids = _checked(exclude_movie_ids, user_row, "exclude_movie_ids")
        features = self._query_features(user_row, values, timestamp)
        queries = self._queries(user_row, features, timestamp)
        scores = tf.matmul(queries, self.candidates, transpose_b=True)
        allowed = ~self._excluded(exclude_movie_ids, tf.shape(user_row)[0])
        allowed &= ~(self._seen(user_row) & exclude_seen)
        counts = tf.reduce_sum(tf.cast(allowed, tf.int32), axis=1)
        counts = tf.minimum(counts, tf.maximum(k, 0))
        best = tf.reduce_max(tf.concat([[0], counts], axis=0))
        top = tf.math.top_k(tf.where(allowed, scores, _WORST), best)
        real = tf.sequence_mask(counts, best)
        rows = tf.where(real, top.indices, self._movies)
        stars = self._stars_of_rows(features, rows)
        return {
            "movie_id": tf.gather(self._movie_ids, rows),
            "movie_title": tf.gather(self._titles, rows),
            "score": tf.where(real, top.values, _WORST),
            PREDICTED_RATING: tf.where(real, stars, 0.0),
            "count": counts,
        }

    def rank(
        self, values: Mapping[str, tf.Tensor], timestamp: tf.Tensor, movie_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns the stars each user would give to given movies.

        Args:
          values: `[batch]` raw user features; empty where not known.
          timestamp: `[batch]` unix seconds of the query; 0 means now.
          movie_ids: `[batch, movies]` ids; an unknown one is rated as an average film.

        Returns:
          `movie_id`, `movie_title` (empty where unknown) and `predicted_rating`, each
          `[batch, movies]`.
        """
        timestamp = _or_now(timestamp)
        user_row = self._user_rows.lookup(values[raw.USER_ID.name])
        movie_ids = _checked(movie_ids, user_row, "movie_ids")
        features = self._query_features(user_row, values, timestamp)
        rows = self._movie_rows.lookup(movie_ids)
        return {
            "movie_id": movie_ids,
            "movie_title": tf.gather(self._titles, rows),
            PREDICTED_RATING: self._stars_of_rows(features, rows),
        }

    def _excluded(self, movie_ids: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        per_row = tf.shape(movie_ids)[1]
        rows = tf.repeat(tf.range(batch), per_row)
        return self._mark(rows, self._movie_rows.lookup(tf.reshape(movie_ids, [-1])), batch)

    def _stars_of_rows(self, features: Mapping[str, tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
        """Predicts `[batch, n]` stars for `[batch, n]` movie rows."""
        repeats = tf.shape(rows)[1]
        repeated = {name: tf.repeat(value, repeats) for name, value in features.items()}
        return tf.reshape(self._stars(repeated, tf.reshape(rows, [-1])), tf.shape(rows))

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Traces and returns the three signatures by name."""
        user = {
            feature.name: tf.TensorSpec([None], feature.dtype, feature.name)
            for feature in _USER_INPUTS
        }
        time = {raw.TIMESTAMP.name: tf.TensorSpec([None], tf.int64, raw.TIMESTAMP.name)}

        def recommend(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            values = {name: inputs[name] for name in user}
            return self.recommend(
                values,
                inputs[raw.TIMESTAMP.name],
                inputs["k"],
                inputs["exclude_movie_ids"],
                inputs["exclude_seen"],
            )

        def rank(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            values = {name: inputs[name] for name in user}
            return self.rank(values, inputs[raw.TIMESTAMP.name], inputs["movie_ids"])

        # The functions hold no Python control flow that depends on tensors.
        default = tf.function(self.predict_examples, autograph=False)
        return {
            "serving_default": default.get_concrete_function(
                tf.TensorSpec([None], tf.string, "examples")
            ),
            "recommend": tf.function(recommend, autograph=False).get_concrete_function(
                **user,
                **time,
                k=tf.TensorSpec([], tf.int32, "k"),
                exclude_movie_ids=tf.TensorSpec([None, None], tf.string, "exclude_movie_ids"),
                exclude_seen=tf.TensorSpec([], tf.bool, "exclude_seen"),
            ),
            "rank": tf.function(rank, autograph=False).get_concrete_function(
                **user, **time, movie_ids=tf.TensorSpec([None, None], tf.string, "movie_ids")
            ),
        }


_QUERY_OUTPUTS = out.owned_by(Owner.USER, Owner.CONTEXT)


def _constant(value: tf.Tensor, name: str) -> tf.Variable:
    """A value saved with the model's variables rather than inside of its graph."""
    return tf.Variable(value, trainable=False, name=name)


def _lookup(
    ids: np.ndarray[tuple[int], np.dtype[np.bytes_]], name: str
) -> tf.lookup.StaticHashTable:
    """A table from ids to their position; an unknown id gets the position after the last."""
    initializer = tf.lookup.KeyValueTensorInitializer(
        tf.constant(ids.tolist()), tf.range(len(ids), dtype=tf.int32)
    )
    return tf.lookup.StaticHashTable(initializer, len(ids), name=name)


def _search_steps(starts: IntArray) -> int:
    """Halvings that narrow the longest history down to one place."""
    longest = int(np.diff(starts).max(initial=1))
    return longest.bit_length() + 1


def _features_of_an_unknown_movie(
    transform: tft.TransformFeaturesLayer,
) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """Transforms a movie of which nothing is known; its lists are empty."""
    inputs: dict[str, tf.Tensor | tf.SparseTensor] = {}
    for feature in raw.model_inputs(Owner.MOVIE):
        if feature.multivalued or feature.optional:
            inputs[feature.name] = tf.sparse.from_dense(tf.zeros([1, 0], feature.dtype))
        else:
            inputs[feature.name] = tf.constant([""])
    transformed = transform(inputs)
    return {
        output.name: (
            tf.RaggedTensor.from_row_lengths(tf.zeros([0], tf.int64), tf.zeros([1], tf.int64))
            if output.multivalued
            else transformed[output.name]
        )
        for output in out.owned_by(Owner.MOVIE)
    }


def _parse_single_values(
    examples: tf.Tensor, features: tuple[raw.Feature, ...]
) -> dict[str, tf.Tensor]:
    """Parses `[batch]` values of each feature: the first one, or an empty one if there is none."""
    kinds = {feature.name: tf.dtypes.as_dtype(feature.dtype) for feature in features}
    spec = {name: tf.io.VarLenFeature(kind) for name, kind in kinds.items()}
    return {
        name: tf.pad(tf.sparse.to_dense(values), [[0, 0], [0, 1]])[:, 0]
        if kinds[name] != tf.string
        else tf.pad(tf.sparse.to_dense(values), [[0, 0], [0, 1]], constant_values="")[:, 0]
        for name, values in tf.io.parse_example(examples, spec).items()
    }


def _checked(lists: tf.Tensor, user_row: tf.Tensor, name: str) -> tf.Tensor:
    """Returns the lists; without this an operation deep in the graph would say what is wrong."""
    one_each = tf.debugging.assert_equal(
        tf.shape(lists)[0],
        tf.shape(user_row)[0],
        f"expected {name} to have one list for each user_id",
    )
    with tf.control_dependencies([one_each] if one_each is not None else []):
        return tf.identity(lists)


def _is_given(values: tf.Tensor) -> tf.Tensor:
    if values.dtype == tf.string:
        return tf.not_equal(tf.strings.strip(values), "")
    return values > 0


def _or_now(timestamp: tf.Tensor) -> tf.Tensor:
    return tf.where(timestamp > 0, timestamp, tf.cast(tf.timestamp(), tf.int64))


def _count(marks: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_sum(tf.cast(marks, tf.int64), axis=1)
    return tf.where(known, total, tf.cast(UNKNOWN_RANK, tf.int64))


def export(serving: ServingModel, path: str) -> None:
    """Writes the model as a SavedModel with its three signatures."""
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(serving, path, signatures=serving.signatures(), options=options)
