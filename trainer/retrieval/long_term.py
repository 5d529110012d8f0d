"""The standalone models of retrieval, whose scores do not depend on the time of the query."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping

import tensorflow as tf

from trainer.config import LongTermConfig
from trainer.data.training_data import IntArray, TrainingData
from trainer.retrieval.blend import AUTOENCODER, EASE, IALS, KERNEL, STRONG_EASE, Blend
from trainer.retrieval.ease import Ease, ease_dtype
from trainer.retrieval.events import Events
from trainer.retrieval.ials import Ials
from trainer.retrieval.kernel_regression import KernelRegression, fits, table_megabytes
from trainer.retrieval.strong_ease import choose
from trainer.retrieval.user_autoencoder import UserAutoencoder


@dataclasses.dataclass(frozen=True)
class LongTermModels:
    """Fitted models whose scores are blended (`trainer.retrieval.blend`).

    Attributes:
      autoencoder: the autoencoder.
      ease: EASE; None where it is left out.
      ials: iALS.
      kernel: kernel regression over users; None where users outnumber movies, or it is too large,
        or there is `strong_ease`.
      left_out: why a model was not fitted, by its name.
      cpu_seconds: what each took to fit, by name.
      strong_ease: the strongly penalised EASE; None where validation did not choose it.
      strong_popularity: weight of popularity beside it.
    """

    autoencoder: UserAutoencoder
    ease: Ease | None
    ials: Ials
    kernel: KernelRegression | None
    left_out: Mapping[str, str]
    cpu_seconds: Mapping[str, float]
    strong_ease: Ease | None = None
    strong_popularity: float = 0.0

    def blend(self, ratings_per_movie: IntArray) -> Blend:
        """Returns what joins the scores of these models.

        Args:
          ratings_per_movie: `[movies]` training ratings of each.
        """
        return Blend(self.autoencoder.config, ratings_per_movie, self.strong_popularity)

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
        if self.strong_ease is not None:
            found[STRONG_EASE] = self.strong_ease.scores(self.strong_ease.user_state(events, users))
        return found


def fit_long_term(
    config: LongTermConfig, data: TrainingData, seed: int, on_progress: Callable[[str], None]
) -> LongTermModels:
    """Fits autoencoder, EASE, iALS, and what follows from the data: see `LongTermModels`.

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
    strong_started = time.process_time()
    strong = None if ease is None else choose(config, data)
    strong_ease = None
    if strong is not None:
        on_progress(
            f"EASE with {strong.popularity_penalty:g} per rating and {strong.popularity_weight:g} "
            "popularity finds most on validation"
        )
        strengthened = dataclasses.replace(
            config, ease_popularity_penalty=strong.popularity_penalty
        )
        strong_ease = _fit_ease(strengthened, data)
    kernel_started = time.process_time()
    kernel = None
    users, movies = len(data.users.ids), len(data.catalogue.ids)
    if strong_ease is None and fits(users, movies, config.kernel_megabytes):
        kernel = KernelRegression(config)
        kernel.fit(data)
    elif strong_ease is None and users <= movies:
        left_out["kernel regression"] = (
            f"its tables of {users:,} users and {movies:,} movies take "
            f"{table_megabytes(users, movies):,.0f} MB, allowed are "
            f"{config.kernel_megabytes:,.0f} (long_term.kernel_megabytes)"
        )
        on_progress(f"kernel regression is left out: {left_out['kernel regression']}")
    seconds = {
        AUTOENCODER: ease_started - started,
        EASE: ials_started - ease_started,
        IALS: strong_started - ials_started,
        STRONG_EASE: kernel_started - strong_started,
        KERNEL: time.process_time() - kernel_started,
    }
    weight = 0.0 if strong is None else strong.popularity_weight
    return LongTermModels(autoencoder, ease, ials, kernel, left_out, seconds, strong_ease, weight)


def _fit_ease(config: LongTermConfig, data: TrainingData) -> Ease | None:
    """Fits EASE in the best precision that fits; returns None where none does."""
    dtype = ease_dtype(len(data.catalogue.ids), config.ease_megabytes)
    if dtype is None:
        return None
    ease = Ease(config, dtype)
    ease.fit(data)
    return ease
