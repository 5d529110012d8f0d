"""Retrieval as it is served: scores of the next visit, and scores within a session.

**Next visit**: the weighted sum of the standardised scores of the autoencoder, EASE, iALS, kernel
regression and, where little is known of the user, popularity, or of those of a strongly penalised
EASE and popularity (`trainer.retrieval.blend`), whatever the time of the query.

**In a session** the score of a movie is one dot product of a query and a candidate vector:

| block | query | candidate |
|---|---|---|
| tower | pooled history + profile + temporal context + context features | embedding + features |
| recency | latest events | embedding |
| biases | 1 | log popularity, as trained |
| long-term | a · tanh(pooled history + profile + start) | embedding + features, popularity |
| movies | a · EASE's scores | one-hot |

with a = `session_weight`. The last block is as wide as the catalogue and is added without writing
the one-hot out. All blocks are additive over events; iALS and kernel regression are not and have
no block. With a causal sequence block (`trainer.retrieval.sequence`) of weight w, the first three
blocks count 1 - w, and w times its scores are added.

Without the towers (of data without times) there are no sessions.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from schema.events import SESSION_GAP_SECONDS
from trainer.data.training_data import Catalogue, IntArray
from trainer.lookups import one_graph, rows_of, saved_variable, weighted_rows
from trainer.retrieval.blend import AUTOENCODER, EASE, IALS, KERNEL, STRONG_EASE, deviation
from trainer.retrieval.events import EVENTS, Events, History, Latest
from trainer.retrieval.history import (
    mean_history,
    recency_of_events,
    recency_weights,
    seconds_since,
)
from trainer.retrieval.long_term import LongTermModels
from trainer.retrieval.sequence import SequenceBlock
from trainer.retrieval.sessions import latest_of_session, places_of_latest
from trainer.retrieval.two_towers import CandidateTower, QueryTower, query_of
from transform import outputs as out


class HistoryRetrieval(tf.Module):
    """Scores of all movies from histories.

    Tables are laid out for few operations per query: that, not arithmetic, is what a query
    of one user costs.

    Args:
      towers: the trained towers of query and candidate; None without sessions.
      long_term: the fitted standalone models.
      catalogue: every movie.
      ratings_per_movie: `[movies]` training ratings of each.
      sequence: the sequence block beside the towers; None without one.
    """

    def __init__(
        self,
        towers: tuple[QueryTower, CandidateTower] | None,
        long_term: LongTermModels,
        catalogue: Catalogue,
        ratings_per_movie: IntArray,
        sequence: SequenceBlock | None = None,
    ) -> None:
        super().__init__(name="retrieval")
        self.sequence = sequence
        autoencoder, ease = long_term.autoencoder, long_term.ease
        network = autoencoder.network
        self._long_term_config = autoencoder.config
        self._movies = len(catalogue.ids)
        self._autoencoder = network
        self._width = network.ids.shape[1]
        movie_ids = tf.constant(catalogue.features[out.ITEM_ID_INDEX], tf.int32)
        history = tf.zeros([self._movies, 0])
        self._query_tower: QueryTower | None = None
        if towers is not None:
            self._query_tower, candidate_tower = towers
            self.towers = saved_variable(candidate_tower(), "towers")
            self.recency = saved_variable(tf.gather(self._query_tower.recency, movie_ids), "recent")
            history = tf.gather(self._query_tower.history, movie_ids)
        # Columns are those of `user_state`: history length, autoencoder, tower.
        parts = [tf.ones([self._movies, 1]), network.input_table, history]
        self._parts = [part.shape[1] for part in parts]
        self.candidates = saved_variable(
            tf.concat([network.candidates(), network.bias[:, tf.newaxis]], axis=1),
            "candidates",
        )
        self.histories = saved_variable(tf.concat(parts, axis=1), "histories")
        self.rating_weights = saved_variable(
            tf.pad(network.rating_weights, [[0, 0], [self._parts[0], self._parts[2]]]),
            "rating_weights",
        )
        self.ease = ease
        self.ials, self.kernel = long_term.ials, long_term.kernel
        self.strong_ease = long_term.strong_ease
        # Columns of the user state: sums of `histories`, EASE's scores, the kernel with each fitted
        # user, the scores of the strongly penalised EASE, the vector of iALS.
        self._state_parts = [
            sum(self._parts),
            0 if ease is None else self._movies,
            0 if self.kernel is None else self.kernel.weights.shape[0],
            0 if self.strong_ease is None else self._movies,
            self._long_term_config.ials_dim,
        ]
        self._blend = long_term.blend(ratings_per_movie)
        self._user_state = one_graph(self._state_of, EVENTS, tf.TensorSpec([], tf.int64))

    @property
    def recency_events(self) -> int:
        """How many of a user's latest events `scores` looks at."""
        if self._query_tower is None:
            return 0
        of_block = 0 if self.sequence is None else self.sequence.config.recency_events
        return max(self._query_tower.config.recency_events, of_block)

    def profile(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[batch, width]`: what follows from users' transformed features alone."""
        profile = self._autoencoder.profile(features)
        if self._query_tower is None:
            return profile
        return tf.concat([profile, self._query_tower.profile(features)], axis=1)

    def in_context(self, profile: tf.Tensor, context: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns a profile with the query's context features: in the part of the towers alone.

        Args:
          profile: what `profile` gave.
          context: transformed features of the context, `[batch]` each.
        """
        tower = self._query_tower
        if tower is None or not tower.context.features:
            return profile
        of_tower = tower.in_context(profile[:, self._width :], context)
        return tf.concat([profile[:, : self._width], of_tower], axis=1)

    def user_state(self, events: Events, batch: tf.Tensor) -> tf.Tensor:
        """Returns one vector per user, which aggregates the history.

        Args:
          events: the histories; not additive over them, since the vector of iALS is solved for.
          batch: scalar int64, how many there are.

        Returns:
          `[batch, width]`: the number of events, sums for the autoencoder and the tower, EASE's
          weighted scores where there is EASE, the kernel where there is kernel regression, the
          scores of the strongly penalised EASE where there is one, and the vector of iALS.
        """
        return self._user_state(events, batch)

    def _state_of(self, events: Events, batch: tf.Tensor) -> tf.Tensor:
        parts = [self._sums(events, batch)]
        if self.kernel is not None:
            parts.append(self.kernel.user_state(events, batch))
        if self.strong_ease is not None:
            parts.append(self.strong_ease.user_state(events, batch))
        return tf.concat([*parts, self.ials.user_state(events, batch)], axis=1)

    def session_state(self, events: Events, batch: tf.Tensor) -> tf.Tensor:
        """Returns `user_state` without the parts that no score in a session needs."""
        return tf.pad(self._sums(events, batch), [[0, 0], [0, sum(self._state_parts[2:])]])

    def has_session(self, latest: Latest) -> tf.Tensor:
        """Returns `[batch]` bool: which queries `scores` answers by the events of a session."""
        if self._query_tower is None:
            return tf.zeros_like(latest.history_length, tf.bool)
        return tf.reduce_any(latest.earlier, axis=1)

    def _sums(self, events: Events, batch: tf.Tensor) -> tf.Tensor:
        ones = tf.ones_like(events.residuals)
        sums = weighted_rows(events.pairs, ones, batch, self.histories)
        sums += weighted_rows(events.pairs, events.residuals, batch, self.rating_weights)
        if self.ease is None:
            return sums
        return tf.concat([sums, self.ease.user_state(events, batch)], axis=1)

    def long_term_scores(self, user_state: tf.Tensor, profile: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` scores of the next visit, whatever the time of the query.

        Args:
          user_state: what `user_state` gave for each row's user.
          profile: what `profile` gave.
        """
        return self._blend(self._standalone_scores(user_state, profile), user_state[:, 0])

    def _standalone_scores(self, user_state: tf.Tensor, profile: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `[batch, movies]` scores of each standalone model, by name."""
        _, _, of_kernel, of_strong, of_ials = tf.split(user_state, self._state_parts, axis=1)
        scores = self._additive_scores(user_state, profile)
        scores[IALS] = self.ials.scores(of_ials)
        if self.kernel is not None:
            scores[KERNEL] = self.kernel.scores(of_kernel)
        if self.strong_ease is not None:
            scores[STRONG_EASE] = self.strong_ease.scores(of_strong)
        return scores

    def _additive_scores(self, user_state: tf.Tensor, profile: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `[batch, movies]` scores of the models that count in a session, by name."""
        sums, of_ease, *_ = tf.split(user_state, self._state_parts, axis=1)
        query = tf.pad(self._long_term_query(sums, profile), [[0, 0], [0, 1]], constant_values=1.0)
        scores = {AUTOENCODER: tf.matmul(query, self.candidates, transpose_b=True)}
        if self.ease is not None:
            scores[EASE] = self.ease.scores(of_ease)
        return scores

    def _long_term_query(self, user_state: tf.Tensor, profile: tf.Tensor) -> tf.Tensor:
        length, totals = user_state[:, 0], user_state[:, 1 : 1 + self._width]
        return self._autoencoder.query_of(totals, length, profile[:, : self._width])

    def _tower_history(self, user_state: tf.Tensor) -> tf.Tensor:
        totals = user_state[:, 1 + self._width : sum(self._parts)]
        return mean_history(totals, user_state[:, 0])

    def scores(
        self, long_term: tf.Tensor, user_state: tf.Tensor, profile: tf.Tensor, latest: Latest
    ) -> tf.Tensor:
        """Returns `[batch, movies]` scores at the time of the query.

        Args:
          long_term: what `long_term_scores` gave.
          user_state: what `user_state` gave for each row's user.
          profile: what `profile` gave.
          latest: the latest events of each query.
        """
        if self._query_tower is None:
            return long_term
        tower = self._query_tower
        since_last = seconds_since(latest.seconds, latest.earlier)
        in_session = _in_session(since_last)

        def in_session_scores() -> tf.Tensor:
            liked = self._tower_history(user_state) + profile[:, self._width :]
            temporal_context = tower.temporal_context(since_last, latest.history_length)
            query = query_of(liked + temporal_context, self._recency(tower, latest))
            scores = tf.matmul(query, self.towers, transpose_b=True)
            if self.sequence is not None:
                weight = self.sequence.weight
                scores = (1.0 - weight) * scores + weight * self.sequence.scores(latest)
            scores += self._long_term_config.session_weight * tf.add_n(
                list(self._additive_scores(user_state, profile).values())
            )
            return tf.where(in_session, scores, long_term)

        return tf.cond(tf.reduce_any(in_session), in_session_scores, lambda: long_term)

    def similarity_vectors(self) -> tf.Tensor:
        """Returns `[movies, dim]`: vectors that are close where the same users like both movies."""
        return self.candidates[:, : self._width]

    def contributions(
        self, user_state: tf.Tensor, profile: tf.Tensor, history: History, movies: tf.Tensor
    ) -> tf.Tensor:
        """Returns `[batch, n, events]`: how much each event adds to the score of each movie.

        EASE's scores and those of iALS are sums over events, given the user's matrix of iALS, as
        are those of kernel regression, given the kernel; of the autoencoder's tanh the gradient at
        the query times the event's input is taken. What an event adds to a standardised score is
        what it adds above its mean over the catalogue, over the deviation of the user's scores.

        Args:
          user_state: what `user_state` gave for each row's user.
          profile: what `profile` gave.
          history: everything the users have rated.
          movies: `[batch, n]` rows of the catalogue.
        """
        share = tf.math.rsqrt(user_state[:, :1] + 1.0)[:, :, tf.newaxis]
        _, inputs, pooled = tf.split(rows_of(self.histories, history.movies), self._parts, axis=2)
        inputs += history.residuals[:, :, tf.newaxis] * tf.gather(
            self._autoencoder.rating_weights, history.movies
        )
        slope = 1.0 - tf.square(self._long_term_query(user_state, profile))
        inputs *= share * slope[:, tf.newaxis]
        vectors = rows_of(self.candidates, movies)[:, :, : self._width]
        mean = tf.reduce_mean(self.candidates[:, : self._width], axis=0)
        added = {AUTOENCODER: tf.matmul(vectors, inputs, transpose_b=True)}
        means = {AUTOENCODER: tf.linalg.matvec(inputs, mean)}
        if self.ease is not None:
            added[EASE], means[EASE] = self.ease.contributions(history, movies)
        found = self._next_visit_contributions(user_state, profile, history, movies, added, means)
        if self._query_tower is not None:
            tower = self._query_tower
            earlier = latest_of_session(
                history.seconds, history.has_time, tower.config.recency_events
            )
            session = self._session_contributions(
                tower, history, earlier, rows_of(self.towers, movies), pooled * share
            )
            if self.sequence is not None:
                weight = self.sequence.weight
                of_sequence = _sequence_contributions(
                    self.sequence, user_state[:, 0], history, movies
                )
                session = (1.0 - weight) * session + weight * of_sequence
            session += self._long_term_config.session_weight * tf.add_n(list(added.values()))
            in_session = _in_session(seconds_since(history.seconds, earlier))
            found = tf.where(in_session[:, :, tf.newaxis], session, found)
        return tf.where(history.present[:, tf.newaxis], found, 0.0)

    def _next_visit_contributions(
        self,
        user_state: tf.Tensor,
        profile: tf.Tensor,
        history: History,
        movies: tf.Tensor,
        added: Mapping[str, tf.Tensor],
        means: Mapping[str, tf.Tensor],
    ) -> tf.Tensor:
        """Returns `[batch, n, events]` what events add to the blend.

        Args:
          user_state: as in `contributions`, like the next three.
          profile: see there.
          history: see there.
          movies: see there.
          added: `[batch, n, events]` what events add to each additive model's score.
          means: `[batch, events]` the mean of that over the catalogue.
        """
        scores = self._standalone_scores(user_state, profile)
        above = {name: added[name] - means[name][:, tf.newaxis] for name in added}
        above[IALS] = self.ials.contributions(history, movies)
        if self.kernel is not None:
            of_kernel = tf.split(user_state, self._state_parts, axis=1)[2]
            of_movies, mean = self.kernel.contributions(of_kernel, history, movies)
            above[KERNEL] = of_movies - mean[:, tf.newaxis]
        if self.strong_ease is not None:
            of_movies, mean = self.strong_ease.contributions(history, movies)
            above[STRONG_EASE] = of_movies - mean[:, tf.newaxis]
        weights = self._blend.weights(user_state[:, 0], scores)
        return tf.add_n(
            [
                (weights[name] / deviation(scores[name]))[:, :, tf.newaxis] * above[name]
                for name in scores
            ]
        )

    def _session_contributions(
        self,
        tower: QueryTower,
        history: History,
        earlier: tf.Tensor,
        towers: tf.Tensor,
        pooled: tf.Tensor,
    ) -> tf.Tensor:
        width = tower.config.embedding_dim
        weights = recency_weights(
            history.seconds[:, tf.newaxis],
            earlier[:, tf.newaxis],
            tower.config.recency_seconds,
        )[:, :, 0]
        mixed = tf.einsum("bte,td->bed", weights, tower.mixture)
        mixed *= tf.gather(self.recency, history.movies)
        return tf.matmul(
            towers[:, :, : 2 * width], tf.concat([pooled, mixed], axis=2), transpose_b=True
        )

    def _recency(self, tower: QueryTower, latest: Latest) -> tf.Tensor:
        # The sequence block looks further back.
        latest = latest.first(tower.config.recency_events)
        return recency_of_events(
            latest.movies,
            latest.seconds,
            latest.earlier,
            self.recency,
            tower.mixture,
            tower.config.recency_seconds,
        )


def _in_session(since_last: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, 1]` bool: whether the query has a session, given the seconds since it."""
    return (since_last <= float(SESSION_GAP_SECONDS))[:, tf.newaxis]


def _sequence_contributions(
    sequence: SequenceBlock, history_length: tf.Tensor, history: History, movies: tf.Tensor
) -> tf.Tensor:
    """Returns `[batch, n, events]`: what events add by the sequence block, 0 where it sees none."""
    places = places_of_latest(history.seconds, history.has_time, sequence.config.recency_events)
    present = tf.gather(history.has_time, places, batch_dims=1)
    seconds = tf.gather(history.seconds, places, batch_dims=1)
    latest = Latest(
        tf.gather(history.movies, places, batch_dims=1),
        seconds,
        # The block reads no ratings.
        tf.zeros_like(seconds),
        present,
        present,
        tf.cast(history_length, tf.int64),
    )
    columns = tf.one_hot(places, tf.shape(history.movies)[1])
    return tf.matmul(sequence.contributions(latest, movies), columns)
