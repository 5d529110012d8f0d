"""The typed hyperparameters of the model and of its training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from components.names import TRAIN, VALIDATION

HISTORY_FILE = "history.json"
"""Losses per epoch, in the model run's folder beside TensorBoard's logs."""

CONFIG_FILE = "config.json"
"""The `TrainerConfig` that was used, in the same folder."""

TRIALS_FILE = "trials.json"
"""The Tuner's trials with their values and metrics, beside TFX's `tuner_results.json`."""

LEFT_OUT_FILE = "left_out.json"
"""Parts of the model that the data leaves out, and why, in `assets.extra` of the model."""

NEW_USERS_FILE = "new_users.json"
"""What the NewUserEvaluator measured: how many folds there were, and the metrics by name."""

SEARCHED: Mapping[str, str] = {
    "embedding_dim": "model",
    "query_dropout": "model",
    "rating_dropout": "model",
    "learning_rate": "train",
    "epochs": "train",
    "retrieval_weight": "train",
    "rating_weight": "train",
}
"""Hyperparameters that the Tuner searches: the field, and the part of `TrainerConfig`.

Of the rating dropouts, which are three, it is the highest; they keep their proportions.
"""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shape and the regularisation of the two towers and of the deep & cross network.

    Attributes:
      embedding_dim: width of one block of the retrieval vectors.
      recency_seconds: decay times of the session component, in seconds. `none`: neither the
        session component nor the two towers that it belongs to are trained.
      recency_events: how many of a session's latest events the session component looks at.
      history_dropout: upper end of the uniform share of a user's history left out of a
        training batch, so that short histories are learned from too.
      truncated_share: share of training rows whose history is truncated: without the user's
        latest ratings before the row, as a user's next session will be.
      truncation_share: upper end of the uniform share of the ratings before the row that are
        hidden there.
      max_truncation: largest number of ratings that are hidden there.
      time_dropout: share of training rows whose time is hidden from the deep & cross network, since
        a query may come long after the last rating. Also, for each context feature on its own, the
        share of training rows whose value is hidden from this network and the query tower, since
        a query may come without it.
      query_dropout: dropout on the history and the session component.
      l2_retrieval: L2 penalty on the tables of the retrieval towers.
      full_softmax_limit: largest catalogue that is scored whole in the retrieval loss;
        above it the batch's movies are the negatives, corrected by log-Q.
      rating_dim: width of the deep & cross network's vectors of users and movies.
      time_dim: width of the deep & cross network's embedding of time.
      components: principal components of the training interactions that the deep & cross network
        is given.
      cross_projection: rank of the cross layer's kernel.
      hidden_units: units of the dense layer after the cross.
      rating_dropout: dropout on user vector, movie vector and hidden layer.
      rating_range: the network corrects the biases by at most this many stars.
      l2_rating: L2 penalty on the deep & cross network's embeddings.
    """

    embedding_dim: int = 48
    recency_seconds: tuple[float, ...] = (30.0, 400.0, 40_000.0)
    recency_events: int = 16
    history_dropout: float = 0.3
    truncated_share: float = 0.3
    truncation_share: float = 0.25
    max_truncation: int = 32
    time_dropout: float = 0.1
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
class LongTermConfig:
    """Long-term retrieval: the standalone models and their weights.

    Attributes:
      embedding_dim: width of the autoencoder's vectors.
      history_dropout: upper end of the uniform share of a history that is hidden.
      query_dropout: dropout on the autoencoder's queries.
      profile_dropout: dropout on the part of the queries that comes from the user's features, such
        as age and gender.
      l2_ratings: L2 penalty on the autoencoder's tables. The loss is summed over the training
        ratings, so that more data outweighs the penalty.
      learning_rate: the highest, at the start; a cosine takes it to zero.
      batch_users: users per step.
      epochs: passes over the users.
      max_steps: steps after which no further epoch begins, for data of many users.
      autoencoders: how many autoencoders are trained, whose scores are averaged; fewer where all
        of their steps would be more than `max_steps` or all of their pairs of user and movie more
        than 400 million, one at least.
      ease_penalty: EASE's λ.
      ease_popularity_penalty: what is added to λ for each rating of the movie.
      ease_user_exponent: users are weighted by their number of ratings to minus this power, so
        that those of hundreds of ratings do not decide everything.
      ease_rating_weight: how much more a movie of the history counts per star above the
        user's mean.
      ease_weight: weight of EASE's scores beside the autoencoder's scores in a session.
      ease_megabytes: largest size of EASE's weights in the model, one number for each pair of
        movies: in 32 bits up to 8,660 movies, in 16 bits up to 12,247; for more, EASE is left out.
        Fitting takes 8 bytes for each pair and half as much again: 1.8 GB for 12,247 movies.
      kernel_penalty: λ of the kernel regression over users, which takes EASE's place in the next
        visit's list of known users where users do not outnumber movies.
      kernel_rating_weight: in the kernel regression, how much more a movie of the history counts
        per star above the user's mean.
      kernel_megabytes: largest size of the kernel regression's tables in the model, two numbers in
        32 bits for each user and movie; beyond, EASE stays in the list.
      strong_penalties: values of `ease_popularity_penalty` that are tried on validation for a
        second EASE, the smallest first. Where one finds more than the usual EASE, as it does with
        `--split timeline`, the second EASE takes the place of all models in the next visit's list
        of known users. `none`: no second EASE is tried.
      strong_popularity_weights: weights of the standardised log popularity that are tried beside
        the second EASE.
      ials_dim: width of iALS's vectors.
      ials_unobserved: weight of a pair without a rating in its objective, α₀.
      ials_penalty: iALS's penalty, λ.
      ials_exponent: exponent ν by which iALS's penalty grows with the number of ratings.
      ials_iterations: how often iALS solves for users and movies.
      ials_state_steps: steps of conjugate gradients that solve for a user's vector.
      blend_lengths: numbers of known events, ascending, at which `popularity_weights`,
        `autoencoder_weights` and `kernel_shares` are given, one value for each. In between they are
        linear; beyond the last they stay as they are there.
      popularity_weights: weight of the standardised log popularity in the next visit's list.
      autoencoder_weights: weight of the autoencoder's standardised scores in that list.
      kernel_shares: weight of the kernel regression's standardised scores in that list, where there
        is a kernel regression; EASE has the rest of 1. Also the share of the second EASE in the
        list, where validation chose one.
      ials_share: weight of iALS's standardised scores in that list.
      session_weight: weight of the long-term scores beside the towers' scores in a session.
    """

    embedding_dim: int = 64
    history_dropout: float = 0.6
    query_dropout: float = 0.4
    profile_dropout: float = 0.5
    l2_ratings: float = 16.0
    learning_rate: float = 5e-3
    batch_users: int = 200
    epochs: int = 60
    max_steps: int = 1_000
    autoencoders: int = 3
    ease_penalty: float = 300.0
    ease_popularity_penalty: float = 2.0
    ease_user_exponent: float = 0.25
    ease_rating_weight: float = 0.2
    ease_weight: float = 6.0
    ease_megabytes: float = 300.0
    kernel_penalty: float = 3.0
    kernel_rating_weight: float = 0.3
    kernel_megabytes: float = 300.0
    strong_penalties: tuple[float, ...] = (20.0, 60.0, 200.0)
    strong_popularity_weights: tuple[float, ...] = (0.0, 0.5, 1.0)
    ials_dim: int = 256
    ials_unobserved: float = 0.249
    ials_penalty: float = 0.059
    ials_exponent: float = 0.75
    ials_iterations: int = 12
    ials_state_steps: int = 12
    blend_lengths: tuple[float, ...] = (0.0, 1.0, 3.0, 5.0, 10.0, 12.0, 15.0)
    popularity_weights: tuple[float, ...] = (0.0, 60.0, 30.0, 15.0, 6.0, 2.0, 0.0)
    autoencoder_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0, 4.0, 4.0)
    kernel_shares: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0)
    ials_share: float = 1.0
    session_weight: float = 0.3


@dataclasses.dataclass(frozen=True)
class BpmfConfig:
    """The Bayesian factorisation of the ratings (`trainer.rating.rating_bpmf`).

    Attributes:
      weight: weight of the factorisation in the served rating; the deep & cross network has the
        rest of 1.
      rank: width of the vectors.
      burn_in: sweeps before the first draw that counts.
      chains: independent samplers on data of up to `full_ratings` ratings; beyond, one. Two cover
        the posterior better than one that runs twice as long.
      draws: draws of each chain that are served; predictions are means over all.
      thinning: sweeps from one served draw to the next, since consecutive ones are correlated.
      components: principal components of the training interactions in the side information.
      side_penalty: expected ridge penalty on the weights of the side information in the prior's
        mean; those of users and of movies are drawn.
      side_penalty_freedom: degrees of freedom of the prior of these penalties; very many fix
        them at the expected one.
      prior_variance: expected variance of a vector's entries.
      user_noise_freedom: degrees of freedom of the prior of a user's noise level.
      movie_noise_freedom: degrees of freedom of the prior of a movie's noise level.
      session_seconds: decay time of the weights of a session's ratings in the session's residual.
      session_shrinkage: shrinkage of the session's residual, in pseudo-ratings as predicted.
      full_ratings: ratings up to which all sweeps are made; beyond, fewer, as each costs more
        and a draw from the posterior of more ratings varies less. A user or a movie counts as 20
        ratings where that is more than the ratings (`sweep_cost`).
    """

    weight: float = 0.9
    rank: int = 32
    chains: int = 2
    burn_in: int = 40
    draws: int = 20
    thinning: int = 10
    components: int = 20
    side_penalty: float = 10.0
    side_penalty_freedom: float = 2.0
    prior_variance: float = 0.03
    user_noise_freedom: float = 20.0
    movie_noise_freedom: float = 30.0
    session_seconds: float = 300.0
    session_shrinkage: float = 15.0
    full_ratings: int = 400_000

    def chains_of(self, ratings: int) -> int:
        """Returns how many chains are run, given the ratings or `sweep_cost`."""
        return self.chains if ratings <= self.full_ratings else 1

    def sweeps(self, ratings: int) -> tuple[int, int, int]:
        """Returns how many sweeps are made before draws count, the draws, and the thinning.

        Args:
          ratings: their number, or `sweep_cost`.
        """
        share = min(1.0, self.full_ratings / ratings)
        counted = max(10, round(self.draws * self.thinning * share))
        draws = min(self.draws, counted)
        burn_in = max(self.burn_in // 2, round(self.burn_in * share))
        return burn_in, draws, max(1, min(self.thinning, counted // draws))


def sweep_cost(ratings: int, entities: int) -> int:
    """Returns what a sweep costs, in ratings: a user or a movie costs as much as some 20 of them.

    Args:
      ratings: how many are fitted.
      entities: how many users and movies there are.
    """
    return max(ratings, 20 * entities)


@dataclasses.dataclass(frozen=True)
class SequenceConfig:
    """The causal sequence block (`trainer.retrieval.sequence`), which `--sequence` adds.

    Attributes:
      weight: the largest weight of the block's scores in a session, for very many training
        ratings; the towers' scores have 1 minus the actual weight.
      half_weight_ratings: the number of training ratings at which the actual weight is half of
        `weight`; 1 makes it `weight` on any data.
      width: width of the block's vectors; a multiple of `heads`.
      heads: heads of the block's attention.
      hidden_units: units of the layer after attention.
      recency_events: how many of a user's latest events the block looks at, of any session.
      dropout: dropout on attention and on what attention and the layer after it add.
      epochs: passes over the ratings.
      max_steps: steps of all epochs together, at most: large data gets fewer epochs.
      batch_rows: ratings per step, of whole users; a multiple of `recency_events`.
      learning_rate: the highest, after the warm-up; a cosine takes it to zero.
      warm_up_share: share of the steps in which the learning rate rises from zero.
      softmax_rows: rows of a batch whose softmax is computed at a time.
      catalogue_limit: largest catalogue that the block is trained for, since each step scores every
        movie; for more movies the block is left out.
    """

    weight: float = 1.0
    half_weight_ratings: int = 200_000
    width: int = 64
    heads: int = 2
    hidden_units: int = 128
    recency_events: int = 50
    dropout: float = 0.1
    epochs: int = 10
    max_steps: int = 2_000
    batch_rows: int = 6_400
    learning_rate: float = 0.016
    warm_up_share: float = 0.06
    softmax_rows: int = 400
    catalogue_limit: int = 20_000

    def schedule(self, steps: int) -> tuple[int, int]:
        """Returns the number of epochs and of steps in each, given those of one whole epoch."""
        return _bounded(self.epochs, steps, self.max_steps)

    def weight_of(self, ratings: int) -> float:
        """Returns the weight of the block's scores, given the number of training ratings."""
        return self.weight * ratings / (ratings + self.half_weight_ratings)


@dataclasses.dataclass(frozen=True)
class TutorialConfig:
    """Baselines in the style of the TFRS tutorial (`trainer.tutorial`), with its values.

    Attributes:
      embedding_dim: width of the users' and the movies' embeddings.
      hidden_units: units of each hidden layer of the rating network; `none`: no hidden layer.
      learning_rate: Adagrad's.
      batch_size: ratings per step, which are also each other's negatives.
      retrieval_weight: weight of the retrieval loss.
      rating_weight: weight of the rating loss.
    """

    embedding_dim: int = 32
    hidden_units: tuple[int, ...] = (256, 128)
    learning_rate: float = 0.1
    batch_size: int = 8192
    retrieval_weight: float = 1.0
    rating_weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How the model is fitted.

    Attributes:
      epochs: passes over the ratings.
      max_steps: upper bound of the steps of all epochs together: large data gets fewer epochs,
        very large data a part of one.
      batch_size: ratings per step, about: a batch is made of whole users.
      learning_rate: the highest, at the start; a cosine takes it to zero.
      retrieval_weight: weight of the retrieval loss.
      rating_weight: weight of the rating loss.
      splits: splits that are fitted. The final fit includes validation, on which
        hyperparameters were chosen.
      seed: seed of initialisers, shuffles and dropout.
      catalogue_limit: movies that the model has at most, those with most training ratings. Others
        are neither learned from nor recommended.
    """

    epochs: int = 10
    max_steps: int = 1_000
    batch_size: int = 1024
    learning_rate: float = 4e-3
    retrieval_weight: float = 1.0
    rating_weight: float = 2.0
    splits: tuple[str, ...] = (TRAIN, VALIDATION)
    seed: int = 42
    catalogue_limit: int = 50_000

    def schedule(self, steps: int) -> tuple[int, int]:
        """Returns the number of epochs and of steps in each, given those of one whole epoch."""
        return _bounded(self.epochs, steps, self.max_steps)


@dataclasses.dataclass(frozen=True)
class TunerConfig:
    """How hyperparameters are searched.

    Attributes:
      trials: models that are trained; the first has the configured values.
      epochs: whether the number of epochs is searched too.
    """

    trials: int = 20
    epochs: bool = True

    def to_json(self) -> dict[str, Any]:
        """Returns the configuration as JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class TrainerConfig:
    """All hyperparameters of the Trainer; they travel to it as JSON.

    With `tutorial` a baseline is trained instead of the product's model; with `sequence` the model
    has a causal sequence block.
    """

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    long_term: LongTermConfig = dataclasses.field(default_factory=LongTermConfig)
    bpmf: BpmfConfig = dataclasses.field(default_factory=BpmfConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    tutorial: TutorialConfig | None = None
    sequence: SequenceConfig | None = None

    def hyperparameters(self) -> dict[str, float]:
        """Returns the values of what can be searched, by name."""
        values = {name: getattr(getattr(self, part), name) for name, part in SEARCHED.items()}
        return values | {"rating_dropout": max(self.model.rating_dropout)}

    def with_hyperparameters(self, values: Mapping[str, Any]) -> TrainerConfig:
        """Returns the configuration with some values of `SEARCHED` changed.

        Raises:
          ValueError: a name is not one of those.
        """
        unknown = [name for name in values if name not in SEARCHED]
        if unknown:
            raise ValueError(
                f"expected hyperparameters of {', '.join(SEARCHED)}, received {', '.join(unknown)}"
            )
        changes: dict[str, dict[str, Any]] = {"model": {}, "train": {}}
        for name, value in values.items():
            changes[SEARCHED[name]][name] = value
        if "rating_dropout" in values:
            highest = max(self.model.rating_dropout)
            shares = [rate / highest if highest else 1.0 for rate in self.model.rating_dropout]
            changes["model"]["rating_dropout"] = tuple(
                share * values["rating_dropout"] for share in shares
            )
        return dataclasses.replace(
            self,
            model=dataclasses.replace(self.model, **changes["model"]),
            train=dataclasses.replace(self.train, **changes["train"]),
        )

    def without_sessions(self) -> TrainerConfig:
        """Returns the configuration for data without times: the session component is off."""
        model = dataclasses.replace(self.model, recency_seconds=())
        return dataclasses.replace(self, model=model, sequence=None)

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
            long_term=LongTermConfig(**_tuples(value["long_term"])),
            bpmf=BpmfConfig(**_tuples(value["bpmf"])),
            train=TrainConfig(**_tuples(value["train"])),
            tutorial=(
                TutorialConfig(**_tuples(value["tutorial"])) if value.get("tutorial") else None
            ),
            sequence=SequenceConfig(**value["sequence"]) if value.get("sequence") else None,
        )


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }


def _bounded(epochs: int, steps: int, max_steps: int) -> tuple[int, int]:
    """Returns the number of epochs and of steps in each, of `max_steps` at most together."""
    steps = min(steps, max_steps)
    return min(epochs, max_steps // steps), steps
