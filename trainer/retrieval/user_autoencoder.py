"""A denoising autoencoder over users: part of a history is hidden, all of it is predicted.

Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders, 2008; for
recommendation Liang et al., Variational Autoencoders for Collaborative Filtering, 2018, with the
multinomial likelihood used here. A history is a set of movies, without order or times.

Several networks of other initial values and orders of the users are trained and their scores
averaged, which makes up for what chance adds to each (Hansen & Salamon, Neural network ensembles,
1990). Side by side in wider tables they are one network of the same form.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_recommenders as tfrs

from schema.features import Owner
from trainer.config import LongTermConfig
from trainer.data.training_data import Floats, Interactions, TrainingData, rating_residuals
from trainer.epochs import OnEpoch, run_epochs
from trainer.lookups import weighted_rows
from trainer.retrieval.events import Events
from trainer.retrieval.two_towers import (
    FEATURE_KINDS,
    FeatureSum,
    catalogue_tensors,
    embedding_table,
)

_MOST_PAIRS = 2_000_000_000
"""Pairs of user and movie in all epochs, unless one epoch has more: a step predicts every movie for
each of its users. It limits the epochs of no release of MovieLens, whose many users bring few as it
is.
"""

_MOST_PAIRS_OF_SEVERAL = 400_000_000
"""The same of several networks together: they gain little, and may not cost as much."""


class AutoencoderNetwork(tf.Module):
    """The network, from a user's history to all movies of it.

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
        super().__init__(name="autoencoder_network")
        movies, width = len(data.catalogue.ids), config.embedding_dim
        sizes = data.feature_sizes
        self.network_config = config
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
        rate = self.network_config.profile_dropout if training else 0.0
        return self.query_of(totals, length, tf.nn.dropout(self.profile(features), rate))

    def query_of(self, totals: tf.Tensor, length: tf.Tensor, profile: tf.Tensor) -> tf.Tensor:
        """Returns queries `[batch, dim]`, given the embedding of the features."""
        pooled = totals / tf.sqrt(length + 1.0)[:, tf.newaxis]
        return tf.tanh(pooled + profile + self.start)

    def candidates(self) -> tf.Tensor:
        """Returns `[movies, dim]` vectors of all movies, without the bias."""
        return self.ids + self.feature_sum(self.features)

    def tables(self) -> list[tf.Variable]:
        """Returns what is penalised: all but start and bias."""
        tables = [self.input_table, self.rating_weights, self.ids]
        return [*tables, *self.feature_sum.tables.values(), *self.profile.tables.values()]


class AutoencoderTraining(tfrs.Model):
    """Trains networks of one shape one after the other, so that the graph is traced once.

    Args:
      network: holds the values that are trained.
      ratings: how many are fitted.
    """

    def __init__(self, network: AutoencoderNetwork, ratings: int) -> None:
        super().__init__()
        self.network, self._ratings = network, ratings
        self.retrieval_loss = tf.keras.metrics.Mean("autoencoder_loss")

    def begin(self, initial: AutoencoderNetwork) -> None:
        """Takes a network's values and sets the optimizer's step and moments to zero.

        They are all variables that Keras's Adam has; it computes the learning rate from the step.
        """
        assign_values(self.network, initial)
        for variable in self.optimizer.variables:
            variable.assign(tf.zeros_like(variable))

    # No Python control flow depends on a tensor: AutoGraph would translate it all for nothing.
    @tf.autograph.experimental.do_not_convert
    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns the multinomial loss per rating, with the penalty.

        Args:
          inputs: `seen` `[users, movies]` 0/1, `residuals` `[users, movies]` stars above the
            user's mean, and the users' transformed features `[users]`.
          training: whether part of the histories is hidden.
        """
        seen, residuals = inputs["seen"], inputs["residuals"]
        network, config = self.network, self.network.network_config
        kept = seen
        if training:
            share = tf.random.uniform([tf.shape(seen)[0], 1], 0.0, config.history_dropout)
            kept = seen * tf.cast(tf.random.uniform(tf.shape(seen)) >= share, tf.float32)
        totals = tf.matmul(kept, network.input_table) + tf.matmul(
            residuals * kept, network.rating_weights
        )
        queries = network.query(totals, tf.reduce_sum(kept, axis=1), inputs, training=training)
        queries = tf.nn.dropout(queries, config.query_dropout if training else 0.0)
        logits = tf.matmul(queries, network.candidates(), transpose_b=True) + network.bias
        # None of a batch's users has a movie left where the catalogue was cut.
        loss = -tf.math.divide_no_nan(
            tf.reduce_sum(seen * tf.nn.log_softmax(logits)), tf.reduce_sum(seen)
        )
        self.retrieval_loss.update_state(loss)
        penalty = config.l2_ratings / self._ratings
        return loss + penalty * tf.add_n([tf.nn.l2_loss(table) for table in network.tables()])


def assign_values(target: AutoencoderNetwork, source: AutoencoderNetwork) -> None:
    """Gives one network the values of another of the same shape."""
    for variable, value in zip(target.variables, source.variables, strict=True):
        variable.assign(value)


def joined(
    networks: Sequence[AutoencoderNetwork], data: TrainingData, config: LongTermConfig
) -> AutoencoderNetwork:
    """Returns one network that scores as several do on average, as wide as all of them together.

    Args:
      networks: the trained networks.
      data: what they were fitted to.
      config: of each of them.
    """
    if len(networks) == 1:
        return networks[0]
    wide = dataclasses.replace(config, embedding_dim=len(networks) * config.embedding_dim)
    found, share = AutoencoderNetwork(data, wide), 1.0 / len(networks)
    for target, *parts in zip(*map(_query_variables, (found, *networks)), strict=True):
        target.assign(tf.concat(parts, axis=-1))
    for target, *parts in zip(*map(_candidate_variables, (found, *networks)), strict=True):
        target.assign(share * tf.concat(parts, axis=-1))
    found.bias.assign(share * tf.add_n([one.bias for one in networks]))
    return found


def _query_variables(network: AutoencoderNetwork) -> list[tf.Variable]:
    of_profile = network.profile.tables.values()
    return [network.input_table, network.rating_weights, network.start, *of_profile]


def _candidate_variables(network: AutoencoderNetwork) -> list[tf.Variable]:
    return [network.ids, *network.feature_sum.tables.values()]


class UserAutoencoder(tf.Module):
    """The autoencoder as a standalone model: the user state is the query vector.

    Args:
      config: width, regularisation, steps, and how many networks.
      seed: seed of the order of the users; initial values follow TensorFlow's own seed.
      on_epoch: see `OnEpoch`; the loss is `autoencoder_loss`. Epochs of all networks count.

    Attributes:
      network: the trained network, or all of them joined.
      losses: the loss of each epoch, the networks' mean.
    """

    def __init__(
        self,
        config: LongTermConfig,
        seed: int,
        on_epoch: OnEpoch | None = None,
    ) -> None:
        super().__init__(name="user_autoencoder")
        self.config, self._seed, self._on_epoch = config, seed, on_epoch

    def fit(self, data: TrainingData) -> None:
        """Trains the networks, one user per row of a batch.

        Raises:
          ValueError: the loss is not finite: the learning rate is too high.
        """
        config = self.config
        epochs, steps = _epochs(config, len(data.users.ids), len(data.catalogue.ids))
        count = _networks(config, len(data.users.ids), len(data.catalogue.ids))
        networks = [AutoencoderNetwork(data, config) for _ in range(count)]
        training = AutoencoderTraining(AutoencoderNetwork(data, config), len(data.interactions))
        schedule = tf.keras.optimizers.schedules.CosineDecay(config.learning_rate, steps * epochs)
        training.compile(optimizer=tf.keras.optimizers.Adam(schedule))
        training.optimizer.build(training.trainable_variables)
        losses = []
        for number, network in enumerate(networks):
            training.begin(network)
            losses.append(self._train(training, data, epochs, steps, (number, count)))
            assign_values(network, training.network)
        self.network = joined(networks, data, config)
        self.losses = np.mean(losses, axis=0).tolist()

    def _train(
        self,
        training: AutoencoderTraining,
        data: TrainingData,
        epochs: int,
        steps: int,
        place: tuple[int, int],
    ) -> list[float]:
        """Trains one network, `place` of how many, and returns its loss of each epoch."""
        config, (number, count) = self.config, place

        def on_epoch(epoch: int, _: int, losses: Mapping[str, float]) -> None:
            if self._on_epoch is not None:
                self._on_epoch(number * epochs + epoch, count * epochs, losses)

        losses = run_epochs(
            training,
            _batches(data, config.batch_users, self._seed + number),
            epochs=epochs,
            steps=steps,
            learning_rate=("long_term.learning_rate", config.learning_rate),
            on_epoch=on_epoch,
        )
        return losses["autoencoder_loss"]

    def profile(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[users, dim]`: embeddings of the users' transformed features `[users]`."""
        return self.network.profile(features)

    def user_state(self, events: Events, profile: tf.Tensor) -> tf.Tensor:
        """Returns `[users, dim]` query vectors.

        Args:
          events: the histories.
          profile: `[users, dim]`, of `profile`.
        """
        network, users = self.network, tf.shape(profile, tf.int64)[0]
        ones = tf.ones_like(events.residuals)
        totals = weighted_rows(events.pairs, ones, users, network.input_table)
        totals += weighted_rows(events.pairs, events.residuals, users, network.rating_weights)
        length = tf.math.unsorted_segment_sum(ones, events.pairs[:, 0], users)
        return network.query_of(totals, length, profile)

    def scores(self, user_state: tf.Tensor) -> tf.Tensor:
        """Returns `[users, movies]` scores."""
        network = self.network
        return tf.matmul(user_state, network.candidates(), transpose_b=True) + network.bias

    def export(self) -> Mapping[str, tf.Variable]:
        """Returns the tables that are served, by name."""
        network = self.network
        return {
            "autoencoder_history": network.input_table,
            "autoencoder_rating_weights": network.rating_weights,
            "autoencoder_start": network.start,
            "autoencoder_movie": network.ids,
            "autoencoder_popularity": network.bias,
            **network.profile.tables,
            **network.feature_sum.tables,
        }


def _epochs(config: LongTermConfig, users: int, movies: int) -> tuple[int, int]:
    """Returns the number of epochs, one at least, and of steps in each."""
    steps = math.ceil(users / config.batch_users)
    most = min(config.epochs, config.max_steps // steps, _MOST_PAIRS // (users * movies))
    return max(1, most), steps


def _networks(config: LongTermConfig, users: int, movies: int) -> int:
    """Returns how many networks are trained, whose cost together has a limit; one at least."""
    epochs, steps = _epochs(config, users, movies)
    most = min(
        config.max_steps // (epochs * steps), _MOST_PAIRS_OF_SEVERAL // (epochs * users * movies)
    )
    return max(1, min(config.autoencoders, most))


def _batches(data: TrainingData, size: int, seed: int) -> tf.data.Dataset:
    """Returns batches of whole users without end, each epoch in another order."""
    interactions, users, movies = data.interactions, data.users, len(data.catalogue.ids)

    def batches() -> Iterator[dict[str, npt.NDArray[Any]]]:
        rng = np.random.default_rng(seed)
        residuals = rating_residuals(interactions)
        while True:
            order = rng.permutation(len(users.ids))
            for first in range(0, len(order), size):
                rows = order[first : first + size]
                profile = {name: values[rows] for name, values in users.features.items()}
                yield {**profile, **_dense(interactions, residuals, rows, movies)}

    signature = {name: tf.TensorSpec([None, movies], tf.float32) for name in ("seen", "residuals")}
    signature |= {name: tf.TensorSpec([None], tf.int64) for name in users.features}
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2)


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
