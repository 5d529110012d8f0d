"""Keras training with progress per epoch, for every network of the Trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

OnEpoch = Callable[[int, int, Mapping[str, float]], None]
"""Called after each epoch with its number, from 1 on, how many there will be, and its losses."""


class RatingRmse(tf.keras.metrics.RootMeanSquaredError):
    """Root mean square error of predicted stars, in units of the data's scale.

    Args:
      units_per_star: see `schema.features.RatingScale`.
    """

    def __init__(self, units_per_star: float = 1.0) -> None:
        super().__init__("rmse")
        self._units_per_star = units_per_star

    def result(self) -> tf.Tensor:
        """Returns the error so far, a scalar."""
        return super().result() * self._units_per_star


def run_epochs(
    model: tf.keras.Model,
    dataset: tf.data.Dataset,
    *,
    epochs: int,
    steps: int | None = None,
    learning_rate: tuple[str, float],
    on_epoch: OnEpoch | None = None,
    log_dir: str | None = None,
) -> dict[str, list[float]]:
    """Trains a compiled model.

    Args:
      model: the model.
      dataset: batches; without end where `steps` is given.
      epochs: passes over the data.
      steps: batches of an epoch.
      learning_rate: name and value of the setting, for the error message.
      on_epoch: see `OnEpoch`.
      log_dir: where TensorBoard's logs go.

    Returns:
      The losses by name, one value per epoch.

    Raises:
      ValueError: the loss is not finite.
    """
    callbacks = [tf.keras.callbacks.TerminateOnNaN()]
    if on_epoch:
        callbacks.append(
            tf.keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: on_epoch(epoch + 1, epochs, logs)
            )
        )
    if log_dir:
        callbacks.append(tf.keras.callbacks.TensorBoard(log_dir, write_graph=False))
    history = model.fit(
        dataset, epochs=epochs, steps_per_epoch=steps, verbose=0, callbacks=callbacks
    )
    losses: dict[str, list[float]] = history.history
    if not np.isfinite(losses["loss"]).all():
        setting, value = learning_rate
        raise ValueError(
            f"expected finite losses, received {losses['loss']}: lower {setting} ({value})"
        )
    return losses
