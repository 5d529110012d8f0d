"""Baseline models: two towers of ids in the style of the TFRS tutorial.

One embedding per user and one per movie: retrieval scores are their dot product, ratings the
output of a network on both (TensorFlow Recommenders, Multi-task recommenders). With one loss weight
of 0 it is the capstone's retrieval model or rating model, else its joint model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer.config import TutorialConfig
from trainer.data.training_data import Floats, Interactions, TrainingData, Users
from trainer.epochs import OnEpoch, RatingRmse, run_epochs
from trainer.rating.rating_bpmf import RatedEvents
from trainer.retrieval.events import Events, History, Latest
from trainer.retrieval.two_towers import embedding_table
from transform import outputs as out


class TutorialModel(tfrs.Model):
    """User and movie embeddings, trained on either task or on both.

    Args:
      users: number of user id indices.
      movies: number of movies in the catalogue; one more row stands for unknown ones.
      config: widths and loss weights.
      units_per_star: of the data's scale, in which the training error is reported.
    """

    def __init__(
        self, users: int, movies: int, config: TutorialConfig, units_per_star: float = 1.0
    ) -> None:
        super().__init__()
        self.tutorial_config = config
        self.users = embedding_table("tutorial_user", users, config.embedding_dim)
        self.movies = embedding_table("tutorial_movie", movies + 1, config.embedding_dim)
        layers = [tf.keras.layers.Dense(units, "relu") for units in config.hidden_units]
        self.network = tf.keras.Sequential([*layers, tf.keras.layers.Dense(1)])
        self.network.build([None, 2 * config.embedding_dim])
        self.retrieval_task = tfrs.tasks.Retrieval()
        self.rating_task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(),
            metrics=[RatingRmse(units_per_star)],
        )
        self.retrieval_loss = tf.keras.metrics.Mean("retrieval_loss")

    def stars(self, user_id: tf.Tensor, movie_row: tf.Tensor) -> tf.Tensor:
        """Returns predicted stars `[batch]`, not clipped."""
        return self.stars_of(tf.gather(self.users, user_id), movie_row)

    def stars_of(self, users: tf.Tensor, movie_row: tf.Tensor) -> tf.Tensor:
        """Returns predicted stars `[batch]`, given the users' embeddings."""
        pair = [users, tf.gather(self.movies, movie_row)]
        return tf.squeeze(self.network(tf.concat(pair, axis=1)), axis=1)

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns the weighted sum of both losses: the sum of the batch's softmax losses, as in
        the tutorial, and the mean of its squared errors. (Adagrad starts from an accumulator of
        0.1, beside which gradients of the softmax losses' mean are nothing.)

        Args:
          inputs: `user_id` and `movie_row` `[batch]` int64, and `rating` `[batch]` stars, where
            the data has ratings.
          training: not used.
        """
        user_id, movie_row = inputs["user_id"], inputs["movie_row"]
        rows = tf.cast(tf.shape(movie_row)[0], tf.float32)
        retrieval = self.retrieval_task(
            tf.gather(self.users, user_id),
            tf.gather(self.movies, movie_row),
            compute_metrics=False,
        )
        self.retrieval_loss.update_state(retrieval / rows)
        config = self.tutorial_config
        if "rating" not in inputs:
            return config.retrieval_weight * retrieval
        rating = self.rating_task(
            labels=inputs["rating"], predictions=self.stars(user_id, movie_row)
        )
        return config.retrieval_weight * retrieval + config.rating_weight * rating


def fit_tutorial(
    model: TutorialModel,
    interactions: Interactions,
    users: Users,
    epochs: int,
    seed: int,
    log_dir: str,
    on_epoch: OnEpoch,
) -> dict[str, list[float]]:
    """Trains the model on shuffled rows.

    Args:
      model: a new model.
      interactions: the training ratings.
      users: their users.
      epochs: passes over the ratings.
      seed: seed of the shuffle.
      log_dir: where TensorBoard's logs go.
      on_epoch: see `OnEpoch`.

    Returns:
      The losses by name, one value per epoch.

    Raises:
      ValueError: the loss is not finite: the learning rate is too high.
    """
    config = model.tutorial_config
    columns: dict[str, npt.NDArray[Any]] = {
        "user_id": users.features[out.USER_ID_INDEX][interactions.user_row],
        "movie_row": interactions.movie_row.astype(np.int64),
    }
    if interactions.rating.any():
        columns["rating"] = interactions.rating
    dataset = tf.data.Dataset.from_tensor_slices(columns)
    dataset = dataset.shuffle(min(len(interactions), 1_000_000), seed=seed)
    model.compile(optimizer=tf.keras.optimizers.Adagrad(config.learning_rate))
    return run_epochs(
        model,
        dataset.batch(config.batch_size).prefetch(2),
        epochs=epochs,
        learning_rate=("tutorial.learning_rate", config.learning_rate),
        on_epoch=on_epoch,
        log_dir=log_dir,
    )


class TutorialRetrieval(tf.Module):
    """Scores that depend on the user's id alone.

    Args:
      model: the trained model.
    """

    def __init__(self, model: TutorialModel) -> None:
        super().__init__(name="retrieval")
        self._model = model
        self.candidates = tf.Variable(model.movies[:-1], trainable=False, name="candidates")
        self.recency_events = 0

    def profile(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the users' embeddings `[batch, dim]`."""
        return tf.gather(self._model.users, features[out.USER_ID_INDEX])

    def user_state(self, events: Events, batch: tf.Tensor) -> tf.Tensor:
        """Returns nothing, `[batch, 0]`: histories do not count."""
        return tf.zeros(tf.stack([batch, 0]))

    def session_state(self, events: Events, batch: tf.Tensor) -> tf.Tensor:
        """Returns nothing, `[batch, 0]`, as `user_state`."""
        return self.user_state(events, batch)

    def has_session(self, latest: Latest) -> tf.Tensor:
        """Returns `[batch]` bool, all false: time does not count."""
        return tf.zeros_like(latest.history_length, tf.bool)

    def long_term_scores(self, user_state: tf.Tensor, profile: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` dot products."""
        return tf.matmul(profile, self.candidates, transpose_b=True)

    def in_context(self, profile: tf.Tensor, context: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the profile as it is: the context does not count."""
        return profile

    def scores(
        self, long_term: tf.Tensor, user_state: tf.Tensor, profile: tf.Tensor, latest: Latest
    ) -> tf.Tensor:
        """Returns the same scores: time does not count."""
        return long_term

    def contributions(
        self, user_state: tf.Tensor, profile: tf.Tensor, history: History, movies: tf.Tensor
    ) -> tf.Tensor:
        """Returns zeros: no event adds to a movie's score."""
        events = tf.zeros_like(history.seconds)[:, tf.newaxis]
        return tf.repeat(events, tf.shape(movies)[1], axis=1)

    def similarity_vectors(self) -> tf.Tensor:
        """Returns the movies' embeddings."""
        return self.candidates


class TutorialRating(tf.Module):
    """The network's stars.

    Args:
      model: the trained model.
    """

    def __init__(self, model: TutorialModel) -> None:
        super().__init__(name="rating")
        self._model = model

    def thinned(self, draws: int) -> TutorialRating:
        """Returns the same model: it has no draws."""
        return self

    @property
    def state_width(self) -> int:
        """How many numbers the state of a user is: none."""
        return 0

    def user_states(self, data: TrainingData) -> Floats:
        """Returns nothing, `[users + 1, 0]`: a user is their id."""
        return np.zeros([len(data.users.ids) + 1, 0], np.float32)

    def user_state(self, events: RatedEvents, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns nothing, `[batch, 0]`: events do not count."""
        return tf.zeros([tf.size(features[out.USER_ID_INDEX]), 0])

    def states_of_parts(
        self, events: RatedEvents, ends: tf.Tensor, features: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """Returns nothing, `[parts, 0]`: events do not count."""
        return tf.zeros([tf.size(ends), 0])

    def session_residual(self, user_state: tf.Tensor, latest: Latest) -> tf.Tensor:
        """Returns zeros `[batch]`: sessions do not count."""
        return tf.zeros(tf.shape(latest.seconds)[:1])

    def context_effects(self, context: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns nothing: the context does not count."""
        return {}

    def user(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the users' embeddings `[batch, dim]`."""
        return tf.gather(self._model.users, features[out.USER_ID_INDEX])

    def movie(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns nothing, `[movies, 0]`: a movie is its row."""
        return tf.zeros([tf.size(features[out.ITEM_ID_INDEX]), 0])

    def __call__(
        self,
        user_state: tf.Tensor,
        user: tf.Tensor,
        context: Mapping[str, tf.Tensor],
        movie_row: tf.Tensor,
        movie: tf.Tensor,
    ) -> tf.Tensor:
        """Returns `[batch, n]` stars, not clipped."""
        users = tf.repeat(user, tf.shape(movie_row)[1], axis=0)
        stars = self._model.stars_of(users, tf.reshape(movie_row, [-1]))
        return tf.reshape(stars, tf.shape(movie_row))
