"""The exported model: one SavedModel that answers with plain TensorFlow.

A `tf.Module` that holds the preprocessing graph, retrieval, rating, the catalogue and each
user's training history. Its signatures:

- `serving_default`: serialized tf.Examples to rating and ranks, for the Evaluator and batch
  jobs;
- `recommend`: who (and what not) to movies;
- `rank`: who and which movies to stars;
- `similar`: a movie to others that are liked by the same people;
- `explain`: who and which movies to the rated films that speak for each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schema import features as raw
from schema.features import Owner
from schema.predictions import (
    PREDICTED_RATING,
    RANK_ALL,
    RANK_PLAIN,
    RANK_POPULARITY,
    RANK_UNSEEN,
    RANK_UNTIMED,
    UNKNOWN_RANK,
    UNTIMED_RATING,
    USER_KEY,
)
from trainer.data import Catalogue, IntArray, Interactions, Users
from trainer.retrieval import Events, History, Knowledge, Latest
from trainer.taste import star_residuals
from transform import outputs as out

_USER_INPUTS: tuple[raw.Feature, ...] = raw.model_inputs(Owner.USER)
_WORST = tf.float32.min

Features = Mapping[str, tf.Tensor]
Answer = dict[str, tf.Tensor]


class Retrieval(Protocol):
    """What scores the whole catalogue (`trainer.retrieval.HistoryRetrieval` says how)."""

    @property
    def candidates(self) -> tf.Variable:
        """`[movies, dim]` candidate vectors."""

    def knowledge(self, events: Events, batch: tf.Tensor) -> Knowledge:
        """Sums up histories."""

    def taste_scores(self, knowledge: Knowledge, features: Features) -> tf.Tensor:
        """Returns `[batch, movies]` scores that do not depend on when one asks."""

    def scores(
        self, taste: tf.Tensor, knowledge: Knowledge, features: Features, latest: Latest
    ) -> tf.Tensor:
        """Returns `[batch, movies]` scores at the time of the query."""

    def contributions(
        self, knowledge: Knowledge, features: Features, history: History, movies: tf.Tensor
    ) -> tf.Tensor:
        """Returns `[batch, n, events]`: how much each event adds to each movie's score."""

    def taste_vectors(self) -> tf.Tensor:
        """Returns `[movies, dim]`: near ones are liked by the same people."""


class Rating(Protocol):
    """What predicts stars (`trainer.stars.BlendedRating` says how)."""

    def __call__(
        self,
        user_row: tf.Tensor,
        features: Features,
        movie_row: tf.Tensor,
        movie_features: Features,
        timestamp: tf.Tensor,
    ) -> tf.Tensor:
        """Returns `[batch]` stars, not clipped; the rows may be those of unknown ones."""


class Query(NamedTuple):
    """Who asks, and when.

    Attributes:
      user_row: `[batch]` int32; the number of users where unknown.
      features: transformed features of user and context, `[batch]` each.
      timestamp: `[batch]` int64, unix seconds.
    """

    user_row: tf.Tensor
    features: Features
    timestamp: tf.Tensor


class Recent(NamedTuple):
    """What users say they have seen beside what is known of them.

    Attributes:
      movies: `[batch, n]` int32 rows of the catalogue; the number of movies where unknown.
      times: `[batch, n]` int64 unix seconds; the query's own where not given.
      new: `[batch, n]` bool, whether it is not in the known history, nor named before.
    """

    movies: tf.Tensor
    times: tf.Tensor
    new: tf.Tensor


class ServingModel(tf.Module):
    """The trained model with everything it needs to answer.

    Args:
      retrieval: scores the catalogue.
      rating: predicts stars.
      recency_events: how many latest events retrieval looks at.
      transform_output: the preprocessing graph.
      catalogue: every movie.
      movie_features: its transformed features as tensors.
      users: the users of the training ratings.
      interactions: the training ratings, which become the users' histories.
    """

    def __init__(
        self,
        retrieval: Retrieval,
        rating: Rating,
        recency_events: int,
        transform_output: tft.TFTransformOutput,
        catalogue: Catalogue,
        movie_features: Mapping[str, tf.Tensor | tf.RaggedTensor],
        users: Users,
        interactions: Interactions,
    ) -> None:
        super().__init__(name="movie_recommender")
        self._movies = len(catalogue.ids)
        self._users = len(users.ids)
        self._recency_events = recency_events
        self.transform = transform_output.transform_features_layer()
        self.retrieval = retrieval
        self.rating = rating
        self.candidates = retrieval.candidates
        self._build_catalogue(catalogue, movie_features)
        self._build_users(users, interactions)

    def _build_catalogue(
        self, catalogue: Catalogue, features: Mapping[str, tf.Tensor | tf.RaggedTensor]
    ) -> None:
        unknown_movie = _features_of_an_unknown_movie(self.transform)
        self._movie_features = {
            name: tf.concat([values, unknown_movie[name]], axis=0)
            for name, values in features.items()
        }
        self._movie_rows = _lookup(catalogue.ids, "movie_rows")
        # One more row stands for "no movie": where fewer than k can be recommended.
        self._movie_ids = tf.constant([*catalogue.ids, b""])
        self._titles = tf.constant([*catalogue.titles, b""])
        vectors = tf.math.l2_normalize(self.retrieval.taste_vectors(), axis=1)
        self.taste_vectors = _constant(tf.pad(vectors, [[0, 1], [0, 0]]), "taste_vectors")

    def _build_users(self, users: Users, interactions: Interactions) -> None:
        """Lays out histories by user; one more user, the unknown one, has an empty history."""
        self._user_rows = _lookup(users.ids, "user_rows")
        self.history_movies = _constant(interactions.movie_row.astype(np.int32), "history_movies")
        self.history_stars = _constant(star_residuals(interactions), "history_stars")
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

    # -- who asks --------------------------------------------------------------------------

    def _query(self, values: Features, timestamp: tf.Tensor) -> Query:
        """Transforms user and context; what is left empty is taken from a known profile.

        A time after the last training rating is an unknown one: its bucket would be that of
        whoever rated last.
        """
        timestamp = _or_now(timestamp)
        user_row = self._user_rows.lookup(values[raw.USER_ID.name])
        transformed = self.transform({**values, raw.TIMESTAMP.name: timestamp})
        features = {feature.name: transformed[feature.name] for feature in _QUERY_OUTPUTS}
        later = timestamp > self.last_time
        bucket = features[out.TIME_BUCKET.name]
        features[out.TIME_BUCKET.name] = tf.where(later, _UNKNOWN_TIME, bucket)
        known = user_row < self._users
        for feature in out.owned_by(Owner.USER):
            given = _is_given(values[feature.source.name])
            stored = tf.gather(self._profiles[feature.name], user_row)
            features[feature.name] = tf.where(known & ~given, stored, features[feature.name])
        return Query(user_row, features, timestamp)

    def _events(self, user_row: tf.Tensor) -> tuple[Events, tf.RaggedTensor]:
        """Returns the known histories as pairs, and their places in the histories' arrays."""
        starts = tf.gather(self.history_starts, user_row)
        lengths = tf.gather(self.history_ends, user_row) - starts
        places = tf.ragged.range(starts, starts + lengths)
        events = Events(
            tf.cast(places.value_rowids(), tf.int32),
            tf.gather(self.history_movies, places.values),
            tf.gather(self.history_stars, places.values),
        )
        return events, places

    def _recent(
        self, query: Query, seen: tf.Tensor, movie_ids: tf.Tensor, timestamps: tf.Tensor
    ) -> Recent:
        movie_ids = _checked(movie_ids, query.user_row, "recent_movie_ids")
        timestamps = _checked(timestamps, movie_ids, "recent_timestamps", axes=2)
        movies = self._movie_rows.lookup(movie_ids)
        same = movies[:, :, tf.newaxis] == movies[:, tf.newaxis, :]
        before = tf.linalg.band_part(tf.cast(same, tf.int32), -1, 0)
        first = tf.reduce_sum(before, axis=2) == 1
        in_history = tf.gather(tf.pad(seen, [[0, 0], [0, 1]]), movies, batch_dims=1)
        new = first & ~in_history & (movies < self._movies)
        given = tf.where(timestamps > 0, timestamps, query.timestamp[:, tf.newaxis])
        return Recent(movies, given, new)

    def _latest(self, query: Query, recent: Recent | None) -> Latest:
        """The latest events strictly before each query's time."""
        starts = tf.gather(self.history_starts, query.user_row)
        ends = self._first_not_before(query)
        back = tf.range(1, self._recency_events + 1, dtype=tf.int64)
        positions = ends[:, tf.newaxis] - back[tf.newaxis, :]
        there = positions >= starts[:, tf.newaxis]
        positions = tf.maximum(positions, 0)
        movies = tf.gather(self.history_movies, positions)
        times = tf.gather(self.history_times, positions)
        if recent is not None:
            movies = tf.concat([movies, tf.minimum(recent.movies, self._movies - 1)], axis=1)
            times = tf.concat([times, recent.times], axis=1)
            there = tf.concat([there, recent.movies < self._movies], axis=1)
        seconds = query.timestamp[:, tf.newaxis] - times
        return Latest(movies, tf.cast(seconds, tf.float32), there & (seconds > 0))

    def _first_not_before(self, query: Query) -> tf.Tensor:
        """Binary search, per query, for the first event of the user at or after the time."""
        low = tf.gather(self.history_starts, query.user_row)
        high = tf.gather(self.history_ends, query.user_row)
        last = tf.maximum(tf.size(self.history_times, tf.int64) - 1, 0)
        for _ in range(self._search_steps):
            middle = (low + high) // 2
            before = tf.gather(self.history_times, tf.minimum(middle, last)) < query.timestamp
            searching = low < high
            low = tf.where(searching & before, middle + 1, low)
            high = tf.where(searching & ~before, middle, high)
        return low

    # -- the parts of an answer ------------------------------------------------------------

    def _mark(self, rows: tf.Tensor, movies: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` bool, true at the pairs; unknown movies are passed over."""
        indices = tf.stack([tf.cast(rows, tf.int32), tf.cast(movies, tf.int32)], axis=1)
        indices = tf.boolean_mask(indices, indices[:, 1] < self._movies)
        marks = tf.ones([tf.shape(indices)[0]], tf.int32)
        return tf.scatter_nd(indices, marks, [batch, self._movies]) > 0

    def _marked(self, movies: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` bool, true at `[batch, n]` rows of movies."""
        batch, per_row = tf.unstack(tf.shape(movies))
        rows = tf.repeat(tf.range(batch), per_row)
        return self._mark(rows, tf.reshape(movies, [-1]), batch)

    def _stars(self, query: Query, movie_row: tf.Tensor) -> tf.Tensor:
        movie_features = {
            name: tf.gather(values, movie_row) for name, values in self._movie_features.items()
        }
        predicted = self.rating(
            query.user_row, query.features, movie_row, movie_features, query.timestamp
        )
        return tf.clip_by_value(predicted, raw.RATING_MIN, raw.RATING_MAX)

    def _stars_of_rows(self, query: Query, rows: tf.Tensor) -> tf.Tensor:
        """Predicts `[batch, n]` stars for `[batch, n]` movie rows."""
        repeats = tf.shape(rows)[1]
        repeated = Query(
            tf.repeat(query.user_row, repeats),
            {name: tf.repeat(value, repeats) for name, value in query.features.items()},
            tf.repeat(query.timestamp, repeats),
        )
        return tf.reshape(self._stars(repeated, tf.reshape(rows, [-1])), tf.shape(rows))

    def _scores(self, query: Query, asked: Asked) -> tuple[tf.Tensor, tf.Tensor, Recent]:
        """Returns `[batch, movies]` scores, which movies were seen, and what was said."""
        batch = tf.shape(query.user_row)[0]
        events, _ = self._events(query.user_row)
        seen = self._mark(events.rows, events.movies, batch)
        recent = self._recent(query, seen, asked.recent_movie_ids, asked.recent_timestamps)
        knowledge = self.retrieval.knowledge(_joined(events, recent), batch)
        taste = self.retrieval.taste_scores(knowledge, query.features)
        latest = self._latest(query, recent)
        scores = self.retrieval.scores(taste, knowledge, query.features, latest)
        return scores, seen | self._marked(recent.movies), recent

    # -- the signatures --------------------------------------------------------------------

    def predict_examples(self, examples: tf.Tensor) -> Answer:
        """Scores the (user, movie) of each serialized tf.Example; missing features are unknown.

        Args:
          examples: `[batch]` serialized tf.Examples with features of `schema.features`.

        Returns:
          `predicted_rating` `[batch]` stars, and `untimed_rating`: the same asked after the
          training's end. Ranks of the movie, `[batch]` int64, from 1 on: `rank_all` among
          all movies, where those in the user's training history come last (the seen block),
          `rank_plain` without that; `rank_unseen` among the movies not in the training
          history, `rank_untimed` the same without the times of the history, and
          `rank_popularity` by number of training ratings, to compare with. Ties count
          against the movie. A movie that is not in the catalogue has rank -1. `user_key` is
          the same for all rows of a user.
        """
        values = _parse_single_values(examples, (*_USER_INPUTS, raw.TIMESTAMP, raw.MOVIE_ID))
        movie_row = self._movie_rows.lookup(values.pop(raw.MOVIE_ID.name))
        query = self._query(values, values.pop(raw.TIMESTAMP.name))
        # A batch has many rows of few users: what follows from histories is made once each.
        users, user = tf.unique(query.user_row)
        events, _ = self._events(users)
        seen = tf.gather(self._mark(events.rows, events.movies, tf.size(users)), user)
        knowledge = self.retrieval.knowledge(events, tf.size(users))
        knowledge = Knowledge(*(tf.gather(values, user) for values in knowledge))
        taste = self.retrieval.taste_scores(knowledge, query.features)
        latest = self._latest(query, None)
        scores = self.retrieval.scores(taste, knowledge, query.features, latest)
        column = tf.minimum(movie_row, self._movies - 1)
        others_seen = seen & ~tf.one_hot(column, self._movies, True, False)
        own_seen = tf.gather(seen, column, batch_dims=1)[:, tf.newaxis]
        # The answer's own place decides whether films that were seen are before it or not.
        not_below = _not_below(scores, column)
        known = movie_row < self._movies
        untimed = query._replace(
            features={
                **query.features,
                out.TIME_BUCKET.name: tf.fill(tf.shape(user), _UNKNOWN_TIME),
            },
            timestamp=tf.fill(tf.shape(user), self.last_time + _LONG),
        )
        return {
            USER_KEY: tf.strings.to_hash_bucket_fast(values[raw.USER_ID.name], 1 << 62),
            PREDICTED_RATING: self._stars(query, movie_row),
            UNTIMED_RATING: self._stars(untimed, movie_row),
            RANK_ALL: _count(tf.where(own_seen, ~seen | not_below, ~seen & not_below), known),
            RANK_PLAIN: _count(not_below, known),
            RANK_UNSEEN: _count(not_below & ~others_seen, known),
            RANK_UNTIMED: _count(_not_below(taste, column) & ~others_seen, known),
            RANK_POPULARITY: _count(
                _not_below(self.popularity[tf.newaxis], column) & ~others_seen, known
            ),
        }

    def recommend(self, values: Features, asked: Asked, k: tf.Tensor, excluded: Excluded) -> Answer:
        """Returns the k best movies for each user, best first.

        Args:
          values: `[batch]` raw user features; empty where not known.
          asked: when, and what the user has seen of late.
          k: scalar, how many at most.
          excluded: what may not be recommended.

        Returns:
          `movie_id`, `movie_title`, `score`, `predicted_rating`, each `[batch, at most k]`,
          and `count` `[batch]`: how many of a row are recommendations. The rest of a row,
          where fewer were left, has empty ids and the lowest score there is.
        """
        query = self._query(values, asked.timestamp)
        movie_ids = _checked(excluded.movie_ids, query.user_row, "exclude_movie_ids")
        scores, seen, _ = self._scores(query, asked)
        allowed = ~self._marked(self._movie_rows.lookup(movie_ids)) & ~(seen & excluded.seen)
        rows, best, counts = self._best(scores, allowed, k)
        real = rows < self._movies
        return {
            "movie_id": tf.gather(self._movie_ids, rows),
            "movie_title": tf.gather(self._titles, rows),
            "score": best,
            PREDICTED_RATING: tf.where(real, self._stars_of_rows(query, rows), 0.0),
            "count": counts,
        }

    def _best(
        self, scores: tf.Tensor, allowed: tf.Tensor, k: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns rows and scores `[batch, at most k]` of the best allowed movies, and counts."""
        counts = tf.reduce_sum(tf.cast(allowed, tf.int32), axis=1)
        counts = tf.minimum(counts, tf.maximum(k, 0))
        most = tf.reduce_max(tf.concat([[0], counts], axis=0))
        top = tf.math.top_k(tf.where(allowed, scores, _WORST), most)
        real = tf.sequence_mask(counts, most)
        rows = tf.where(real, top.indices, self._movies)
        return rows, tf.where(real, top.values, _WORST), counts

    def rank(self, values: Features, asked: Asked, movie_ids: tf.Tensor) -> Answer:
        """Returns the stars each user would give to given movies.

        Args:
          values: `[batch]` raw user features; empty where not known.
          asked: when, and what the user has seen of late.
          movie_ids: `[batch, movies]` ids; an unknown one is rated as an average film.

        Returns:
          `movie_id`, `movie_title` (empty where unknown) and `predicted_rating`, each
          `[batch, movies]`.
        """
        query = self._query(values, asked.timestamp)
        rows = self._movie_rows.lookup(_checked(movie_ids, query.user_row, "movie_ids"))
        return {
            "movie_id": movie_ids,
            "movie_title": tf.gather(self._titles, rows),
            PREDICTED_RATING: self._stars_of_rows(query, rows),
        }

    def similar(self, movie_id: tf.Tensor, k: tf.Tensor) -> Answer:
        """Returns the movies most like each given one, by the cosine of their taste vectors.

        Args:
          movie_id: `[batch]` ids; an unknown one has no similar movies.
          k: scalar, how many at most.

        Returns:
          `movie_id`, `movie_title`, `similarity` (-1 to 1), each `[batch, at most k]`, and
          `count` `[batch]`, as `recommend` has it.
        """
        row = self._movie_rows.lookup(movie_id)
        vectors = self.taste_vectors[: self._movies]
        cosines = tf.matmul(tf.gather(self.taste_vectors, row), vectors, transpose_b=True)
        allowed = tf.one_hot(row, self._movies, False, True)
        allowed &= (row < self._movies)[:, tf.newaxis]
        rows, best, counts = self._best(cosines, allowed, k)
        return {
            "movie_id": tf.gather(self._movie_ids, rows),
            "movie_title": tf.gather(self._titles, rows),
            "similarity": best,
            "count": counts,
        }

    def explain(self, values: Features, asked: Asked, movie_ids: tf.Tensor, k: tf.Tensor) -> Answer:
        """Returns the rated films that add most to each movie's score.

        Args:
          values: `[batch]` raw user features; empty where not known.
          asked: when, and what the user has seen of late.
          movie_ids: `[batch, n]` the movies to explain.
          k: scalar, how many films for each at most.

        Returns:
          `because_movie_id`, `because_movie_title`, `contribution`, each
          `[batch, n, at most k]`: empty and 0 where fewer films speak for a movie.
        """
        query = self._query(values, asked.timestamp)
        movies = self._movie_rows.lookup(_checked(movie_ids, query.user_row, "movie_ids"))
        batch = tf.shape(movies)[0]
        events, places = self._events(query.user_row)
        seen = self._mark(events.rows, events.movies, batch)
        recent = self._recent(query, seen, asked.recent_movie_ids, asked.recent_timestamps)
        history = self._padded_history(query, places, recent)
        knowledge = self.retrieval.knowledge(_joined(events, recent), batch)
        found = self.retrieval.contributions(
            knowledge, query.features, history, tf.minimum(movies, self._movies - 1)
        )
        # A movie that was rated does not speak for itself.
        other = movies[:, :, tf.newaxis] != history.movies[:, tf.newaxis, :]
        known = (movies < self._movies)[:, :, tf.newaxis]
        found = tf.where(other & known, found, 0.0)
        k = tf.clip_by_value(k, 0, tf.shape(found)[2])
        top = tf.math.top_k(found, k)
        spread = tf.repeat(history.movies[:, tf.newaxis], tf.shape(movies)[1], axis=1)
        rows = tf.gather(spread, top.indices, batch_dims=2)
        rows = tf.where(top.values > 0, rows, self._movies)
        return {
            "because_movie_id": tf.gather(self._movie_ids, rows),
            "because_movie_title": tf.gather(self._titles, rows),
            "contribution": tf.maximum(top.values, 0.0),
        }

    def _padded_history(self, query: Query, places: tf.RaggedTensor, recent: Recent) -> History:
        there = tf.ones_like(places, tf.bool).to_tensor()
        places = places.to_tensor()
        movies = tf.gather(self.history_movies, places)
        stars = tf.gather(self.history_stars, places)
        times = tf.gather(self.history_times, places)
        movies = tf.concat([movies, tf.minimum(recent.movies, self._movies - 1)], axis=1)
        stars = tf.concat([stars, tf.zeros_like(recent.times, tf.float32)], axis=1)
        there = tf.concat([there, recent.new], axis=1)
        times = tf.concat([times, recent.times], axis=1)
        seconds = query.timestamp[:, tf.newaxis] - times
        return History(movies, stars, tf.cast(seconds, tf.float32), there & (seconds > 0), there)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Traces and returns the signatures by name."""
        user = {
            feature.name: tf.TensorSpec([None], feature.dtype, feature.name)
            for feature in _USER_INPUTS
        }
        asked = {
            raw.TIMESTAMP.name: tf.TensorSpec([None], tf.int64, raw.TIMESTAMP.name),
            "recent_movie_ids": tf.TensorSpec([None, None], tf.string, "recent_movie_ids"),
            "recent_timestamps": tf.TensorSpec([None, None], tf.int64, "recent_timestamps"),
        }
        k = {"k": tf.TensorSpec([], tf.int32, "k")}
        movies = {"movie_ids": tf.TensorSpec([None, None], tf.string, "movie_ids")}

        def who(inputs: Features) -> tuple[Features, Asked]:
            return {name: inputs[name] for name in user}, Asked(*(inputs[name] for name in asked))

        def recommend(**inputs: tf.Tensor) -> Answer:
            excluded = Excluded(inputs["exclude_movie_ids"], inputs["exclude_seen"])
            return self.recommend(*who(inputs), inputs["k"], excluded)

        def rank(**inputs: tf.Tensor) -> Answer:
            return self.rank(*who(inputs), inputs["movie_ids"])

        def explain(**inputs: tf.Tensor) -> Answer:
            return self.explain(*who(inputs), inputs["movie_ids"], inputs["k"])

        return {
            "serving_default": _traced(
                self.predict_examples, examples=tf.TensorSpec([None], tf.string, "examples")
            ),
            "recommend": _traced(
                recommend,
                **user,
                **asked,
                **k,
                exclude_movie_ids=tf.TensorSpec([None, None], tf.string, "exclude_movie_ids"),
                exclude_seen=tf.TensorSpec([], tf.bool, "exclude_seen"),
            ),
            "rank": _traced(rank, **user, **asked, **movies),
            "similar": _traced(
                self.similar, movie_id=tf.TensorSpec([None], tf.string, "movie_id"), **k
            ),
            "explain": _traced(explain, **user, **asked, **movies, **k),
        }


class Asked(NamedTuple):
    """When a question is asked, and what the user has seen of late.

    Attributes:
      timestamp: `[batch]` unix seconds of the query; 0 means now.
      recent_movie_ids: `[batch, n]` ids beside the known history; an empty one is none.
      recent_timestamps: `[batch, n]` unix seconds of each; 0 means at the query's time.
    """

    timestamp: tf.Tensor
    recent_movie_ids: tf.Tensor
    recent_timestamps: tf.Tensor


class Excluded(NamedTuple):
    """What may not be recommended.

    Attributes:
      movie_ids: `[batch, n]` ids; an empty or unknown one excludes nothing.
      seen: scalar bool, the user's training history and recent films as well.
    """

    movie_ids: tf.Tensor
    seen: tf.Tensor


_QUERY_OUTPUTS = out.owned_by(Owner.USER, Owner.CONTEXT)
_LONG = 10_000_000_000
"""Seconds until no effect of time is left."""

_UNKNOWN_TIME = np.int64(out.UNKNOWN_TIME)


def _traced(
    function: Callable[..., Answer], **inputs: tf.TensorSpec
) -> tf.types.experimental.ConcreteFunction:
    # The functions hold no Python control flow that depends on tensors.
    return tf.function(function, autograph=False).get_concrete_function(**inputs)


def _joined(events: Events, recent: Recent) -> Events:
    """Returns the known events and the new ones among the recent."""
    indices = tf.cast(tf.where(recent.new), tf.int32)
    movies = tf.gather_nd(recent.movies, indices)
    return Events(
        tf.concat([events.rows, indices[:, 0]], axis=0),
        tf.concat([events.movies, movies], axis=0),
        tf.concat([events.stars, tf.zeros_like(movies, tf.float32)], axis=0),
    )


def _not_below(scores: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, movies]` bool: which movies are not below the one in the column.

    "Not below" rather than "at or above": a score that is no number beats nobody.
    """
    rows = tf.shape(column)[0]
    own = tf.gather(tf.broadcast_to(scores, [rows, tf.shape(scores)[1]]), column, batch_dims=1)
    return ~(scores < own[:, tf.newaxis])


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
        name: tf.pad(
            tf.sparse.to_dense(values),
            [[0, 0], [0, 1]],
            constant_values="" if kinds[name] == tf.string else 0,
        )[:, 0]
        for name, values in tf.io.parse_example(examples, spec).items()
    }


def _checked(lists: tf.Tensor, like: tf.Tensor, name: str, axes: int = 1) -> tf.Tensor:
    """Returns the lists; without this an operation deep in the graph would say what is wrong."""
    fits = tf.debugging.assert_equal(
        tf.shape(lists)[:axes],
        tf.shape(like)[:axes],
        f"expected {name} to have one list for each user_id"
        + (", as long as recent_movie_ids" if axes > 1 else ""),
    )
    with tf.control_dependencies([fits] if fits is not None else []):
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


def export(serving: ServingModel, path: str, descriptions: Mapping[str, Any]) -> None:
    """Writes the SavedModel with its signatures and, beside it, what describes it.

    Args:
      serving: the model.
      path: a new directory.
      descriptions: JSON values by file name, which go to `assets.extra/`.
    """
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(serving, path, signatures=serving.signatures(), options=options)
    extra = Path(path) / "assets.extra"
    extra.mkdir()
    for name, value in descriptions.items():
        text = json.dumps(value, ensure_ascii=False)
        (extra / name).write_text(text + "\n", encoding="utf-8")
