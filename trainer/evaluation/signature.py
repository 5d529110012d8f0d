"""The evaluation's signature: serialized tf.Examples to predicted ratings and ranks.

It is a function of an exported model of its own, which knows what its parts were fitted to. The
model that is served has the same parts, and neither this function nor its table.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from schema.predictions import (
    CATALOGUE_SIZE,
    KNOWN_USER,
    LIST_LENGTH,
    MOVIE_POPULARITY,
    MOVIES_LEFT,
    NO_ITEM,
    POPULARITY_RANK,
    UNKNOWN_RANK,
    USER_KEY,
    items_of,
    items_popularity_of,
    rank_of,
    rating_of,
)
from schema.scenarios import IN_SESSION, NEXT_VISIT, Scenario, scenarios_of
from trainer.data.training_data import IntArray
from trainer.lookups import saved_variable
from trainer.retrieval.events import Events, Latest
from trainer.serving.interfaces import Rating
from trainer.serving.module import Answer, ServingModel
from trainer.serving.queries import Query

_ROWS_OF_A_BATCH = 1_000
"""Rows that the Evaluator sends at a time, about."""

_CELLS_AT_ONCE = 20_000_000
"""Rows × movies that are scored in one go: 1,000 rows of up to 20,000 movies."""

_LONG = 10_000_000_000
"""Seconds from the last known rating to the queries of the next visit."""

_DRAWS_OF_PARTS = 10
"""Draws that predict ratings from a part of a history: each row and draw has a state of its own."""

_FULL_RATINGS = 400_000
"""Fitted ratings up to which there are so many; beyond, fewer: each costs more and varies less."""


class Evaluation(tf.Module):
    """Computes what the Evaluator reads of a model, row by row.

    Args:
      serving: the model that is evaluated.
      ratings_per_movie: `[movies]` training ratings of each, to rank by popularity.
    """

    def __init__(self, serving: ServingModel, ratings_per_movie: IntArray) -> None:
        super().__init__(name="evaluation")
        self._serving = serving
        rating = serving.rating
        draws = draws_of_parts(int(ratings_per_movie.sum()))
        self._rating_of_parts = None if rating is None else rating.thinned(draws)
        self._popularity = saved_variable(ratings_per_movie.astype(np.int64), "popularity")

    @property
    def serving(self) -> ServingModel:
        """The model that is evaluated."""
        return self._serving

    @property
    def _rows_at_once(self) -> int:
        return max(1, _CELLS_AT_ONCE // self._serving.movies.count)

    def evaluate(self, examples: tf.Tensor) -> Answer:
        """Scores the (user, movie) of each serialized tf.Example; missing features are unknown.

        Args:
          examples: `[batch]` serialized tf.Examples with features of `schema.features`.

        Returns:
          The outputs of `schema.predictions.outputs_in`, per scenario: `<scenario>_rank`
          `[batch]` int64, the movie's rank from 1 on among the movies that are not in the
          known history (ties count against the movie; a movie that is not in the catalogue
          has rank -1), `<scenario>_rating` `[batch]` stars where the data has ratings, and
          `<scenario>_items`
          `[batch, 10]` int64, the first rows of that list (-1 where it is shorter).
          `user_key` is the same for all rows of a user, `known_user` `[batch]` bool whether the
          user has a history.
        """
        rows = self._rows_at_once
        if rows >= _ROWS_OF_A_BATCH:
            return self._evaluate(examples)
        # The leak check sends a few rows at a time: filled up, they would cost as much as a part.
        return tf.cond(
            tf.size(examples) <= rows,
            lambda: self._evaluate(examples),
            lambda: _in_parts(self._evaluate, examples, rows),
        )

    def _evaluate(self, examples: tf.Tensor) -> Answer:
        serving = self._serving
        user_id, query, movie_row = serving.queries_of(examples)
        # A batch has many rows of few users: what depends on the history is computed once each.
        users, user = tf.unique(query.user_row)
        bounds = serving.history.bounds(users)
        events = serving.history.events(bounds)
        seen = tf.gather(serving.marks(events.pairs, tf.size(users)), user)
        answer = {
            USER_KEY: tf.strings.to_hash_bucket_fast(user_id, 1 << 62),
            KNOWN_USER: tf.gather(bounds[:, 1] > bounds[:, 0], user),
            **self._popularity_of(movie_row, seen),
            **self._next_visit(query, movie_row, seen),
        }
        if serving.rating is not None:
            rows = movie_row[:, tf.newaxis]
            stars = serving.stars(self._after_training(query), rows)[:, 0]
            answer[rating_of(NEXT_VISIT)] = stars
        if IN_SESSION in scenarios_of(serving.features):
            own_bounds = tf.gather(bounds, user)
            in_session, seen_before = self._in_session(query, own_bounds)
            answer |= self._answer(IN_SESSION, movie_row, in_session, seen_before)
            if serving.rating is not None and self._rating_of_parts is not None:
                answer[rating_of(IN_SESSION)] = self._stars_in_session(
                    serving.rating, self._rating_of_parts, query, movie_row, own_bounds
                )
        return answer

    def _next_visit(self, query: Query, movie_row: tf.Tensor, seen: tf.Tensor) -> Answer:
        """Returns the next visit's lists, computed once for all rows of one user and one profile.

        Rows with other features of the user, given in the request or leaked from the movie, have
        another profile and so a list of their own.

        Args:
          query: the queries.
          movie_row: `[batch]` rows of the catalogue.
          seen: `[batch, movies]` what the users have rated.
        """
        serving = self._serving
        first, number = _unique_queries(query.user_row, query.profile)
        user_state = serving.user_state(tf.gather(query.user_row, first))
        scores = serving.retrieval.long_term_scores(user_state, tf.gather(query.profile, first))
        items = self._items(scores, tf.gather(seen, first))
        return {
            rank_of(NEXT_VISIT): self._ranks(tf.gather(scores, number), movie_row, seen),
            items_of(NEXT_VISIT): tf.gather(items, number),
            items_popularity_of(NEXT_VISIT): tf.gather(self._mean_popularity(items), number),
        }

    def _answer(
        self,
        scenario: Scenario,
        movie_row: tf.Tensor,
        scores: tf.Tensor,
        seen: tf.Tensor,
    ) -> Answer:
        """Returns a scenario's lists, given `[batch, movies]` scores and what was seen."""
        items = self._items(scores, seen)
        return {
            rank_of(scenario): self._ranks(scores, movie_row, seen),
            items_of(scenario): items,
            items_popularity_of(scenario): self._mean_popularity(items),
        }

    def _in_session(self, query: Query, bounds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `[batch, movies]` scores and what was seen at each query's own time.

        Later events are hidden, in the history as well as in the session. Of one second those count
        as later that are not known to be earlier (`HistoryTable.before`).

        Args:
          query: the queries.
          bounds: `[batch, 2]` of the users' histories.
        """
        retrieval, latest = self._serving.retrieval, self._serving.latest(query, bounds)
        before = self._serving.history.before(
            query.user_row, query.timestamp, query.position, bounds
        )
        has_session = retrieval.has_session(latest)
        # Without a session the scores are the long-term ones, which take more of the state.
        with_session, without = tf.where(has_session)[:, 0], tf.where(~has_session)[:, 0]
        state, seen = self._known(tf.gather(before, with_session), retrieval.session_state)
        scores = retrieval.scores(
            tf.zeros(tf.shape(seen)),
            state,
            tf.gather(query.profile, with_session),
            Latest(*(tf.gather(values, with_session) for values in latest)),
        )
        other_state, other_seen = self._known(tf.gather(before, without), retrieval.user_state)
        other_scores = retrieval.long_term_scores(other_state, tf.gather(query.profile, without))
        in_order = tf.argsort(tf.concat([with_session, without], axis=0))
        return (
            tf.gather(tf.concat([scores, other_scores], axis=0), in_order),
            tf.gather(tf.concat([seen, other_seen], axis=0), in_order),
        )

    def _stars_in_session(
        self,
        rating: Rating,
        of_parts: Rating,
        query: Query,
        movie_row: tf.Tensor,
        bounds: tf.Tensor,
    ) -> tf.Tensor:
        """Returns `[batch]` ratings as predicted at each query's own time: later events are hidden.

        The time counts as one after the training, as it does in every request. The context is that
        of the row.

        Args:
          rating: the model.
          of_parts: the same with fewer draws, which predict where later events are known.
          query: the queries.
          movie_row: `[batch]` rows of the catalogue.
          bounds: `[batch, 2]` of the users' histories.
        """
        serving = self._serving
        latest = serving.latest(query, bounds)
        times = serving.context_after_training(query.timestamp)
        query = query._replace(context={**query.context, **times})
        before = serving.history.before(query.user_row, query.timestamp, query.position, bounds)
        is_part = before[:, 1] < bounds[:, 1]

        def stars(model: Rating, rows: tf.Tensor, states: tf.Tensor) -> tf.Tensor:
            own, events, movies = tf.nest.map_structure(
                lambda values: tf.gather(values, rows), (query, latest, movie_row)
            )
            return serving.stars_of(model, states, events, own, movies[:, tf.newaxis])[:, 0]

        parts, whole = tf.where(is_part)[:, 0], tf.where(~is_part)[:, 0]
        states = self._rating_states(
            of_parts, tf.gather(query.user_row, parts), tf.gather(before, parts)
        )
        stored = tf.gather(serving.rating_states, tf.gather(query.user_row, whole))
        found = [stars(of_parts, parts, states), stars(rating, whole, stored)]
        in_order = tf.argsort(tf.concat([parts, whole], axis=0))
        return tf.gather(tf.concat(found, axis=0), in_order)

    def _rating_states(self, rating: Rating, user_row: tf.Tensor, bounds: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, width]` states of the rating model, of parts of histories.

        Args:
          rating: the model.
          user_row: `[batch]` rows of the users.
          bounds: `[batch, 2]` of the parts, none of them a whole history.
        """
        serving = self._serving
        # A part that is not whole is known by its end, and its user by its start.
        ends, part = tf.unique(bounds[:, 1])
        starts, users = (
            tf.math.unsorted_segment_max(values, part, tf.size(ends))
            for values in (bounds[:, 0], user_row)
        )
        order = tf.argsort(ends)
        ends, starts, users = (tf.gather(values, order) for values in (ends, starts, users))
        starts, _, parts = tf.unique_with_counts(starts)
        last = tf.cumsum(parts)

        def add(number: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            start, own = starts[number], slice(last[number] - parts[number], last[number])
            user = users[own][:1]
            events = serving.rated_events(user, [[start, ends[own][-1]]])
            features = serving.named(tf.gather(serving.users.profiles, user))
            states = rating.states_of_parts(events, ends[own] - start, features)
            return number + 1, found.write(number, states)

        count, shape = tf.size(starts), [None, rating.state_width]
        found = tf.TensorArray(tf.float32, count + 1, infer_shape=False, element_shape=shape)
        _, found = tf.while_loop(
            lambda number, _: number < count, add, (0, found), parallel_iterations=1
        )
        # Without any part there would be nothing to join.
        found = found.write(count, tf.zeros([0, rating.state_width]))
        return tf.gather(found.concat(), tf.gather(tf.argsort(order), part))

    def _known(
        self, bounds: tf.Tensor, state_of: Callable[[Events, tf.Tensor], tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `[batch, width]` states and `[batch, movies]` marks of parts of histories.

        Args:
          bounds: `[batch, 2]` of the parts.
          state_of: computes states from events.
        """
        # All rows between two events of a user have the same history, as have all empty ones.
        empty = bounds[:, 0] == bounds[:, 1]
        ends, part = tf.unique(tf.where(empty, tf.constant(-1, tf.int64), bounds[:, 1]))
        size = tf.size(ends)
        parts = tf.math.unsorted_segment_max(bounds, part, size)
        events = _without_mean(self._serving.history.events(parts), size)
        state = state_of(events, tf.cast(size, tf.int64))
        return tf.gather(state, part), tf.gather(self._serving.marks(events.pairs, size), part)

    def _after_training(self, query: Query) -> Query:
        """Returns the queries at one and the same time, long after the training.

        Their context is hidden: nobody knows it of the next visit.
        """
        time = query.timestamp
        if self._serving.features.has_time:
            time = tf.fill(tf.shape(time), np.int64(self._serving.history.last_time + _LONG))
        return self._serving.hidden(query, time)

    def _ranks(self, scores: tf.Tensor, movie_row: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        """Returns `[batch]` ranks of the rows' movies by `[batch, movies]` scores.

        Movies marked in `seen` are no part of the list; the row's own always is.
        """
        movies = self._serving.movies.count
        known, column = movie_row < movies, tf.minimum(movie_row, movies - 1)
        own = tf.gather(scores, column, batch_dims=1)[:, tf.newaxis]
        removed = _without_own(seen, column)
        # `~(scores < own)` rather than `scores >= own`, so that NaN ranks last.
        total = tf.reduce_sum(tf.cast(~(scores < own) & ~removed, tf.int64), axis=1)
        return tf.where(known, total, tf.cast(UNKNOWN_RANK, tf.int64))

    def _items(self, scores: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, LIST_LENGTH]` int64: the best rows of the catalogue but the seen."""
        worst = scores.dtype.min
        allowed = tf.where(seen | tf.math.is_nan(scores), worst, scores)
        length = min(LIST_LENGTH, self._serving.movies.count)
        best = tf.math.top_k(allowed, length)
        items = tf.where(best.values > worst, tf.cast(best.indices, tf.int64), NO_ITEM)
        return tf.pad(items, [[0, 0], [0, LIST_LENGTH - length]], constant_values=NO_ITEM)

    def _mean_popularity(self, items: tf.Tensor) -> tf.Tensor:
        """Returns `[batch]` float32: the mean training ratings of the items; 0 of none."""
        real = items != NO_ITEM
        counts = tf.gather(self._popularity, tf.maximum(items, 0))
        total = tf.reduce_sum(tf.where(real, counts, tf.zeros_like(counts)), axis=1)
        number = tf.reduce_sum(tf.cast(real, tf.int64), axis=1)
        return tf.cast(total, tf.float32) / tf.cast(tf.maximum(number, 1), tf.float32)

    def _popularity_of(self, movie_row: tf.Tensor, seen: tf.Tensor) -> Answer:
        movies = self._serving.movies.count
        column = tf.minimum(movie_row, movies - 1)
        counts = tf.gather(self._popularity, column)
        popularity = tf.broadcast_to(self._popularity[tf.newaxis], tf.shape(seen))
        return {
            POPULARITY_RANK: self._ranks(popularity, movie_row, seen),
            MOVIE_POPULARITY: tf.where(movie_row < movies, counts, tf.zeros_like(counts)),
            CATALOGUE_SIZE: tf.fill(tf.shape(movie_row), np.int64(movies)),
            MOVIES_LEFT: tf.reduce_sum(tf.cast(~_without_own(seen, column), tf.int64), axis=1),
        }


def draws_of_parts(ratings: int) -> int:
    """Returns how many draws predict ratings from parts of histories, given the fitted ratings."""
    share = _FULL_RATINGS / max(ratings, _FULL_RATINGS)
    return max(2, round(_DRAWS_OF_PARTS * share))


def _unique_queries(user_row: tf.Tensor, profile: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the rows that differ in user or profile, and where each row is among them.

    Args:
      user_row: `[batch]` rows of the users.
      profile: `[batch, width]` float32; compared bit by bit.

    Returns:
      `[unique]` int32 first row of each user and profile, and `[batch]` int32 places in it.
    """
    user = tf.cast(user_row, tf.int32)[:, tf.newaxis]
    keys = tf.concat([user, tf.bitcast(profile, tf.int32)], axis=1)
    unique = tf.raw_ops.UniqueV2(x=keys, axis=[0])
    rows = tf.range(tf.size(user_row))
    return tf.math.unsorted_segment_min(rows, unique.idx, tf.shape(unique.y)[0]), unique.idx


def _in_parts(function: Callable[[tf.Tensor], Answer], examples: tf.Tensor, rows: int) -> Answer:
    """Returns a function's answer for `[batch]` examples, at least one, `rows` at a time."""
    batch = tf.size(examples)
    # The last part is filled up with the first example.
    filling = tf.repeat(examples[:1], tf.math.floormod(-batch, rows))
    parts = tf.reshape(tf.concat([examples, filling], axis=0), [-1, rows])
    traced = tf.function(function, autograph=False).get_concrete_function(
        tf.TensorSpec([rows], tf.string)
    )
    outputs = {
        name: tf.TensorSpec(one.shape, one.dtype) for name, one in traced.structured_outputs.items()
    }
    answers = tf.map_fn(function, parts, parallel_iterations=1, fn_output_signature=outputs)
    return {
        name: tf.reshape(values, [-1, *values.shape[2:]])[:batch]
        for name, values in answers.items()
    }


def _without_own(seen: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, movies]` bool: the seen movies without each row's own."""
    return seen & ~tf.one_hot(column, tf.shape(seen)[1], True, False)


def _without_mean(events: Events, batch: tf.Tensor) -> Events:
    """Returns the events with residuals from the mean of the rows' own events.

    The residuals in the table are from the mean of all of a user's ratings, later ones too.
    """
    row = events.pairs[:, 0]
    mean = tf.math.unsorted_segment_mean(events.residuals, row, batch)
    return events._replace(residuals=events.residuals - tf.gather(mean, row))
