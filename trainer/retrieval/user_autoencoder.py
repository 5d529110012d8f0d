"""Long-term retrieval: a denoising autoencoder over users.

Its scores and EASE's (`trainer.retrieval.ease`) are added. Both see a history as a set of
movies, without order, so what they find holds long after the last rating:

- a denoising autoencoder over users (Vincent et al. 2008; for recommendation Liang et al.
  2018, with the multinomial likelihood used here): part of a history is hidden, the whole of
  it has to be found again;
- EASE (Steck, Embarrassingly Shallow Autoencoders for Sparse Data, 2019), the best linear
  item-to-item model, in closed form, where the catalogue is small enough for it, with the
  penalty of EDLAE (Steck, Autoencoders that don't overfit towards the Identity, 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_recommenders as tfrs

from schema.features import Owner
from trainer.config import LongTermConfig
from trainer.data.training_data import Floats, Interactions, TrainingData, rating_residuals
from trainer.lookups import weighted_rows
from trainer.retrieval.events import Events
from trainer.retrieval.two_towers import (
    FEATURE_KINDS,
    FeatureSum,
    catalogue_tensors,
    embedding_table,
)


class UserAutoencoder(tfrs.Model):
    """A denoising autoencoder from a user's history to all movies of it.

    The query is tanh((Σ history + residual · rating weight) / √(n + 1) + profile + start); the
    candidate is the movie's embedding plus those of its features, and a bias that starts at the
    centred log popularity.

    Args:
      data: what it will be fitted to.
      config: width and regularisation.
    """

    def __init__(
        self,
        data: TrainingData,
        config: LongTermConfig,
    ) -> None:
        super().__init__()
        movies, width = len(data.catalogue.ids), config.embedding_dim
        sizes = data.feature_sizes
        self.autoencoder_config = config
        self._ratings = len(data.interactions)
        self.features = catalogue_tensors(data.catalogue)
        self.input_table = embedding_table("autoencoder_history", movies, width)
        self.rating_weights = tf.Variable(
            tf.zeros([movies, width]), name="autoencoder_rating_weights"
        )
        of_users = data.outputs.of_kinds(Owner.USER, FEATURE_KINDS)
        self.profile = FeatureSum(of_users, sizes, width, "autoencoder_profile")
        self.start = tf.Variable(tf.zeros([width]), name="autoencoder_start")
        self.ids = embedding_table("autoencoder_movie", movies, width)
        of_movies = data.outputs.of_kinds(Owner.MOVIE, FEATURE_KINDS)
        self.feature_sum = FeatureSum(of_movies, sizes, width, "autoencoder_features")
        popularity = np.log1p(data.ratings_per_movie)
        bias = (popularity - popularity.mean()).astype(np.float32)
        self.bias = tf.Variable(bias, name="autoencoder_popularity")
        self.retrieval_loss = tf.keras.metrics.Mean("autoencoder_loss")

    def query(
        self,
        totals: tf.Tensor,
        length: tf.Tensor,
        features: Mapping[str, tf.Tensor],
        *,
        training: bool = False,
    ) -> tf.Tensor:
        """Returns queries `[batch, dim]`.

        Args:
          totals: `[batch, dim]` sums over the histories of `history + residual · rating weight`.
          length: `[batch]` float, the histories' lengths.
          features: transformed features of the user, `[batch]` each.
          training: whether the profile is hidden from some.
        """
        rate = self.autoencoder_config.profile_dropout if training else 0.0
        return self.query_of(totals, length, tf.nn.dropout(self.profile(features), rate))

    def query_of(self, totals: tf.Tensor, length: tf.Tensor, profile: tf.Tensor) -> tf.Tensor:
        """Returns queries `[batch, dim]`, given the embedding of the features."""
        pooled = totals / tf.sqrt(length + 1.0)[:, tf.newaxis]
        return tf.tanh(pooled + profile + self.start)

    def candidates(self) -> tf.Tensor:
        """Returns `[movies, dim]` vectors of all movies, without the bias."""
        return self.ids + self.feature_sum(self.features)

    def scores(
        self, events: Events, users: tf.Tensor, features: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """Returns `[users, movies]` scores.

        Args:
          events: the histories.
          users: scalar int64, how many there are.
          features: transformed features of the users, `[users]` each.
        """
        ones = tf.ones_like(events.residuals)
        totals = weighted_rows(events.pairs, ones, users, self.input_table)
        totals += weighted_rows(events.pairs, events.residuals, users, self.rating_weights)
        length = tf.math.unsorted_segment_sum(ones, events.pairs[:, 0], users)
        query = self.query(totals, length, features)
        return tf.matmul(query, self.candidates(), transpose_b=True) + self.bias

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns the multinomial loss per rating, with the penalty.

        Args:
          inputs: `seen` `[users, movies]` 0/1, `residuals` `[users, movies]` stars above the
            user's mean, and the users' transformed features `[users]`.
          training: whether part of the histories is hidden.
        """
        seen, residuals = inputs["seen"], inputs["residuals"]
        config = self.autoencoder_config
        kept = seen
        if training:
            share = tf.random.uniform([tf.shape(seen)[0], 1], 0.0, config.history_dropout)
            kept = seen * tf.cast(tf.random.uniform(tf.shape(seen)) >= share, tf.float32)
        totals = tf.matmul(kept, self.input_table) + tf.matmul(
            residuals * kept, self.rating_weights
        )
        queries = self.query(totals, tf.reduce_sum(kept, axis=1), inputs, training=training)
        queries = tf.nn.dropout(queries, config.query_dropout if training else 0.0)
        logits = tf.matmul(queries, self.candidates(), transpose_b=True) + self.bias
        loss = -tf.reduce_sum(seen * tf.nn.log_softmax(logits)) / tf.reduce_sum(seen)
        self.retrieval_loss.update_state(loss)
        tables = [self.input_table, self.rating_weights, self.ids]
        tables += [*self.feature_sum.tables.values(), *self.profile.tables.values()]
        penalty = config.l2_ratings / self._ratings
        return loss + penalty * tf.add_n([tf.nn.l2_loss(table) for table in tables])


def fit_user_autoencoder(
    model: UserAutoencoder,
    data: TrainingData,
    seed: int,
    on_epoch: Callable[[int, int, float], None],
) -> list[float]:
    """Trains the autoencoder, one user per row of a batch.

    Args:
      model: a new model.
      data: the training data.
      seed: seed of the shuffle.
      on_epoch: called after each epoch with its number, the number of epochs, and the loss.

    Returns:
      The loss of each epoch.

    Raises:
      ValueError: the loss is not a number.
    """
    interactions, users = data.interactions, data.users
    config = model.autoencoder_config
    number = len(users.ids)
    steps = math.ceil(number / config.batch_users)
    epochs = max(1, min(config.epochs, config.max_steps // steps))
    schedule = tf.keras.optimizers.schedules.CosineDecay(config.learning_rate, steps * epochs)
    model.compile(optimizer=tf.keras.optimizers.Adam(schedule))
    movies = int(model.bias.shape[0])

    def batches() -> Iterator[dict[str, npt.NDArray[Any]]]:
        rng = np.random.default_rng(seed)
        residuals = rating_residuals(interactions)
        while True:
            order = rng.permutation(number)
            for first in range(0, number, config.batch_users):
                rows = order[first : first + config.batch_users]
                profile = {name: values[rows] for name, values in users.features.items()}
                yield {**profile, **_dense(interactions, residuals, rows, movies)}

    signature = {name: tf.TensorSpec([None, movies], tf.float32) for name in ("seen", "residuals")}
    signature |= {name: tf.TensorSpec([None], tf.int64) for name in users.features}
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2)
    callback = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: on_epoch(epoch + 1, epochs, logs["autoencoder_loss"])
    )
    history = model.fit(
        dataset,
        epochs=epochs,
        steps_per_epoch=steps,
        verbose=0,
        callbacks=[tf.keras.callbacks.TerminateOnNaN(), callback],
    )
    losses: list[float] = history.history["autoencoder_loss"]
    if not np.isfinite(losses).all():
        raise ValueError(
            f"expected finite losses, received {losses}: lower the learning rate of the "
            f"autoencoder ({config.learning_rate})"
        )
    return losses


def _dense(
    interactions: Interactions, residuals: Floats, users: npt.NDArray[np.int64], movies: int
) -> dict[str, Floats]:
    starts, ends = interactions.offsets[users], interactions.offsets[users + 1]
    rows = np.repeat(np.arange(len(users)), ends - starts)
    positions = np.concatenate([np.arange(*span) for span in zip(starts, ends, strict=True)])
    seen = np.zeros([len(users), movies], np.float32)
    dense = np.zeros([len(users), movies], np.float32)
    columns = interactions.movie_row[positions]
    seen[rows, columns] = 1.0
    dense[rows, columns] = residuals[positions]
    return {"seen": seen, "residuals": dense}
