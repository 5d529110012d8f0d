"""The search for hyperparameters: what is searched, by which objective, and how.

Trials are trained on the split `train` and judged on `validation`; `test` is not read. Only the
towers and the rating network depend on what is searched, so the standalone models
are fitted once, before the first trial.
"""

from __future__ import annotations

import dataclasses
import gc
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from keras_tuner.engine import trial as keras_trial
from keras_tuner.engine.base_tuner import BaseTuner
from tfx.components.trainer import fn_args_utils
from tfx.components.tuner.component import TunerFnResult

from components import progress
from components.examples.reading import parse, serialized_batches
from components.names import TRAIN, VALIDATION
from metrics import ranking, rating
from schema import predictions
from schema.features import FEATURES_KEY, FeatureTable
from schema.scenarios import NEXT_VISIT, metric_name, scenarios_of
from sources.errors import InputError
from trainer import run
from trainer.config import TrainerConfig, TunerConfig
from trainer.data import reading

_TERMS = {
    metric_name(NEXT_VISIT, "recall_at_10"): 1.0,
    metric_name(NEXT_VISIT, "recall_at_100"): 1.0,
    metric_name(NEXT_VISIT, "rating_rmse"): -1.0,
}
OBJECTIVE = " ".join(
    f"{'-' if sign < 0 else '+'} {name}" for name, sign in _TERMS.items()
).removeprefix("+ ")
"""What is made as large as possible: metrics of the next visit on validation.

The shares of rows whose movie is among the first ten and the first hundred of the filtered list,
minus the RMSE in stars of clipped predictions, where the data has ratings. One point of each counts
the same.
"""

SCORE = "objective"
TUNER_KEY = "tuner"
"""Where the `TunerConfig` is in the component's `custom_config`."""

EPOCHS = (8, 16)
_DIMENSIONS = (32, 48, 64, 96, 128)
_BATCH = 2_000

OnProgress = Callable[[str], None]
Evaluate = Callable[[TrainerConfig, OnProgress], Mapping[str, float]]
"""Trains with a configuration and returns its metrics, `SCORE` among them."""


def search_space(config: TrainerConfig, tuner: TunerConfig) -> keras_tuner.HyperParameters:
    """Returns what is searched; the defaults are the values of `config`."""
    default = config.hyperparameters()
    space = keras_tuner.HyperParameters()
    dimension = default["embedding_dim"]
    space.Choice("embedding_dim", sorted({*_DIMENSIONS, dimension}), default=dimension)
    space.Float("query_dropout", 0.0, 0.6, step=0.05, default=default["query_dropout"])
    space.Float("rating_dropout", 0.0, 0.6, step=0.05, default=default["rating_dropout"])
    _logarithmic(space, "learning_rate", 1e-3, 1e-2, default)
    if tuner.epochs:
        space.Int("epochs", *EPOCHS, default=default["epochs"])
    else:
        space.Fixed("epochs", default["epochs"])
    _logarithmic(space, "retrieval_weight", 0.5, 2.0, default)
    _logarithmic(space, "rating_weight", 0.5, 8.0, default)
    return space


def _logarithmic(
    space: keras_tuner.HyperParameters,
    name: str,
    least: float,
    most: float,
    default: Mapping[str, float],
) -> None:
    space.Float(name, least, most, sampling="log", default=default[name])


class DefaultsFirst(keras_tuner.oracles.RandomSearchOracle):
    """Random search (Bergstra & Bengio 2012) whose first trial has the defaults."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of the next trial."""
        if not self.trials:
            return {
                "status": keras_trial.TrialStatus.RUNNING,
                "values": dict(self.hyperparameters.values),
            }
        found: dict[str, Any] = super().populate_space(trial_id)
        return found


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial and its result.

    Attributes:
      trial: its number, from 1 on.
      hyperparameters: its values by name.
      metrics: its metrics on validation by name; empty if it failed.
      cpu_seconds: processor time of training and judging.
      problem: why it failed, None if it did not.
    """

    trial: int
    hyperparameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    cpu_seconds: float
    problem: str | None = None


class MovieTuner(BaseTuner):
    """Trains a model per trial with a function that returns its metrics on validation.

    Args:
      config: the configuration that the trials' values are put into.
      tuner: how much is searched.
      evaluate: trains and judges; a ValueError means that these values do not work.
      directory: a folder for Keras Tuner's own records.
    """

    def __init__(
        self, config: TrainerConfig, tuner: TunerConfig, evaluate: Evaluate, directory: str
    ) -> None:
        super().__init__(
            DefaultsFirst(
                objective=keras_tuner.Objective(SCORE, "max"),
                max_trials=tuner.trials,
                # Keras Tuner takes 0 for "any".
                seed=config.train.seed + 1,
                hyperparameters=search_space(config, tuner),
                tune_new_entries=False,
                allow_new_entries=False,
            ),
            directory=directory,
            project_name="search",
        )
        self.oracle.verbose = 0
        self.trials: list[Trial] = []
        self._config = config
        self._evaluate = evaluate
        self._number = tuner.trials

    def run_trial(self, trial: keras_trial.Trial) -> Mapping[str, float]:
        """Trains and judges one model.

        Raises:
          FailedTrialError: these values do not work; the search goes on.
          FatalError: anything else went wrong; it ends.
        """
        values = dict(trial.hyperparameters.values)
        before = f"trial {len(self.trials) + 1} of {self._number}"
        best = f" (best: {self.best().metrics[SCORE]:.4f})" if self.succeeded() else ""
        started = time.process_time()

        def done(metrics: Mapping[str, float], problem: str | None = None) -> None:
            seconds = round(time.process_time() - started, 1)
            self.trials.append(Trial(len(self.trials) + 1, values, metrics, seconds, problem))

        try:
            metrics = self._evaluate(
                self._config.with_hyperparameters(values),
                lambda text: progress.report(f"{before}{best}, {text}"),
            )
        except ValueError as error:
            done({}, str(error))
            progress.report(f"{before} failed: {error}")
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        except Exception as error:
            # Keras Tuner takes every other exception for a trial that went wrong.
            raise keras_tuner.errors.FatalError(f"{before}: {error}") from error
        done(metrics)
        progress.report(f"{before}: {OBJECTIVE} = {metrics[SCORE]:.4f}")
        return {SCORE: metrics[SCORE]}

    def succeeded(self) -> list[Trial]:
        """Returns the trials that did not fail."""
        return [trial for trial in self.trials if trial.problem is None]

    def best(self) -> Trial:
        """Returns the best trial so far; the earliest, where several are.

        Raises:
          ValueError: every trial failed.
        """
        found = self.succeeded()
        if not found:
            problems = {trial.problem for trial in self.trials}
            raise ValueError(
                f"expected a trial that works, received: {'; '.join(map(str, problems))}"
            )
        return max(found, key=lambda trial: trial.metrics[SCORE])

    def record(self) -> dict[str, Any]:
        """Returns the search as JSON values: how it judged, every trial, the best one."""
        best = self.best()
        return {
            "objective": OBJECTIVE,
            "split": VALIDATION,
            "fitted_splits": [TRAIN],
            "seed": self._config.train.seed,
            "best_trial": best.trial,
            "best": best.hyperparameters,
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
        }


def tuner_fn(fn_args: fn_args_utils.FnArgs) -> TunerFnResult:
    """Returns the tuner that the Tuner component runs.

    Args:
      fn_args: TFX's arguments, with the files that `trainer.component.with_files` adds, and in
        `custom_config` the `TrainerConfig`, the `TunerConfig` and the feature table as JSON.
    """
    config = TrainerConfig.from_json(fn_args.custom_config)
    tuner = TunerConfig(**fn_args.custom_config[TUNER_KEY])
    evaluate = evaluation(
        config,
        fn_args.event_files,
        fn_args.rating_files,
        fn_args.user_files,
        fn_args.movie_files,
        fn_args.transform_graph_path,
        FeatureTable.from_json(fn_args.custom_config[FEATURES_KEY]),
    )
    return TunerFnResult(MovieTuner(config, tuner, evaluate, fn_args.working_dir), {})


def evaluation(
    config: TrainerConfig,
    event_files: Mapping[str, Sequence[str]],
    rating_files: Mapping[str, Sequence[str]],
    user_files: Sequence[str],
    movie_files: Sequence[str],
    transform_graph: str,
    features: FeatureTable,
) -> Evaluate:
    """Fits what no trial changes, and returns what trains and judges the rest.

    Args:
      config: the configuration of what no trial changes.
      event_files: event files by split.
      rating_files: files of the ratings' Examples by split.
      user_files: files of the users.
      movie_files: files of the catalogue.
      transform_graph: folder of the preprocessing graph.
      features: the columns of the Examples.
    """
    transform_output = tft.TFTransformOutput(transform_graph)
    progress.report("reading ratings")
    data = reading.load_training_data(
        run.files_of(event_files, [TRAIN]),
        user_files,
        movie_files,
        transform_output,
        features,
        movies=config.train.catalogue_limit,
    )
    examples = _records(run.files_of(rating_files, [VALIDATION]))
    tf.keras.utils.set_random_seed(config.train.seed)
    # The objective is of the next visit, in which the sequence block has no part.
    config = dataclasses.replace(config, sequence=None)
    standalone = run.fit_standalone(config, data, progress.report)

    def evaluate(changed: TrainerConfig, on_progress: OnProgress) -> Mapping[str, float]:
        tf.keras.utils.set_random_seed(changed.train.seed)
        with tempfile.TemporaryDirectory() as logs:
            network = run.fit_network(changed, standalone, data, logs, on_progress)
        found = validation_metrics(network.evaluation.evaluate, examples, features)
        del network
        # Graphs of the trial stay in Keras's global state, and memory with them.
        tf.keras.backend.clear_session()
        gc.collect()
        return found

    return evaluate


def validation_metrics(
    predict: Callable[[tf.Tensor], Mapping[str, tf.Tensor]],
    examples: Sequence[bytes],
    features: FeatureTable,
) -> dict[str, float]:
    """Returns metrics of the served model on ratings that it was not fitted to.

    Args:
      predict: answers serialized tf.Examples `[batch]` as the evaluation's signature does.
      examples: serialized tf.Examples, at least one.
      features: their columns.

    Returns:
      `SCORE`, and the metrics by the names that the Evaluator gives them.
    """
    compiled = tf.function(
        predict, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )
    batches = [
        compiled(tf.constant(examples[start : start + _BATCH]))
        for start in range(0, len(examples), _BATCH)
    ]
    answers = {n: np.concatenate([batch[n].numpy() for batch in batches]) for n in batches[0]}
    found: dict[str, float] = {}
    for scenario in scenarios_of(features):
        ranks = answers[predictions.rank_of(scenario)]
        in_scenario = {
            "recall_at_10": ranking.recall_at_k(ranks, 10),
            "recall_at_100": ranking.recall_at_k(ranks, 100),
        }
        if features.has_rating:
            given = parse(examples, [features.rating])[features.rating.name].numpy()
            predicted = answers[predictions.rating_of(scenario)]
            in_scenario["rating_rmse"] = rating.rmse(predicted, given)
        found |= {metric_name(scenario, name): value for name, value in in_scenario.items()}
    score = sum(sign * found[name] for name, sign in _TERMS.items() if name in found)
    return {SCORE: score, **found}


def _records(paths: Sequence[str]) -> list[bytes]:
    found: list[bytes] = []
    for batch in serialized_batches(sorted(paths), _BATCH):
        found.extend(batch.numpy().tolist())
    if not found:
        raise InputError(
            "the split leaves no ratings to choose hyperparameters on",
            expected=f"ratings in the split {VALIDATION}: about 20 or more in all",
            action="give more ratings, or leave out --tune",
        )
    return found
