"""The typed hyperparameters of the model and of its training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from components.example_gen.splits import TRAIN, VALIDATION

HISTORY_FILE = "history.json"
"""Losses per epoch, in the model run's folder beside TensorBoard's logs."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shape and the regularisation of the two towers and of the rating head.

    Attributes:
      embedding_dim: width of one block of the retrieval vectors.
      recency_seconds: decay times of the recency block, in seconds; none switches it off.
      recency_events: how many of a user's latest events the recency block looks at.
      history_dropout: upper end of the uniform share of a user's history left out of a
        training batch, so that short histories are learned from too.
      context_dropout: share of training rows that see no recency block, and of those that
        see no time: a query may come long after the last rating.
      query_dropout: dropout on the history and the recency block.
      l2_retrieval: L2 penalty on the tables of the retrieval towers.
      full_softmax_limit: largest catalogue that is scored whole in the retrieval loss;
        above it the batch's movies are the negatives, corrected by log-Q.
      rating_dim: width of the rating head's vectors of users and movies.
      time_dim: width of its embedding of time.
      components: principal components of the training interactions it is given.
      cross_projection: rank of the cross layer's kernel.
      hidden_units: units of the dense layer after the cross.
      rating_dropout: dropout on user vector, movie vector and hidden layer.
      rating_range: the head corrects the biases by at most this many stars.
      l2_rating: L2 penalty on the rating head's embeddings.
    """

    embedding_dim: int = 32
    recency_seconds: tuple[float, ...] = (30.0, 400.0, 40_000.0)
    recency_events: int = 64
    history_dropout: float = 0.6
    context_dropout: float = 0.3
    query_dropout: float = 0.3
    l2_retrieval: float = 2e-4
    full_softmax_limit: int = 20_000
    rating_dim: int = 32
    time_dim: int = 8
    components: int = 8
    cross_projection: int = 32
    hidden_units: int = 64
    rating_dropout: tuple[float, float, float] = (0.2, 0.2, 0.2)
    rating_range: float = 2.0
    l2_rating: float = 1e-3


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How the model is fitted.

    Attributes:
      epochs: passes over the ratings.
      batch_size: ratings per step, about: a batch is made of whole users.
      learning_rate: the highest, at the start; a cosine takes it to zero.
      retrieval_weight: weight of the retrieval loss.
      rating_weight: weight of the rating loss.
      splits: splits that are fitted. Choices are made on validation before; the final
        fit takes it in.
      seed: seed of initialisers, shuffles and dropout.
    """

    epochs: int = 8
    batch_size: int = 1024
    learning_rate: float = 5e-3
    retrieval_weight: float = 1.0
    rating_weight: float = 2.0
    splits: tuple[str, ...] = (TRAIN, VALIDATION)
    seed: int = 42


@dataclasses.dataclass(frozen=True)
class TrainerConfig:
    """Everything the Trainer is told; travels to it as JSON."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)

    def to_json(self) -> dict[str, Any]:
        """Returns the configuration as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Mapping[str, Any]]) -> TrainerConfig:
        """Returns the configuration that `to_json` wrote.

        Raises:
          TypeError: a name is not one of the configuration's.
        """
        return cls(
            model=ModelConfig(**_tuples(value["model"])),
            train=TrainConfig(**_tuples(value["train"])),
        )


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
