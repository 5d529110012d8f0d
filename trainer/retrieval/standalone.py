"""The interface of a standalone model, which is fitted without the towers and scores from events.

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
    """Scores the whole catalogue for a history, of users it was fitted to and of others."""

    def fit(self, data: TrainingData) -> None:
        """Fits the model; to be called once, before everything else."""

    def user_state(self, events: Events, users: tf.Tensor) -> tf.Tensor:
        """Returns `[users, width]` aggregated histories, not necessarily additive over events.

        Args:
          events: the histories.
          users: scalar int64, how many there are.
        """

    def scores(self, user_state: tf.Tensor) -> tf.Tensor:
        """Returns `[users, movies]` scores."""

    def export(self) -> Mapping[str, tf.Variable]:
        """Returns the tables that are served, by name."""
