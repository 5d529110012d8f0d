"""The training loop: batches of whole users through Keras, with logs and progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from trainer.config import TrainConfig
from trainer.data.batches import training_dataset, user_batches
from trainer.data.training_data import TrainingData
from trainer.model import MovieRecommender

OnEpoch = Callable[[int, int, Mapping[str, float]], None]
"""Called after each epoch with its number, from 1 on, how many there will be, and its losses."""


class _OnEpoch(tf.keras.callbacks.Callback):
    def __init__(self, on_epoch: OnEpoch) -> None:
        super().__init__()
        self._on_epoch = on_epoch

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._on_epoch(epoch + 1, self.params["epochs"], logs or {})


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
      ValueError: the loss is not a number: the learning rate is too high.
    """
    rng = np.random.default_rng(config.seed)
    epochs, steps = config.schedule(
        sum(1 for _ in user_batches(data.interactions, config.batch_size, rng))
    )
    schedule = tf.keras.optimizers.schedules.CosineDecay(config.learning_rate, steps * epochs)
    model.compile(optimizer=tf.keras.optimizers.Adam(schedule))
    history = model.fit(
        training_dataset(data.interactions, data.users, config),
        epochs=epochs,
        steps_per_epoch=steps,
        verbose=0,
        callbacks=[
            tf.keras.callbacks.TensorBoard(log_dir, write_graph=False),
            tf.keras.callbacks.TerminateOnNaN(),
            _OnEpoch(on_epoch),
        ],
    )
    losses: dict[str, list[float]] = history.history
    if not np.isfinite(losses["loss"]).all():
        raise ValueError(
            f"expected finite losses, received {losses['loss']}: lower the learning rate "
            f"({config.learning_rate})"
        )
    return losses
