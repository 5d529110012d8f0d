"""Served ratings: a weighted mean of the Bayesian factorisation and the deep & cross network."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from trainer.data.training_data import TrainingData
from trainer.rating.rating_bpmf import Bpmf, RatedEvents
from trainer.rating.rating_dcn import RatingModel, TowerOutput
from trainer.rating.side_information import Floats
from trainer.retrieval.events import Latest


class BlendedRating(tf.Module):
    """A weighted mean of the Bayesian factorisation's stars and of the network's.

    Args:
      network: the trained deep & cross network.
      bpmf: the Bayesian factorisation.
      weight: its weight; the network has the rest.
    """

    def __init__(self, network: RatingModel, bpmf: Bpmf, weight: float) -> None:
        super().__init__(name="rating")
        self.network = network
        self.bpmf = bpmf
        self.weight = weight

    def thinned(self, draws: int) -> BlendedRating:
        """Returns the same with about so many draws of the factorisation."""
        return BlendedRating(self.network, self.bpmf.thinned(draws), self.weight)

    @property
    def state_width(self) -> int:
        """How many numbers the state of a user is."""
        return self.bpmf.state_width

    def user_states(self, data: TrainingData) -> Floats:
        """Returns `[users + 1, width]` the states of users with the data's events."""
        return self.bpmf.user_states(data)

    def user_state(self, events: RatedEvents, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[batch, width]` the states of users, known or not.

        Args:
          events: all their events, each movie once.
          features: their transformed features, `[batch]` each.
        """
        return self.bpmf.user_state(events, self.bpmf.profile(features))

    def states_of_parts(
        self, events: RatedEvents, ends: tf.Tensor, features: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """Returns `[parts, width]`: the states of one user who had only the first events.

        Args:
          events: the user's events in event order, each movie once.
          ends: `[parts]` int64, ascending, at least one: how many events each part has.
          features: the user's transformed features, `[1]` each.
        """
        return self.bpmf.states_of_parts(events, ends, self.bpmf.profile(features))

    def session_residual(self, user_state: tf.Tensor, latest: Latest) -> tf.Tensor:
        """Returns `[batch]`: how many stars the ratings of a session are above their predictions.

        Args:
          user_state: `[batch, width]`, of users with these events.
          latest: the latest events of the session.
        """
        return self.bpmf.session_residual(user_state, latest)

    def context_effects(self, context: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the `[batch]` stars by which context features change the factorisation's part.

        The factorisation knows no context. The network's biases of it, fitted beside those of users
        and movies, count for its part as well.

        Args:
          context: transformed features of the context, `[batch]` each.
        """
        effects = self.network.context_effects(context)
        return {name: self.weight * effect for name, effect in effects.items()}

    def user(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[batch, width]` tower outputs of users, given their transformed features."""
        return tf.concat(self.network.user(features), axis=1)

    def movie(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[movies, width]` tower outputs of movies, given their transformed features."""
        return tf.concat(self.network.movie(features), axis=1)

    def __call__(
        self,
        user_state: tf.Tensor,
        user: tf.Tensor,
        context: Mapping[str, tf.Tensor],
        movie_row: tf.Tensor,
        movie: tf.Tensor,
    ) -> tf.Tensor:
        """Returns `[batch, n]` stars, not clipped.

        Args:
          user_state: `[batch, width]`, of `user_states` or `user_state`.
          user: `[batch, width]`, of `user`.
          context: transformed features of the context, `[batch]` each.
          movie_row: `[batch, n]` rows of the catalogue; may be that of the unknown movie.
          movie: `[batch, n, width]`, of `movie`.
        """
        stars = self.bpmf.ratings(user_state, movie_row)
        network = self._network(user, context, movie)
        return self.weight * stars + (1.0 - self.weight) * network

    def _network(
        self, user: tf.Tensor, context: Mapping[str, tf.Tensor], movie: tf.Tensor
    ) -> tf.Tensor:
        """Returns the network's `[batch, n]` stars."""
        batch, n, width = tf.unstack(tf.shape(movie))
        own = tf.concat(self.network.context_output(context, batch), axis=1)
        pairs = tf.range(batch * n)
        rows = tf.gather(tf.concat([user, own], axis=1), pairs // tf.maximum(n, 1))
        vectors, bias, own_vectors, own_bias = tf.split(
            rows, [user.shape[1] - 1, 1, own.shape[1] - 1, 1], axis=1
        )
        movie_vectors, movie_bias = tf.split(
            tf.reshape(movie, [-1, width]), [movie.shape[2] - 1, 1], axis=1
        )
        stars = self.network.stars(
            TowerOutput(vectors, bias),
            TowerOutput(movie_vectors, movie_bias),
            TowerOutput(own_vectors, own_bias),
            training=False,
        )
        return tf.reshape(stars, [batch, n])
