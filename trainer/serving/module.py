"""The exported model: answers queries from the trained parts and the training histories."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from components.examples.reading import parse_first
from schema.features import RATING_MAX, RATING_MIN, Kind, Owner
from schema.predictions import PREDICTED_RATING
from trainer.data.reading import as_read, is_given
from trainer.data.training_data import Floats, Interactions, TrainingData
from trainer.lookups import saved_variable
from trainer.rating.rating_bpmf import RatedEvents
from trainer.retrieval.events import Events, History, Latest
from trainer.retrieval.history import NEVER
from trainer.retrieval.sessions import places_of_latest, session_of
from trainer.serving import input_parsing
from trainer.serving.interfaces import Features, Rating, Retrieval
from trainer.serving.lookup_tables import HistoryTable, MovieTable, UserTable
from trainer.serving.queries import Excluded, Query, QueryContext, Recent
from transform import outputs as out
from transform import preprocessing

Answer = dict[str, tf.Tensor]

USER_STATES_LIMIT = 30_000_000
"""Largest table of precomputed user states, in numbers; beyond, each query computes its own."""

UNKNOWN_TIME = np.int64(out.UNKNOWN_TIME)
"""The bucket of times after the last training rating."""

_WORST = tf.float32.min

_MIDDLE = (RATING_MIN + RATING_MAX) / 2
"""Stars below it say of somebody new that they dislike a movie.

Not the mean of all ratings: of MovieLens's it is 3.5, and three stars of five are no dislike. Nor
the mean of what they gave so far, which no first rating is below. Known users' low ratings stay
events of the list, as in the histories that the models were fitted to and measured with.
"""

USUAL_SHRINKAGE = 3.0
"""Shrinkage of what a user's context usually adds to their ratings, in pseudo-ratings at the mean.

About that of the factorisation, whose state of a user it is taken out of: with more, users whose
context never changes would be thought to be in an unusual one.
"""

_ROWS_AT_ONCE = 65_536
"""Users whose features are embedded in one go when the model is exported."""

_USERS_AT_ONCE = 256
"""The same limit for tables of histories, which are wider: EASE's scores are among them."""


class ServingModel(tf.Module):
    """The trained model with everything it needs to answer.

    Args:
      retrieval: scores the catalogue.
      rating: predicts stars; None of data without ratings.
      recency_events: how many of a session's latest events predicted ratings look at.
      data: what the parts were fitted to.
      movie_features: the catalogue's transformed features as tensors.
      known: whose ratings become the users' histories, with the same catalogue; `data` where
        nothing is known beside it.
    """

    def __init__(
        self,
        retrieval: Retrieval,
        rating: Rating | None,
        recency_events: int,
        data: TrainingData,
        movie_features: Mapping[str, tf.Tensor | tf.RaggedTensor],
        known: TrainingData | None = None,
    ) -> None:
        super().__init__(name="movie_recommender")
        known = known or data
        self.features = data.features
        self._rating_events = recency_events
        self._recency_events = max(recency_events, retrieval.recency_events)
        # Used by its `call` alone: of a layer that Keras has called, an export traces and writes
        # another copy. TFT returns one shared layer, so this holds for all code of the Trainer.
        self.transform = data.transform_output.transform_features_layer()
        self.retrieval = retrieval
        self.rating = rating
        self.candidates = retrieval.candidates
        self.movies = MovieTable(
            data.catalogue,
            None if rating is None else self._movie_outputs(rating, movie_features, data),
            retrieval.similarity_vectors(),
        )
        self._user_features = data.outputs.owned_by(Owner.USER)
        self.users = UserTable(
            known.users,
            self._user_features,
            self.transform.call(input_parsing.unknown_user_features(self.features)),
        )
        self._context = data.outputs.owned_by(Owner.CONTEXT)
        self._unknown_context = {one.name: row for one, row in data.unknown_context.items()}
        self._usual_effects: tf.Variable | None = None
        if rating is not None and self._unknown_context:
            usual = usual_effects(rating, known.interactions)
            self._usual_effects = saved_variable(usual, "usual_effects")
        self.history = HistoryTable(known.interactions, self._known_effects(known))
        self.last_fitted_time = int(data.interactions.timestamp.max())
        self.user_outputs = self._user_outputs()
        self.user_states = self._user_states()
        if rating is not None:
            self.rating_states = saved_variable(rating.user_states(known), "rating_states")
        # One graph for the two signatures that read tf.Examples; as a plain function, since the
        # SavedModel would hold that of an attribute a second time.
        examples = tf.TensorSpec([None], tf.string)
        graph = tf.function(self._queries_of, [examples], autograph=False)
        self.queries_of = lambda serialized: graph(serialized)

    def _movie_outputs(
        self,
        rating: Rating,
        features: Mapping[str, tf.Tensor | tf.RaggedTensor],
        data: TrainingData,
    ) -> tf.Tensor:
        """Returns the rating model's tower outputs of movies, the last row for "no movie"."""
        unknown = input_parsing.unknown_movie_features(self.features, self.transform)
        # The graph knows more ids than a model that leaves movies out.
        last = np.int64(data.feature_sizes[out.ITEM_ID_INDEX] - 1)
        unknown[out.ITEM_ID_INDEX] = tf.minimum(unknown[out.ITEM_ID_INDEX], last)
        return rating.movie(
            {name: tf.concat([values, unknown[name]], axis=0) for name, values in features.items()}
        )

    def _user_outputs(self) -> tf.Variable:
        """Returns the tower outputs of all profiles, `[users + 1, width]`."""
        pieces = [
            self._tower_outputs(self.users.profiles[start : start + _ROWS_AT_ONCE])
            for start in range(0, self.users.count + 1, _ROWS_AT_ONCE)
        ]
        self._widths = [piece.shape[1] for piece in pieces[0]]
        outputs = tf.concat([tf.concat(pair, axis=1) for pair in pieces], axis=0)
        return saved_variable(outputs, "user_outputs")

    def _user_states(self) -> tf.Variable | None:
        """Returns the states of all users; None where the table would be too large."""
        pieces: list[tf.Tensor] = []
        for start in range(0, self.users.count + 1, _USERS_AT_ONCE):
            rows = tf.range(start, min(start + _USERS_AT_ONCE, self.users.count + 1))
            pieces.append(self._summed_state(rows))
            if (self.users.count + 1) * pieces[0].shape[1] > USER_STATES_LIMIT:
                return None
        return saved_variable(tf.concat(pieces, axis=0), "user_states")

    # -- the user and the time of a query --------------------------------------------------

    def query(self, values: Features, timestamp: tf.Tensor) -> Query:
        """Transforms user and context; what is left empty is taken from a known profile.

        A time after the last training rating is an unknown one: its bucket would be that of
        whoever rated last.

        Args:
          values: `[batch]` raw user and context features; empty where not known.
          timestamp: `[batch]` unix seconds; 0 means now. None where the data has no times.
        """
        user_row = self.users.rows(values[self.features.user_id.name])
        needs_transform = input_parsing.needs_transform(
            self.features, values, user_row < self.users.count
        )
        if timestamp is None:
            timestamp = tf.zeros_like(user_row, tf.int64)
        else:
            timestamp = input_parsing.or_now(timestamp)
            needs_transform |= tf.reduce_any(timestamp <= self.last_fitted_time)
        # Most queries give a known user's id alone, for a time after the training.
        features, outputs, context = tf.cond(
            needs_transform,
            lambda: self._transformed(values, user_row, timestamp),
            lambda: (
                tf.gather(self.users.profiles, user_row),
                tf.split(tf.gather(self.user_outputs, user_row), self._widths, axis=1),
                self.context_after_training(timestamp) | self._hidden_context(timestamp),
            ),
        )
        profile = self.retrieval.in_context(outputs[0], context)
        position = tf.zeros_like(timestamp)
        # The last one is the rating model's, if there is one.
        return Query(user_row, features, profile, outputs[-1], context, timestamp, position)

    def _transformed(
        self, values: Features, user_row: tf.Tensor, timestamp: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor], Features]:
        outputs = self._user_features
        given = {
            one.name: as_read(values[one.name], one)
            for one in (*self.features.model_inputs(Owner.USER), *self.features.context)
        }
        times = {one.name: timestamp for one in self.features.of_kind(Kind.TIME)}
        transformed = self.transform.call({**given, **times})
        stated = tf.stack([transformed[one.name] for one in outputs], axis=1)
        are_given = [is_given(values[one.source.name], one.source) for one in outputs]
        known = (user_row < self.users.count)[:, tf.newaxis]
        from_profile = known & ~tf.stack(are_given, axis=1)
        features = tf.where(from_profile, tf.gather(self.users.profiles, user_row), stated)
        tower_outputs = self._tower_outputs(features)
        context = {one.name: transformed[one.name] for one in self._context}
        for name, unknown in self._unknown_context.items():
            is_known = context[name] < unknown.end
            context[name] = tf.where(is_known, context[name], np.int64(unknown.value))
        if times:
            is_later = timestamp > self.last_fitted_time
            context[out.TIME_BUCKET] = tf.where(is_later, UNKNOWN_TIME, context[out.TIME_BUCKET])
        return features, tower_outputs, context

    def hidden(self, query: Query, timestamp: tf.Tensor) -> Query:
        """Returns queries at other `[batch]` times after the training, whose context is unknown."""
        context = self.context_after_training(timestamp) | self._hidden_context(timestamp)
        return query._replace(context=context, timestamp=timestamp)

    def _hidden_context(self, timestamp: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the transformed context features of queries that do not give them."""
        return {
            name: tf.fill(tf.shape(timestamp), np.int64(unknown.value))
            for name, unknown in self._unknown_context.items()
        }

    def context_after_training(self, timestamp: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the transformed features of `[batch]` times after the training."""
        if not self.features.has_time:
            return {}
        return {
            out.TIME_BUCKET: tf.fill(tf.shape(timestamp), UNKNOWN_TIME),
            out.HOUR_OF_DAY: preprocessing.hour_of_day(timestamp),
            out.DAY_OF_WEEK: preprocessing.day_of_week(timestamp),
        }

    def _tower_outputs(self, features: tf.Tensor) -> list[tf.Tensor]:
        """Returns the tower outputs `[batch, width]` of retrieval and, if it exists, of rating."""
        named = self.named(features)
        parts = [self.retrieval.profile(named)]
        return parts if self.rating is None else [*parts, self.rating.user(named)]

    def named(self, features: tf.Tensor) -> Features:
        """Returns users' features `[batch]` by name, given `[batch, features]`."""
        names = [one.name for one in self._user_features]
        columns = tf.unstack(features, num=len(names), axis=1)
        return dict(zip(names, columns, strict=True))

    # -- the events of a query -------------------------------------------------------------

    def user_state(self, user_row: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, width]` user states of retrieval."""
        if self.user_states is not None:
            return tf.gather(self.user_states, user_row)
        return self._summed_state(user_row)

    def _summed_state(self, user_row: tf.Tensor) -> tf.Tensor:
        users, user = tf.unique(user_row)
        history = self.history.events(self.history.bounds(users))
        return tf.gather(self.retrieval.user_state(history, tf.size(users, tf.int64)), user)

    def latest(self, query: Query, bounds: tf.Tensor) -> Latest:
        """Returns the latest known events of each query's session that are before it."""
        latest = self._latest(query, bounds)
        return latest._replace(earlier=session_of(latest.seconds, latest.present))

    def _latest(self, query: Query, bounds: tf.Tensor) -> Latest:
        """Returns the latest known events, of any session."""
        ends = self.history.before(query.user_row, query.timestamp, query.position, bounds)
        return self.history.latest(query.user_row, query.timestamp, ends, self._recency_events)

    def _recent(self, query: Query, context: QueryContext) -> Recent:
        checked = input_parsing.checked
        movie_ids = checked(context.recent_movie_ids, query.user_row, "recent_movie_ids")
        movies = self.movies.rows(movie_ids)
        times, ratings = tf.zeros_like(movies, tf.int64), tf.zeros_like(movies, tf.float32)
        stars = residuals = ratings
        disliked = tf.zeros_like(movies, tf.bool)
        if context.recent_timestamps is not None:
            times = checked(context.recent_timestamps, movie_ids, "recent_timestamps", axes=2)
            times = tf.maximum(times, 0)
        if context.recent_ratings is not None:
            ratings = checked(context.recent_ratings, movie_ids, "recent_ratings", axes=2)
            mean = self.history.mean_ratings(query.user_row)[:, tf.newaxis]
            scale = self.features.scale
            # Where 0 is on the scale, it is a rating.
            given = ratings > 0 if scale.low > 0 else ~tf.math.is_nan(ratings)
            stars = scale.to_stars(tf.clip_by_value(ratings, scale.low, scale.high))
            residuals = tf.where(given, stars - mean, 0.0)
            disliked = given & (stars < _MIDDLE)
            disliked &= (query.user_row >= self.users.count)[:, tf.newaxis]
            stars = tf.where(given, stars, 0.0)
        counts = (movies < self.movies.count) & _is_last(movies, times)
        now = query.timestamp[:, tf.newaxis]
        has_time = counts & (times > 0) & (times <= now)
        return Recent(
            tf.minimum(movies, self.movies.count - 1),
            residuals,
            stars,
            tf.where(times > 0, tf.cast(now - times, tf.float32), NEVER),
            counts,
            has_time,
            disliked,
        )

    def _is_new(self, recent: Recent, history: Events) -> tf.Tensor:
        """Returns `[batch, n]` bool: which recent events count and are of no movie in the
        history."""
        seen = self.marks(history.pairs, tf.shape(recent.movies)[0])
        return recent.counts & ~tf.gather(seen, recent.movies, batch_dims=1)

    # -- scores and stars -----------------------------------------------------------------

    def marks(self, pairs: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` bool, true at the `[n, 2]` pairs."""
        marks = tf.ones_like(pairs[:, 0], tf.int32)
        shape = tf.stack([tf.cast(batch, tf.int64), self.movies.count])
        return tf.scatter_nd(pairs, marks, shape) > 0

    def stars(
        self,
        query: Query,
        rows: tf.Tensor,
        recent: Recent | None = None,
        latest: Latest | None = None,
    ) -> tf.Tensor:
        """Predicts `[batch, n]` ratings on the data's scale for `[batch, n]` movie rows.

        Args:
          query: the users.
          rows: the movies.
          recent: the events of the request, if there can be any.
          latest: the latest events of the users' sessions, where they are known.

        Raises:
          ValueError: the data has no ratings.
        """
        if self.rating is None:
            raise ValueError("expected a model of data with ratings, received one without")
        state = self._rating_state(self.rating, query, recent)
        latest = latest or self._session(query, recent)
        return self.stars_of(self.rating, state, latest, query, rows)

    def stars_of(
        self, rating: Rating, state: tf.Tensor, latest: Latest, query: Query, rows: tf.Tensor
    ) -> tf.Tensor:
        """Predicts `[batch, n]` ratings on the data's scale for `[batch, n]` movie rows.

        Args:
          rating: the model.
          state: `[batch, width]` user states of it.
          latest: the latest events of the users' sessions.
          query: the users.
          rows: the movies.
        """
        predicted = rating(
            state, query.rating_outputs, query.context, rows, tf.gather(self.movies.outputs, rows)
        )
        if self._usual_effects is not None:
            usual = tf.gather(self._usual_effects, query.user_row)
            predicted += self._unusual(rating, query.context, usual)[:, tf.newaxis]
        latest = latest.first(self._rating_events)
        # Most queries are no part of a session.
        residual = tf.cond(
            tf.reduce_any(latest.earlier),
            lambda: rating.session_residual(state, latest),
            lambda: tf.zeros(tf.shape(rows)[:1]),
        )
        predicted += residual[:, tf.newaxis]
        scale = self.features.scale
        return tf.clip_by_value(scale.from_stars(predicted), scale.low, scale.high)

    def _unusual(self, rating: Rating, context: Features, usual: tf.Tensor) -> tf.Tensor:
        """Returns `[batch]`: how many stars context features add to what they usually add.

        A user's state holds what their usual context adds. An unknown value adds nothing.

        Args:
          rating: the model.
          context: transformed features of the context, `[batch]` each.
          usual: `[batch, features]`, of `usual_effects`.
        """
        found = tf.zeros_like(usual[:, 0])
        for place, (name, effect) in enumerate(rating.context_effects(context).items()):
            is_known = context[name] != self._unknown_context[name].value
            found += tf.where(is_known, effect - usual[:, place], 0.0)
        return found

    def _known_effects(self, known: TrainingData) -> Floats | None:
        """Returns what the contexts of the `[ratings]` known ratings add; None without contexts."""
        if self.rating is None or self._usual_effects is None:
            return None
        interactions = known.interactions
        usual = tf.gather(self._usual_effects, interactions.user_row)
        effects: Floats = self._unusual(self.rating, _indices_of(interactions), usual).numpy()
        return effects

    def _session(self, query: Query, recent: Recent | None) -> Latest:
        """Returns the latest events of each query's session, with those of the request."""
        bounds = self.history.bounds(query.user_row)
        if recent is None:
            return self.latest(query, bounds)
        latest = self._latest(query, bounds)

        def with_recent() -> Latest:
            is_new = self._is_new(recent, self.history.events(bounds))
            return self._with_recent(latest, recent, is_new)

        latest = tf.cond(tf.reduce_any(recent.has_time), with_recent, lambda: latest)
        return latest._replace(earlier=session_of(latest.seconds, latest.present))

    def _rating_state(self, rating: Rating, query: Query, recent: Recent | None) -> tf.Tensor:
        """Returns `[batch, width]` user states of rating, from profiles and all events."""
        stored = tf.gather(self.rating_states, query.user_row)
        unknown = query.user_row >= self.users.count
        changed = unknown
        if recent is not None:
            changed |= tf.reduce_any(recent.counts, axis=1)

        def with_changed() -> tf.Tensor:
            rows = tf.where(changed)[:, 0]
            added = recent and Recent(*(tf.gather(part, rows) for part in recent))
            user_row = tf.gather(query.user_row, rows)
            events = self.rated_events(user_row, self.history.bounds(user_row), added)
            features = self.named(tf.gather(query.features, rows))
            states = rating.user_state(events, features)
            return tf.tensor_scatter_nd_update(stored, rows[:, tf.newaxis], states)

        return tf.cond(tf.reduce_any(changed), with_changed, lambda: stored)

    def rated_events(
        self, user_row: tf.Tensor, bounds: tf.Tensor, recent: Recent | None = None
    ) -> RatedEvents:
        """Returns parts of the histories of users with what their requests add.

        Args:
          user_row: `[batch]` rows of the users.
          bounds: `[batch, 2]` of the parts.
          recent: the events of the requests, if there are any.
        """
        history = self.history.events(bounds)
        means = self.history.mean_ratings(tf.gather(user_row, history.pairs[:, 0]))
        ratings = history.residuals + means
        events = RatedEvents(history.pairs, ratings, tf.ones_like(ratings, tf.bool))
        if recent is None:
            return events
        cells = tf.where(self._is_new(recent, history))
        given = tf.gather_nd(recent.ratings, cells)
        movies = tf.cast(tf.gather_nd(recent.movies, cells), tf.int64)
        new = RatedEvents(tf.stack([cells[:, 0], movies], axis=1), given, given > 0)
        return RatedEvents(*(tf.concat(pair, axis=0) for pair in zip(events, new, strict=True)))

    def _scores(self, query: Query, recent: Recent) -> tuple[tf.Tensor, tf.Tensor, Latest]:
        """Returns `[batch, movies]` scores, what was seen as pairs, and the session's events."""
        bounds = self.history.bounds(query.user_row)
        history, latest = self.history.events(bounds), self._latest(query, bounds)
        user_state = self.user_state(query.user_row)

        def with_recent() -> tuple[tf.Tensor, Latest, tf.Tensor]:
            seen = _pairs(recent.movies, self._is_new(recent, history))
            liked = recent.without_dislikes()
            is_new = self._is_new(liked, history)
            new = _new_events(liked, is_new)
            batch = tf.size(query.user_row, tf.int64)
            return (
                self.retrieval.user_state(_joined(history, new), batch),
                self._with_recent(latest, liked, is_new),
                tf.concat([history.pairs, seen], axis=0),
            )

        # Most queries give no events beside the known history.
        user_state, latest, seen = tf.cond(
            tf.reduce_any(recent.counts),
            with_recent,
            lambda: (user_state, latest, history.pairs),
        )
        latest = latest._replace(earlier=session_of(latest.seconds, latest.present))
        long_term = self.retrieval.long_term_scores(user_state, query.profile)
        scores = self.retrieval.scores(long_term, user_state, query.profile, latest)
        return scores, seen, latest

    def _with_recent(self, latest: Latest, recent: Recent, is_new: tf.Tensor) -> Latest:
        """Joins the latest events of histories and requests: the latest first.

        An event of the history counts once, where the request names it with its time.
        """
        not_later = tf.reduce_sum(tf.cast(is_new & (recent.seconds >= 0), tf.int64), axis=1)
        named = recent.has_time[:, tf.newaxis] & (
            latest.movies[:, :, tf.newaxis] == recent.movies[:, tf.newaxis]
        )
        # The request was made after its events, so in one second they are the later ones.
        movies, seconds, ratings, known = (
            tf.concat([tf.reverse(of_request, [1]), of_history], axis=1)
            for of_request, of_history in (
                (recent.movies, latest.movies),
                (recent.seconds, latest.seconds),
                (recent.ratings, latest.ratings),
                (recent.has_time, latest.present & ~tf.reduce_any(named, axis=2)),
            )
        )
        places = places_of_latest(seconds, known, self._recency_events)
        present = tf.gather(known, places, batch_dims=1)
        return Latest(
            tf.gather(movies, places, batch_dims=1),
            tf.gather(seconds, places, batch_dims=1),
            tf.gather(ratings, places, batch_dims=1),
            present,
            present,
            latest.history_length + not_later,
        )

    def _whole_history(
        self, query: Query, bounds: tf.Tensor, known: Events, recent: Recent
    ) -> History:
        """Returns the history with the request's events, each movie once, latest first."""
        history = self.history.padded(query.user_row, query.timestamp, bounds)
        batch = tf.shape(recent.movies)[0]
        is_new = self._is_new(recent, known)
        counts = is_new | recent.has_time
        named = self.marks(_pairs(recent.movies, counts), batch)
        kept = history.present & ~tf.gather(named, history.movies, batch_dims=1)
        # A movie of the history keeps its rating.
        shape = tf.stack([tf.cast(batch, tf.int64), self.movies.count])
        stored = tf.gather(
            tf.scatter_nd(known.pairs, known.residuals, shape), recent.movies, batch_dims=1
        )
        residuals = tf.where(is_new, recent.residuals, stored)
        parts = (
            (recent.movies, history.movies),
            (residuals, history.residuals),
            (recent.seconds, history.seconds),
            (recent.has_time, history.has_time & kept),
            (counts, kept),
        )
        return History(
            *(tf.concat([tf.reverse(given, [1]), earlier], axis=1) for given, earlier in parts)
        )

    # -- answers --------------------------------------------------------------------------

    def predict_ratings(self, examples: tf.Tensor) -> Answer:
        """Predicts the rating of each serialized tf.Example; missing features are unknown.

        Args:
          examples: `[batch]` serialized tf.Examples with features of `schema.features`.

        Returns:
          `predicted_rating` `[batch]` stars.
        """
        _, query, movie_row = self.queries_of(examples)
        return {PREDICTED_RATING: self.stars(query, movie_row[:, tf.newaxis])[:, 0]}

    def _queries_of(self, examples: tf.Tensor) -> tuple[tf.Tensor, Query, tf.Tensor]:
        """Returns `[batch]` ids of users, the queries, and `[batch]` rows of the movies."""
        table = self.features
        moment = (*table.of_kind(Kind.TIME), *table.of_kind(Kind.POSITION))
        features = (*table.model_inputs(Owner.USER), *table.context, table.item_id, *moment)
        values = parse_first(examples, features)
        movie_row = self.movies.rows(values.pop(table.item_id.name))
        times = {one.kind: values.pop(one.name) for one in moment}
        query = self.query(values, times.get(Kind.TIME))
        if Kind.POSITION in times:
            query = query._replace(position=times[Kind.POSITION])
        return values[table.user_id.name], query, movie_row

    def recommend(
        self, values: Features, context: QueryContext, k: tf.Tensor, excluded: Excluded
    ) -> Answer:
        """Returns the k best movies for each user, best first.

        Args:
          values: `[batch]` raw user features; empty where not known.
          context: the time of the query, and its events beside the known history.
          k: scalar, how many at most.
          excluded: what may not be recommended.

        Returns:
          `movie_id`, `movie_title`, `score` and, of data with ratings, `predicted_rating`, each
          `[batch, at most k]`, and `count` `[batch]`: how many of a row are recommendations. The
          rest of a row, where fewer were left, has empty ids and the lowest score there is.
        """
        query = self.query(values, context.timestamp)
        movie_ids = input_parsing.checked(excluded.movie_ids, query.user_row, "exclude_movie_ids")
        recent = self._recent(query, context)
        scores, seen, latest = self._scores(query, recent)
        named = self.movies.rows(movie_ids)
        batch = tf.shape(named)[0]
        allowed = ~self.marks(_pairs(named, named < self.movies.count), batch)
        allowed &= ~(self.marks(seen, batch) & excluded.seen)
        rows, best, counts = self._best(scores, allowed, k)
        answer = {
            "movie_id": self.movies.ids(rows),
            "movie_title": self.movies.titles(rows),
            "score": best,
            "count": counts,
        }
        if self.rating is not None:
            real = rows < self.movies.count
            stars = self.stars(query, rows, recent, latest)
            answer[PREDICTED_RATING] = tf.where(real, stars, 0.0)
        return answer

    def _best(
        self, scores: tf.Tensor, allowed: tf.Tensor, k: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns rows and scores `[batch, at most k]` of the best allowed movies, and counts."""
        counts = tf.reduce_sum(tf.cast(allowed, tf.int32), axis=1)
        counts = tf.minimum(counts, tf.maximum(k, 0))
        most = tf.reduce_max(tf.concat([[0], counts], axis=0))
        top = tf.math.top_k(tf.where(allowed, scores, _WORST), most)
        real = tf.range(most)[tf.newaxis, :] < counts[:, tf.newaxis]
        rows = tf.where(real, top.indices, self.movies.count)
        return rows, tf.where(real, top.values, _WORST), counts

    def rank(self, values: Features, context: QueryContext, movie_ids: tf.Tensor) -> Answer:
        """Returns the stars each user would give to given movies.

        Args:
          values: `[batch]` raw user features; empty where not known.
          context: the time of the query, and its events beside the known history.
          movie_ids: `[batch, movies]` ids; an unknown one is rated as an average movie.

        Returns:
          `movie_id`, `movie_title` (empty where unknown) and `predicted_rating`, each
          `[batch, movies]`.
        """
        query = self.query(values, context.timestamp)
        rows = self.movies.rows(input_parsing.checked(movie_ids, query.user_row, "movie_ids"))
        return {
            "movie_id": movie_ids,
            "movie_title": self.movies.titles(rows),
            PREDICTED_RATING: self.stars(query, rows, self._recent(query, context)),
        }

    def similar(self, movie_id: tf.Tensor, k: tf.Tensor) -> Answer:
        """Returns the movies most like each given one, by the cosine of their similarity vectors.

        Args:
          movie_id: `[batch]` ids; an unknown one has no similar movies.
          k: scalar, how many at most.

        Returns:
          `movie_id`, `movie_title`, `similarity` (-1 to 1), each `[batch, at most k]`, and
          `count` `[batch]`, as `recommend` has it.
        """
        row = self.movies.rows(movie_id)
        vectors = self.movies.similarity_vectors[: self.movies.count]
        cosines = tf.matmul(
            tf.gather(self.movies.similarity_vectors, row), vectors, transpose_b=True
        )
        allowed = tf.one_hot(row, self.movies.count, False, True)
        allowed &= (row < self.movies.count)[:, tf.newaxis]
        rows, best, counts = self._best(cosines, allowed, k)
        return {
            "movie_id": self.movies.ids(rows),
            "movie_title": self.movies.titles(rows),
            "similarity": best,
            "count": counts,
        }

    def explain(
        self, values: Features, context: QueryContext, movie_ids: tf.Tensor, k: tf.Tensor
    ) -> Answer:
        """Returns the liked movies that add most to each movie's score.

        Liked is what was rated at least the user's mean, or named without a rating; of data
        without ratings, every event.

        Args:
          values: `[batch]` raw user features; empty where not known.
          context: the time of the query, and its events beside the known history.
          movie_ids: `[batch, n]` the movies to explain.
          k: scalar, how many movies for each at most.

        Returns:
          `because_movie_id`, `because_movie_title`, `contribution`, each
          `[batch, n, at most k]`: empty and 0 where fewer add to a movie's score.
        """
        query = self.query(values, context.timestamp)
        movies = self.movies.rows(input_parsing.checked(movie_ids, query.user_row, "movie_ids"))
        bounds = self.history.bounds(query.user_row)
        known = self.history.events(bounds)
        recent = self._recent(query, context).without_dislikes()
        new = self._is_new(recent, known)
        history = self._whole_history(query, bounds, known, recent)
        user_state = self.retrieval.user_state(
            _joined(known, _new_events(recent, new)), tf.size(query.user_row, tf.int64)
        )
        found = self.retrieval.contributions(
            user_state, query.profile, history, tf.minimum(movies, self.movies.count - 1)
        )
        # A movie that was rated does not explain itself.
        other = movies[:, :, tf.newaxis] != history.movies[:, tf.newaxis, :]
        liked = (history.residuals >= 0)[:, tf.newaxis, :]
        exists = (movies < self.movies.count)[:, :, tf.newaxis]
        found = tf.where(other & exists & liked, found, 0.0)
        k = tf.clip_by_value(k, 0, tf.shape(found)[2])
        top = tf.math.top_k(found, k)
        spread = tf.repeat(history.movies[:, tf.newaxis], tf.shape(movies)[1], axis=1)
        rows = tf.gather(spread, top.indices, batch_dims=2)
        rows = tf.where(top.values > 0, rows, self.movies.count)
        return {
            "because_movie_id": self.movies.ids(rows),
            "because_movie_title": self.movies.titles(rows),
            "contribution": tf.maximum(top.values, 0.0),
        }


def _indices_of(interactions: Interactions) -> dict[str, tf.Tensor]:
    """Returns the transformed features of the context of all ratings, `[ratings]` each."""
    return {name: tf.constant(values, tf.int64) for name, values in interactions.context.items()}


def usual_effects(rating: Rating, interactions: Interactions) -> Floats:
    """Returns `[users + 1, features]` stars: what each context feature adds to a user's ratings.

    It is the mean over the user's ratings, shrunk towards that over all; the last row, of whom
    nothing is known, has the latter.

    Args:
      rating: the model.
      interactions: the known ratings.
    """
    found = [
        effect.numpy() for effect in rating.context_effects(_indices_of(interactions)).values()
    ]
    counts = np.append(np.diff(interactions.offsets), 0)
    usual = np.zeros((len(counts), max(len(found), 1)), np.float32)
    for place, effects in enumerate(found):
        total = np.bincount(interactions.user_row, effects, len(counts))
        usual[:, place] = (total + USUAL_SHRINKAGE * effects.mean()) / (counts + USUAL_SHRINKAGE)
    return usual


def _is_last(movies: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, n]` bool: which events are the last of their movie in event order.

    Event order is (time, position in the list); events without a time, of 0, come first.
    """
    same = movies[:, :, tf.newaxis] == movies[:, tf.newaxis]
    own, other = times[:, :, tf.newaxis], times[:, tf.newaxis]
    place = tf.range(tf.shape(movies)[1])
    behind = (other == own) & (place > place[:, tf.newaxis])
    return ~tf.reduce_any(same & ((other > own) | behind), axis=2)


def _new_events(recent: Recent, new: tf.Tensor) -> Events:
    """Returns the new ones among the recent."""
    return Events(_pairs(recent.movies, new), tf.gather_nd(recent.residuals, tf.where(new)))


def _joined(one: Events, other: Events) -> Events:
    """Returns the events of both."""
    return Events(*(tf.concat(parts, axis=0) for parts in zip(one, other, strict=True)))


def _pairs(movies: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Returns `[n, 2]` int64 pairs (row, movie) of the kept ones among `[batch, any]` movies."""
    cells = tf.where(kept)
    return tf.stack([cells[:, 0], tf.cast(tf.gather_nd(movies, cells), tf.int64)], axis=1)
