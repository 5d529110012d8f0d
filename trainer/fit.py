"""The training loop: batches of whole users through Keras, with logs and progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.config import TrainConfig
from trainer.data.reading import IntArray, Interactions, Users, user_batches
from trainer.model import MovieRecommender

OnEpoch = Callable[[int, Mapping[str, float]], None]


def batch_tensors(
    interactions: Interactions, users: Users, positions: IntArray, segments: IntArray
) -> dict[str, npt.NDArray[Any]]:
    """Gathers one batch: the ratings at `positions` with the features of user and context.

    `place` is how many ratings of the user are before each in order of time, `ties` how many
    of those are of the very same second.
    """
    user_row = interactions.user_row[positions]
    features = {name: values[user_row] for name, values in users.features.items()}
    context = {name: values[positions] for name, values in interactions.context.items()}
    return {
        **features,
        **context,
        "movie_row": interactions.movie_row[positions],
        "rating": interactions.rating[positions],
        "timestamp": interactions.timestamp[positions],
        "segment": segments,
        "place": positions - interactions.offsets[user_row],
        "ties": interactions.ties[positions],
    }


def training_dataset(
    interactions: Interactions, users: Users, config: TrainConfig
) -> tf.data.Dataset:
    """Returns batches without end: epoch after epoch, each shuffled anew, from the seed on.

    Epochs differ in their number of batches, as whole users are packed in another order.
    Keras takes the first epoch's number for all and stops training at a shorter one, so
    the stream must not end.
    """

    def generate() -> Iterator[dict[str, npt.NDArray[Any]]]:
        rng = np.random.default_rng(config.seed)
        while True:
            for positions, segments in user_batches(interactions, config.batch_size, rng):
                yield batch_tensors(interactions, users, positions, segments)

    example = batch_tensors(interactions, users, np.zeros(1, np.int64), np.zeros(1, np.int64))
    signature = {name: tf.TensorSpec([None], value.dtype) for name, value in example.items()}
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)


class _Report(tf.keras.callbacks.Callback):
    def __init__(self, on_epoch: OnEpoch) -> None:
        super().__init__()
        self._on_epoch = on_epoch

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._on_epoch(epoch + 1, logs or {})


def fit(
    model: MovieRecommender,
    interactions: Interactions,
    users: Users,
    config: TrainConfig,
    log_dir: str,
    on_epoch: OnEpoch,
) -> dict[str, list[float]]:
    """Trains the model.

    Args:
      model: a new model.
      interactions: the training ratings.
      users: their users.
      config: epochs, batch size, learning rate, seed.
      log_dir: where TensorBoard's logs go.
      on_epoch: called after each epoch with its number, from 1 on, and its losses.

    Returns:
      The losses by name, one value per epoch.

    Raises:
      ValueError: the loss is not a number: the learning rate is too high.
    """
    rng = np.random.default_rng(config.seed)
    steps = sum(1 for _ in user_batches(interactions, config.batch_size, rng))
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        config.learning_rate, steps * config.epochs
    )
    model.compile(optimizer=tf.keras.optimizers.Adam(schedule))
    history = model.fit(
        training_dataset(interactions, users, config),
        epochs=config.epochs,
        steps_per_epoch=steps,
        verbose=0,
        callbacks=[
            tf.keras.callbacks.TensorBoard(log_dir, write_graph=False),
            tf.keras.callbacks.TerminateOnNaN(),
            _Report(on_epoch),
        ],
    )
    losses: dict[str, list[float]] = history.history
    if not np.isfinite(losses["loss"]).all():
        raise ValueError(
            f"expected finite losses, received {losses['loss']}: lower the learning rate "
            f"({config.learning_rate})"
        )
    return losses
