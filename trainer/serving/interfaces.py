"""Interfaces of the retrieval model and of the rating model in the exported model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import tensorflow as tf

from trainer.data.training_data import Floats, TrainingData
from trainer.rating.rating_bpmf import RatedEvents
from trainer.retrieval.events import Events, History, Latest

Features = Mapping[str, tf.Tensor]


class Retrieval(Protocol):
    """Scores the whole catalogue, as `trainer.retrieval.combination.HistoryRetrieval` does."""

    @property
    def candidates(self) -> tf.Variable:
        """`[movies, dim]` candidate vectors."""

    @property
    def recency_events(self) -> int:
        """How many of a user's latest events `scores` looks at."""

    def profile(self, features: Features) -> tf.Tensor:
        """Returns `[batch, width]`: what follows from users' features alone."""

    def in_context(self, profile: tf.Tensor, context: Features) -> tf.Tensor:
        """Returns `[batch, width]`: what `profile` gave, with what the query's context adds.

        No score of `long_term_scores` depends on it.
        """

    def user_state(self, events: Events, batch: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, width]`: one vector per user, of all their events."""

    def long_term_scores(self, user_state: tf.Tensor, profile: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` scores that do not depend on the time of the query."""

    def session_state(self, events: Events, batch: tf.Tensor) -> tf.Tensor:
        """Returns as much of `user_state` as `scores` needs in a session."""

    def has_session(self, latest: Latest) -> tf.Tensor:
        """Returns `[batch]` bool: which queries `scores` answers by the events of a session."""

    def scores(
        self, long_term: tf.Tensor, user_state: tf.Tensor, profile: tf.Tensor, latest: Latest
    ) -> tf.Tensor:
        """Returns `[batch, movies]` scores at the time of the query."""

    def contributions(
        self, user_state: tf.Tensor, profile: tf.Tensor, history: History, movies: tf.Tensor
    ) -> tf.Tensor:
        """Returns `[batch, n, events]`: how much each event adds to each movie's score."""

    def similarity_vectors(self) -> tf.Tensor:
        """Returns `[movies, dim]`: vectors that are close where the same users like both movies."""


class Rating(Protocol):
    """Predicts ratings in stars, as `trainer.rating.rating_blend.BlendedRating` does."""

    def thinned(self, draws: int) -> Rating:
        """Returns a model of about so many draws, whose states of users cost less."""

    @property
    def state_width(self) -> int:
        """How many numbers the state of a user is."""

    def user_states(self, data: TrainingData) -> Floats:
        """Returns `[users + 1, width]` states of the data's users; the last has no events."""

    def user_state(self, events: RatedEvents, features: Features) -> tf.Tensor:
        """Returns `[batch, width]`: the states of users with these events and features."""

    def states_of_parts(
        self, events: RatedEvents, ends: tf.Tensor, features: Features
    ) -> tf.Tensor:
        """Returns `[parts, width]`: the states of one user after the first `ends` events."""

    def context_effects(self, context: Features) -> Mapping[str, tf.Tensor]:
        """Returns the `[batch]` stars by which context features move a rating, by their names.

        It is what the states of users do not know: they hold the user's usual context.
        """

    def session_residual(self, user_state: tf.Tensor, latest: Latest) -> tf.Tensor:
        """Returns `[batch]`: how many stars the session's ratings are above their predictions."""

    def user(self, features: Features) -> tf.Tensor:
        """Returns `[batch, width]`: what follows from users' features alone."""

    def movie(self, features: Features) -> tf.Tensor:
        """Returns `[movies, width]`: what follows from movies' features alone."""

    def __call__(
        self,
        user_state: tf.Tensor,
        user: tf.Tensor,
        context: Features,
        movie_row: tf.Tensor,
        movie: tf.Tensor,
    ) -> tf.Tensor:
        """Returns `[batch, n]` stars, not clipped; the rows may be those of unknown ones."""
