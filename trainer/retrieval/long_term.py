"""The standalone models of retrieval: what a user likes whenever they ask."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from trainer.config import LongTermConfig
from trainer.data.training_data import TrainingData
from trainer.retrieval.ease import Ease
from trainer.retrieval.ials import Ials
from trainer.retrieval.user_autoencoder import UserAutoencoder, fit_user_autoencoder


@dataclasses.dataclass(frozen=True)
class LongTermModels:
    """Fitted models whose scores are blended (`trainer.retrieval.blend`).

    Attributes:
      autoencoder: the autoencoder.
      autoencoder_losses: its losses, one per epoch.
      ease: EASE; None where the catalogue is too large.
      ials: iALS.
    """

    autoencoder: UserAutoencoder
    autoencoder_losses: Sequence[float]
    ease: Ease | None
    ials: Ials


def fit_long_term(
    config: LongTermConfig, data: TrainingData, seed: int, report: Callable[[str], None]
) -> LongTermModels:
    """Fits autoencoder, EASE and iALS.

    Args:
      config: hyperparameters.
      data: what is learned from.
      seed: of initial values and shuffles.
      report: called with a line of progress now and then.

    Raises:
      ValueError: the autoencoder's loss is not a number.
    """

    def on_epoch(epoch: int, epochs: int, loss: float) -> None:
        if epoch == epochs or epoch % 10 == 0:
            report(f"autoencoder, epoch {epoch} of {epochs}: loss {loss:.3f}")

    autoencoder = UserAutoencoder(data, config)
    losses = fit_user_autoencoder(autoencoder, data, seed, on_epoch)
    ials = Ials(config, seed)
    ials.fit(data)
    return LongTermModels(autoencoder, losses, _fit_ease(config, data, report), ials)


def _fit_ease(
    config: LongTermConfig, data: TrainingData, report: Callable[[str], None]
) -> Ease | None:
    movies = len(data.catalogue.ids)
    if movies > config.ease_limit:
        report(
            f"EASE is left out: {movies:,} movies, and it is fitted for up to "
            f"{config.ease_limit:,} (long_term.ease_limit)"
        )
        return None
    ease = Ease(config)
    ease.fit(data)
    return ease
