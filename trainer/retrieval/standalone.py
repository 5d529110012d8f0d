"""The interface of a standalone model: fitted without the towers, it scores from events alone.

EASE and iALS have it. `user_state` of the autoencoder and of the Bayesian factorisation
(`trainer.rating.rating_bpmf`) takes the embedded profile in place of the number of users, and the
latter takes events with their ratings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import tensorflow as tf

from trainer.data.training_data import TrainingData
from trainer.retrieval.events import Events


class StandaloneModel(Protocol):
    """Scores the whole catalogue for a history. A user who is not known is their events."""

    def fit(self, data: TrainingData) -> None:
        """Fits the model; to be called once, before everything else."""

    def user_state(self, events: Events, users: tf.Tensor) -> tf.Tensor:
        """Sums histories up: `[users, width]`; need not be additive over events.

        Args:
          events: the histories.
          users: scalar int64, how many there are.
        """

    def scores(self, user_state: tf.Tensor) -> tf.Tensor:
        """Returns `[users, movies]` scores."""

    def export(self) -> Mapping[str, tf.Variable]:
        """Returns the tables that are served, by name."""
