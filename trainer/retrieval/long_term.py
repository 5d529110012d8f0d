"""The standalone models of retrieval, whose scores do not depend on the time of the query."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping

import tensorflow as tf

from trainer.config import LongTermConfig
from trainer.data.training_data import TrainingData
from trainer.retrieval.blend import AUTOENCODER, EASE, IALS, KERNEL
from trainer.retrieval.ease import Ease, ease_dtype
from trainer.retrieval.events import Events
from trainer.retrieval.ials import Ials
from trainer.retrieval.kernel_regression import KernelRegression, fits
from trainer.retrieval.user_autoencoder import UserAutoencoder


@dataclasses.dataclass(frozen=True)
class LongTermModels:
    """Fitted models whose scores are blended (`trainer.retrieval.blend`).

    Attributes:
      autoencoder: the autoencoder.
      ease: EASE; None where it is left out.
      ials: iALS.
      kernel: kernel regression over users; None where users outnumber movies, or it is too large.
      left_out: why a model was not fitted, by its name.
      cpu_seconds: what each took to fit, by name.
    """

    autoencoder: UserAutoencoder
    ease: Ease | None
    ials: Ials
    kernel: KernelRegression | None
    left_out: Mapping[str, str]
    cpu_seconds: Mapping[str, float]

    def scores(
        self, events: Events, users: tf.Tensor, features: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Returns `[users, movies]` scores of each model, by name.

        Args:
          events: the histories.
          users: scalar int64, how many there are.
          features: transformed features of the users, `[users]` each.
        """
        autoencoder = self.autoencoder
        query = autoencoder.user_state(events, autoencoder.profile(features))
        found = {
            AUTOENCODER: autoencoder.scores(query),
            IALS: self.ials.scores(self.ials.user_state(events, users)),
        }
        if self.ease is not None:
            found[EASE] = self.ease.scores(self.ease.user_state(events, users))
        if self.kernel is not None:
            found[KERNEL] = self.kernel.scores(self.kernel.user_state(events, users))
        return found


def fit_long_term(
    config: LongTermConfig, data: TrainingData, seed: int, on_progress: Callable[[str], None]
) -> LongTermModels:
    """Fits autoencoder, EASE, iALS and kernel regression.

    Args:
      config: hyperparameters.
      data: what is learned from.
      seed: of initial values and shuffles.
      on_progress: called with a line of progress now and then.

    Raises:
      ValueError: the autoencoder's loss is not a number.
    """

    def on_epoch(epoch: int, epochs: int, losses: Mapping[str, float]) -> None:
        if epoch == epochs or epoch % 10 == 0:
            loss = losses["autoencoder_loss"]
            on_progress(f"autoencoder, epoch {epoch} of {epochs}: loss {loss:.3f}")

    started = time.process_time()
    autoencoder = UserAutoencoder(config, seed, on_epoch)
    autoencoder.fit(data)
    ease_started = time.process_time()
    ease, left_out = _fit_ease(config, data), {}
    if ease is None:
        movies, limit = len(data.catalogue.ids), config.ease_megabytes
        left_out["EASE"] = (
            f"its weights for {movies:,} movies take {2e-6 * movies**2:,.0f} MB, allowed are "
            f"{limit:,.0f} (long_term.ease_megabytes)"
        )
        on_progress(f"EASE is left out: {left_out['EASE']}")
    ials_started = time.process_time()
    ials = Ials(config, seed)
    ials.fit(data)
    kernel_started = time.process_time()
    kernel = None
    if fits(len(data.users.ids), len(data.catalogue.ids), config.kernel_megabytes):
        kernel = KernelRegression(config)
        kernel.fit(data)
    seconds = {
        AUTOENCODER: ease_started - started,
        EASE: ials_started - ease_started,
        IALS: kernel_started - ials_started,
        KERNEL: time.process_time() - kernel_started,
    }
    return LongTermModels(autoencoder, ease, ials, kernel, left_out, seconds)


def _fit_ease(config: LongTermConfig, data: TrainingData) -> Ease | None:
    """Fits EASE in the best precision that fits; returns None where none does."""
    dtype = ease_dtype(len(data.catalogue.ids), config.ease_megabytes)
    if dtype is None:
        return None
    ease = Ease(config, dtype)
    ease.fit(data)
    return ease
