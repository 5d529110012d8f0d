"""Trains the towers and the rating network on batches of whole users."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.config import TrainConfig
from trainer.data.batches import training_dataset, user_batches
from trainer.data.training_data import TrainingData
from trainer.epochs import OnEpoch, run_epochs
from trainer.model import MovieRecommender


def fit(
    model: MovieRecommender,
    data: TrainingData,
    config: TrainConfig,
    log_dir: str,
    on_epoch: OnEpoch,
) -> dict[str, list[float]]:
    """Trains the model.

    Args:
      model: a new model.
      data: what it is fitted to.
      config: epochs, steps, batch size, learning rate, seed.
      log_dir: where TensorBoard's logs go.
      on_epoch: see `OnEpoch`.

    Returns:
      The losses by name, one value per epoch.

    Raises:
      ValueError: the loss is not finite: the learning rate is too high.
    """
    rng = np.random.default_rng(config.seed)
    epochs, steps = config.schedule(
        sum(1 for _ in user_batches(data.interactions, config.batch_size, rng))
    )
    schedule = tf.keras.optimizers.schedules.CosineDecay(config.learning_rate, steps * epochs)
    model.compile(optimizer=tf.keras.optimizers.Adam(schedule))
    return run_epochs(
        model,
        training_dataset(data.interactions, data.users, config),
        epochs=epochs,
        steps=steps,
        learning_rate=("train.learning_rate", config.learning_rate),
        on_epoch=on_epoch,
        log_dir=log_dir,
    )
