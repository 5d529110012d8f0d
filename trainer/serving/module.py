"""The exported model: one SavedModel that answers with plain TensorFlow.

A `tf.Module` that holds the preprocessing graph, retrieval, rating, the catalogue and each
user's training history. Its signatures:

- `serving_default`: serialized tf.Examples to rating and ranks, for the Evaluator and batch
  jobs;
- `recommend`: who (and what not) to movies;
- `rank`: who and which movies to stars;
- `similar`: a movie to others that are liked by the same people;
- `explain`: who and which movies to the rated films that speak for each;
- `export_contract`: nothing to the name and version of this list, so that `saved_model.pb`
  alone says whose model it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schema import export_contract
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
from trainer.data.training_data import (
    Catalogue,
    Interactions,
    TrainingData,
    Users,
    rating_residuals,
)
from trainer.rating.rating_blend import first_not_below
from trainer.retrieval.combination import Events, History, Latest, rows_of
from transform import outputs as out
from transform import preprocessing

_USER_INPUTS: tuple[raw.Feature, ...] = raw.model_inputs(Owner.USER)
_WORST = tf.float32.min

Features = Mapping[str, tf.Tensor]
Answer = dict[str, tf.Tensor]


class Retrieval(Protocol):
    """Scores the whole catalogue, as `trainer.retrieval.combination.HistoryRetrieval` does."""

    @property
    def candidates(self) -> tf.Variable:
        """`[movies, dim]` candidate vectors."""

    def profile(self, features: Features) -> tf.Tensor:
        """Returns `[batch, width]`: what follows from users' features alone."""

    def user_state(self, events: Events, batch: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, width]`: histories summed up; of two of the same user, their sum."""

    def long_term_scores(self, user_state: tf.Tensor, profile: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` scores that do not depend on when one asks."""

    def scores(
        self, taste: tf.Tensor, user_state: tf.Tensor, profile: tf.Tensor, latest: Latest
    ) -> tf.Tensor:
        """Returns `[batch, movies]` scores at the time of the query."""

    def contributions(
        self, user_state: tf.Tensor, profile: tf.Tensor, history: History, movies: tf.Tensor
    ) -> tf.Tensor:
        """Returns `[batch, n, events]`: how much each event adds to each movie's score."""

    def similarity_vectors(self) -> tf.Tensor:
        """Returns `[movies, dim]`: near ones are liked by the same people."""


class Rating(Protocol):
    """What predicts stars (`trainer.rating.rating_blend.BlendedRating` says how)."""

    def user(self, features: Features) -> tf.Tensor:
        """Returns `[batch, width]`: what follows from users' features alone."""

    def movie(self, features: Features) -> tf.Tensor:
        """Returns `[movies, width]`: what follows from movies' features alone."""

    def __call__(
        self,
        user_row: tf.Tensor,
        user: tf.Tensor,
        context: Features,
        timestamp: tf.Tensor,
        movie_row: tf.Tensor,
        movie: tf.Tensor,
    ) -> tf.Tensor:
        """Returns `[batch, n]` stars, not clipped; the rows may be those of unknown ones."""


class Query(NamedTuple):
    """Who asks, and when.

    Attributes:
      user_row: `[batch]` int32; the number of users where unknown.
      profile: `[batch, width]` what retrieval makes of the user's features.
      rater: `[batch, width]` what rating makes of them.
      context: transformed features of the context, `[batch]` each.
      timestamp: `[batch]` int64, unix seconds.
    """

    user_row: tf.Tensor
    profile: tf.Tensor
    rater: tf.Tensor
    context: Features
    timestamp: tf.Tensor


class Recent(NamedTuple):
    """What users say they have seen beside what is known of them.

    Attributes:
      movies: `[batch, n]` int32 rows of the catalogue; the number of movies where unknown.
      times: `[batch, n]` int64 unix seconds; the query's own where not given.
    """

    movies: tf.Tensor
    times: tf.Tensor


class ServingModel(tf.Module):
    """The trained model with everything it needs to answer.

    Args:
      retrieval: scores the catalogue.
      rating: predicts stars.
      recency_events: how many latest events retrieval looks at.
      data: the training data; its ratings become the users' histories.
      movie_features: the catalogue's transformed features as tensors.
    """

    def __init__(
        self,
        retrieval: Retrieval,
        rating: Rating,
        recency_events: int,
        data: TrainingData,
        movie_features: Mapping[str, tf.Tensor | tf.RaggedTensor],
    ) -> None:
        super().__init__(name="movie_recommender")
        self._movies = len(data.catalogue.ids)
        self._users = len(data.users.ids)
        self._recency_events = recency_events
        self.transform = data.transform_output.transform_features_layer()
        self.retrieval = retrieval
        self.rating = rating
        self.candidates = retrieval.candidates
        self._build_catalogue(data.catalogue, movie_features)
        self._build_users(data.users, data.interactions)

    def _build_catalogue(
        self, catalogue: Catalogue, features: Mapping[str, tf.Tensor | tf.RaggedTensor]
    ) -> None:
        """One more row stands for "no movie": where fewer than k can be recommended."""
        unknown_movie = _features_of_an_unknown_movie(self.transform)
        movie_features = {
            name: tf.concat([values, unknown_movie[name]], axis=0)
            for name, values in features.items()
        }
        self.movie_outputs = _constant(self.rating.movie(movie_features), "movie_outputs")
        self._movie_rows = _lookup(catalogue.ids, "movie_rows")
        self._movie_ids = tf.constant([*catalogue.ids, b""])
        self._titles = tf.constant([*catalogue.titles, b""])
        vectors = tf.math.l2_normalize(self.retrieval.similarity_vectors(), axis=1)
        self.similarity_vectors = _constant(tf.pad(vectors, [[0, 1], [0, 0]]), "similarity_vectors")

    def _build_users(self, users: Users, interactions: Interactions) -> None:
        """Lays out histories by user; one more user, the unknown one, has an empty history.

        A history key is row · span + time since the first rating: ascending, so that one
        search finds a user's place in time.
        """
        times = interactions.timestamp
        self._first_time, self._last_time = int(times.min()), int(times.max())
        self._span = self._last_time - self._first_time + 2
        self._user_rows = _lookup(users.ids, "user_rows")
        self.history_movies = _constant(interactions.movie_row.astype(np.int32), "history_movies")
        self.history_residuals = _constant(rating_residuals(interactions), "history_residuals")
        self.history_keys = _constant(
            interactions.user_row * self._span + (times - self._first_time), "history_keys"
        )
        popularity = np.bincount(interactions.movie_row, minlength=self._movies)
        self.popularity = _constant(popularity.astype(np.int64), "popularity")
        offsets = interactions.offsets.astype(np.int64)
        bounds = np.stack([offsets, np.append(offsets[1:], offsets[-1])], axis=1)
        self.history_bounds = _constant(bounds, "history_bounds")
        nothing = self.transform(_unknown_user_features())
        self.profiles = _constant(
            np.stack(
                [
                    np.append(users.features[one.name], nothing[one.name])
                    for one in out.owned_by(Owner.USER)
                ],
                axis=1,
            ),
            "profiles",
        )
        sides = [
            self._tower_outputs(self.profiles[start : start + _ROWS_AT_ONCE])
            for start in range(0, len(users.ids) + 1, _ROWS_AT_ONCE)
        ]
        self._build_user_states()
        self._widths = [side.shape[1] for side in sides[0]]
        self.user_outputs = _constant(
            tf.concat([tf.concat(pair, axis=1) for pair in sides], axis=0), "user_outputs"
        )

    def _build_user_states(self) -> None:
        """Sums the histories up, where the table is not too large for that."""
        self.user_states: tf.Variable | None = None
        pieces: list[tf.Tensor] = []
        for start in range(0, self._users + 1, _USERS_AT_ONCE):
            rows = tf.range(start, min(start + _USERS_AT_ONCE, self._users + 1))
            pieces.append(self._user_state(rows))
            if (self._users + 1) * pieces[0].shape[1] > USER_STATES_LIMIT:
                return
        self.user_states = _constant(tf.concat(pieces, axis=0), "user_states")

    # -- who asks --------------------------------------------------------------------------

    def _query(self, values: Features, timestamp: tf.Tensor) -> Query:
        """Transforms user and context; what is left empty is taken from a known profile.

        A time after the last training rating is an unknown one: its bucket would be that of
        whoever rated last.
        """
        timestamp = _or_now(timestamp)
        user_row = self._user_rows.lookup(values[raw.USER_ID.name])
        # Mostly a known user's id is all there is, and now is after the training.
        profile, rater, context = tf.cond(
            _needs_transform(values, user_row < self._users)
            | tf.reduce_any(timestamp <= self._last_time),
            lambda: self._transformed(values, user_row, timestamp),
            lambda: (
                *tf.split(tf.gather(self.user_outputs, user_row), self._widths, axis=1),
                self._context_after_training(timestamp),
            ),
        )
        return Query(user_row, profile, rater, context, timestamp)

    def _transformed(
        self, values: Features, user_row: tf.Tensor, timestamp: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, Features]:
        outputs = out.owned_by(Owner.USER)
        users = {one.name: _as_read(values[one.name], one) for one in _USER_INPUTS}
        transformed = self.transform({**users, raw.TIMESTAMP.name: timestamp})
        said = tf.stack([transformed[one.name] for one in outputs], axis=1)
        given = tf.stack([_is_given(values[one.source.name]) for one in outputs], axis=1)
        known = (user_row < self._users)[:, tf.newaxis]
        features = tf.where(known & ~given, tf.gather(self.profiles, user_row), said)
        context = {one.name: transformed[one.name] for one in out.owned_by(Owner.CONTEXT)}
        bucket = tf.where(timestamp > self._last_time, _UNKNOWN_TIME, context[out.TIME_BUCKET.name])
        profile, rater = self._tower_outputs(features)
        return profile, rater, {**context, out.TIME_BUCKET.name: bucket}

    def _context_after_training(self, timestamp: tf.Tensor) -> Features:
        """What the transform graph makes of times whose bucket is unknown."""
        return {
            out.TIME_BUCKET.name: tf.fill(tf.shape(timestamp), _UNKNOWN_TIME),
            out.HOUR_OF_DAY.name: preprocessing.hour_of_day(timestamp),
            out.DAY_OF_WEEK.name: preprocessing.day_of_week(timestamp),
        }

    def _tower_outputs(self, features: tf.Tensor) -> list[tf.Tensor]:
        """Returns what retrieval and what rating make of users' features, `[batch, width]`."""
        columns = tf.unstack(features, num=len(out.owned_by(Owner.USER)), axis=1)
        names = [one.name for one in out.owned_by(Owner.USER)]
        named = dict(zip(names, columns, strict=True))
        return [self.retrieval.profile(named), self.rating.user(named)]

    def _history(self, bounds: tf.Tensor) -> Events:
        """Returns the known histories, given their `[batch, 2]` starts and ends."""
        starts, ends = tf.unstack(bounds, num=2, axis=1)
        places = tf.raw_ops.RaggedRange(starts=starts, limits=ends, deltas=np.int64(1))
        cells = tf.raw_ops.RaggedTensorToSparse(
            rt_nested_splits=[places.rt_nested_splits], rt_dense_values=places.rt_dense_values
        )
        movies = tf.gather(self.history_movies, places.rt_dense_values)
        return Events(
            tf.stack([cells.sparse_indices[:, 0], tf.cast(movies, tf.int64)], axis=1),
            tf.gather(self.history_residuals, places.rt_dense_values),
        )

    def _user_state(self, user_row: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, width]`: what retrieval makes of the known histories."""
        if self.user_states is not None:
            return tf.gather(self.user_states, user_row)
        users, user = tf.unique(user_row)
        history = self._history(tf.gather(self.history_bounds, users))
        return tf.gather(self.retrieval.user_state(history, tf.size(users, tf.int64)), user)

    def _recent(self, query: Query, asked: QueryContext) -> Recent:
        movie_ids = _checked(asked.recent_movie_ids, query.user_row, "recent_movie_ids")
        timestamps = _checked(asked.recent_timestamps, movie_ids, "recent_timestamps", axes=2)
        given = tf.where(timestamps > 0, timestamps, query.timestamp[:, tf.newaxis])
        return Recent(self._movie_rows.lookup(movie_ids), given)

    def _new(self, recent: Recent, history: Events) -> tf.Tensor:
        """Returns `[batch, n]` bool: which recent films are new to the history, named first."""
        movies = recent.movies
        same = movies[:, :, tf.newaxis] == movies[:, tf.newaxis, :]
        before = tf.linalg.band_part(tf.cast(same, tf.int32), -1, 0)
        first = tf.reduce_sum(before, axis=2) == 1
        seen = tf.pad(self._mark(history.pairs, tf.shape(movies)[0]), [[0, 0], [0, 1]])
        in_history = tf.gather(seen, movies, batch_dims=1)
        return first & ~in_history & (movies < self._movies)

    def _latest(self, query: Query, bounds: tf.Tensor) -> Latest:
        """The latest known events strictly before each query's time."""
        row = tf.cast(query.user_row, tf.int64) * self._span - self._first_time
        time = tf.clip_by_value(query.timestamp, self._first_time, self._last_time + 1)
        ends = tf.cast(first_not_below(self.history_keys, row + time), tf.int64)
        places = ends[:, tf.newaxis] - np.arange(1, self._recency_events + 1)
        there = places >= bounds[:, :1]
        places = tf.maximum(places, 0)
        seconds = (row + query.timestamp)[:, tf.newaxis] - rows_of(self.history_keys, places)
        movies = tf.gather(self.history_movies, places)
        return Latest(movies, tf.cast(seconds, tf.float32), there, ends - bounds[:, 0])

    # -- the parts of an answer ------------------------------------------------------------

    def _mark(self, pairs: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` bool, true at the `[n, 2]` pairs."""
        marks = tf.ones_like(pairs[:, 0], tf.int32)
        shape = tf.stack([tf.cast(batch, tf.int64), self._movies])
        return tf.scatter_nd(pairs, marks, shape) > 0

    def _stars(self, query: Query, rows: tf.Tensor) -> tf.Tensor:
        """Predicts `[batch, n]` stars for `[batch, n]` movie rows."""
        predicted = self.rating(
            query.user_row,
            query.rater,
            query.context,
            query.timestamp,
            rows,
            tf.gather(self.movie_outputs, rows),
        )
        return tf.clip_by_value(predicted, raw.RATING_MIN, raw.RATING_MAX)

    def _scores(self, query: Query, asked: QueryContext) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `[batch, movies]` scores, and what was seen as pairs."""
        bounds = tf.gather(self.history_bounds, query.user_row)
        history, latest = self._history(bounds), self._latest(query, bounds)
        recent, user_state = self._recent(query, asked), self._user_state(query.user_row)

        def with_recent() -> tuple[tf.Tensor, Latest, tf.Tensor]:
            is_new = self._new(recent, history)
            new = _new_events(recent, is_new)
            batch = tf.size(query.user_row, tf.int64)
            return (
                user_state + self.retrieval.user_state(new, batch),
                self._with_recent(query, latest, recent, is_new),
                tf.concat([history.pairs, new.pairs], axis=0),
            )

        # Mostly nothing is told beside the known history.
        user_state, latest, seen = tf.cond(
            tf.reduce_any(recent.movies < self._movies),
            with_recent,
            lambda: (user_state, latest, history.pairs),
        )
        taste = self.retrieval.long_term_scores(user_state, query.profile)
        return self.retrieval.scores(taste, user_state, query.profile, latest), seen

    def _with_recent(
        self, query: Query, latest: Latest, recent: Recent, is_new: tf.Tensor
    ) -> Latest:
        seconds = query.timestamp[:, tf.newaxis] - recent.times
        new_before = tf.reduce_sum(tf.cast(is_new & (seconds > 0), tf.int64), axis=1)
        known = recent.movies < self._movies
        return Latest(
            tf.concat([latest.movies, tf.minimum(recent.movies, self._movies - 1)], axis=1),
            tf.concat([latest.seconds, tf.cast(seconds, tf.float32)], axis=1),
            tf.concat([latest.earlier, known & (seconds > 0)], axis=1),
            latest.history_length + new_before,
        )

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
        bounds = tf.gather(self.history_bounds, users)
        events = self._history(bounds)
        seen = tf.gather(self._mark(events.pairs, tf.size(users)), user)
        user_state = self._user_state(query.user_row)
        taste = self.retrieval.long_term_scores(user_state, query.profile)
        latest = self._latest(query, tf.gather(bounds, user))
        scores = self.retrieval.scores(taste, user_state, query.profile, latest)
        column = tf.minimum(movie_row, self._movies - 1)
        others_seen = seen & ~tf.one_hot(column, self._movies, True, False)
        own_seen = tf.gather(seen, column, batch_dims=1)[:, tf.newaxis]
        # The answer's own place decides whether films that were seen are before it or not.
        not_below = _not_below(scores, column)
        known = movie_row < self._movies
        untimed = query._replace(
            context={
                **query.context,
                out.TIME_BUCKET.name: tf.fill(tf.shape(user), _UNKNOWN_TIME),
            },
            timestamp=tf.fill(tf.shape(user), np.int64(self._last_time + _LONG)),
        )
        return {
            USER_KEY: tf.strings.to_hash_bucket_fast(values[raw.USER_ID.name], 1 << 62),
            PREDICTED_RATING: self._stars(query, movie_row[:, tf.newaxis])[:, 0],
            UNTIMED_RATING: self._stars(untimed, movie_row[:, tf.newaxis])[:, 0],
            RANK_ALL: _count(tf.where(own_seen, ~seen | not_below, ~seen & not_below), known),
            RANK_PLAIN: _count(not_below, known),
            RANK_UNSEEN: _count(not_below & ~others_seen, known),
            RANK_UNTIMED: _count(_not_below(taste, column) & ~others_seen, known),
            RANK_POPULARITY: _count(
                _not_below(self.popularity[tf.newaxis], column) & ~others_seen, known
            ),
        }

    def recommend(
        self, values: Features, asked: QueryContext, k: tf.Tensor, excluded: Excluded
    ) -> Answer:
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
        scores, seen = self._scores(query, asked)
        named = self._movie_rows.lookup(movie_ids)
        batch = tf.shape(named)[0]
        allowed = ~self._mark(_pairs(named, named < self._movies), batch)
        allowed &= ~(self._mark(seen, batch) & excluded.seen)
        rows, best, counts = self._best(scores, allowed, k)
        real = rows < self._movies
        return {
            "movie_id": tf.gather(self._movie_ids, rows),
            "movie_title": tf.gather(self._titles, rows),
            "score": best,
            PREDICTED_RATING: tf.where(real, self._stars(query, rows), 0.0),
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
        real = tf.range(most)[tf.newaxis, :] < counts[:, tf.newaxis]
        rows = tf.where(real, top.indices, self._movies)
        return rows, tf.where(real, top.values, _WORST), counts

    def rank(self, values: Features, asked: QueryContext, movie_ids: tf.Tensor) -> Answer:
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
            PREDICTED_RATING: self._stars(query, rows),
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
        vectors = self.similarity_vectors[: self._movies]
        cosines = tf.matmul(tf.gather(self.similarity_vectors, row), vectors, transpose_b=True)
        allowed = tf.one_hot(row, self._movies, False, True)
        allowed &= (row < self._movies)[:, tf.newaxis]
        rows, best, counts = self._best(cosines, allowed, k)
        return {
            "movie_id": tf.gather(self._movie_ids, rows),
            "movie_title": tf.gather(self._titles, rows),
            "similarity": best,
            "count": counts,
        }

    def explain(
        self, values: Features, asked: QueryContext, movie_ids: tf.Tensor, k: tf.Tensor
    ) -> Answer:
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
        bounds = tf.gather(self.history_bounds, query.user_row)
        known = self._history(bounds)
        recent = self._recent(query, asked)
        new = self._new(recent, known)
        history = self._padded_history(query, bounds, recent, new)
        user_state = self._user_state(query.user_row)
        user_state += self.retrieval.user_state(
            _new_events(recent, new), tf.size(query.user_row, tf.int64)
        )
        found = self.retrieval.contributions(
            user_state, query.profile, history, tf.minimum(movies, self._movies - 1)
        )
        # A movie that was rated does not speak for itself.
        other = movies[:, :, tf.newaxis] != history.movies[:, tf.newaxis, :]
        exists = (movies < self._movies)[:, :, tf.newaxis]
        found = tf.where(other & exists, found, 0.0)
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

    def _padded_history(
        self, query: Query, bounds: tf.Tensor, recent: Recent, new: tf.Tensor
    ) -> History:
        starts, ends = tf.split(bounds, 2, axis=1)
        longest = tf.reduce_max(tf.concat([[[0]], ends - starts], axis=0))
        places = starts + tf.range(longest)[tf.newaxis, :]
        there = places < ends
        places = tf.where(there, places, 0)
        row = tf.cast(query.user_row, tf.int64) * self._span - self._first_time
        times = rows_of(self.history_keys, places) - row[:, tf.newaxis]
        movies = tf.gather(self.history_movies, places)
        stars = tf.gather(self.history_residuals, places)
        movies = tf.concat([movies, tf.minimum(recent.movies, self._movies - 1)], axis=1)
        stars = tf.concat([stars, tf.zeros_like(recent.times, tf.float32)], axis=1)
        there = tf.concat([there, new], axis=1)
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

        def who(inputs: Features) -> tuple[Features, QueryContext]:
            return {name: inputs[name] for name in user}, QueryContext(
                *(inputs[name] for name in asked)
            )

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
            export_contract.SIGNATURE: _traced(_export_contract),
        }


class QueryContext(NamedTuple):
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


_ROWS_AT_ONCE = 65_536
"""Users whose sides are computed in one go when the model is exported."""

_USERS_AT_ONCE = 256
"""The same of their histories, which are wider: EASE's scores among them."""

USER_STATES_LIMIT = 30_000_000
"""Numbers that histories may be summed up to; beyond, each query sums up its user's."""

_LONG = 10_000_000_000
"""Seconds until no effect of time is left."""

_UNKNOWN_TIME = np.int64(out.UNKNOWN_TIME)


def _traced(
    function: Callable[..., Answer], **inputs: tf.TensorSpec
) -> tf.types.experimental.ConcreteFunction:
    # The functions hold no Python control flow that depends on tensors.
    return tf.function(function, autograph=False).get_concrete_function(**inputs)


def _export_contract() -> Answer:
    return {
        "name": tf.constant(export_contract.NAME),
        "version": tf.constant(export_contract.VERSION, tf.int64),
    }


def _new_events(recent: Recent, new: tf.Tensor) -> Events:
    """Returns the new ones among the recent."""
    pairs = _pairs(recent.movies, new)
    return Events(pairs, tf.zeros_like(pairs[:, 0], tf.float32))


def _pairs(movies: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Returns `[n, 2]` int64 pairs (row, movie) of the kept ones among `[batch, any]` movies."""
    cells = tf.where(kept)
    return tf.stack([cells[:, 0], tf.cast(tf.gather_nd(movies, cells), tf.int64)], axis=1)


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


def _unknown_user_features() -> dict[str, tf.Tensor | tf.SparseTensor]:
    """Raw features of a user of whom nothing is known."""
    return {one.name: _as_read(tf.zeros([1], one.dtype), one) for one in _USER_INPUTS}


def _as_read(values: tf.Tensor, feature: raw.Feature) -> tf.Tensor | tf.SparseTensor:
    """Returns `[batch]` values as the transform graph takes them: sparse where optional.

    An optional number that is 0 is missing.
    """
    return tf.sparse.from_dense(values[:, tf.newaxis]) if feature.optional else values


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
    shape, expected = tf.shape(lists)[:axes], tf.shape(like)[:axes]
    message = f"expected {name} to have one list for each user_id"
    if axes > 1:
        message += ", as long as recent_movie_ids"
    # One operation where assert_equal would make a dozen.
    fits = tf.debugging.Assert(tf.reduce_all(shape == expected), [message])
    with tf.control_dependencies([fits] if fits is not None else []):
        return tf.identity(lists)


def _needs_transform(values: Features, known: tf.Tensor) -> tf.Tensor:
    """Tells whether there is anything but ids of known users, or nothing at all."""
    texts = [tf.where(known, "", values[raw.USER_ID.name])]
    numbers = []
    for one in _USER_INPUTS:
        if one.dtype != "string":
            numbers.append(tf.cast(values[one.name], tf.float32))
        elif one is not raw.USER_ID:
            texts.append(values[one.name])
    said = tf.reduce_any(tf.concat(texts, axis=0) != "")
    return said | tf.reduce_any(tf.concat(numbers, axis=0) > 0)


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
