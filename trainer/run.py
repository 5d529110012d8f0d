"""The function the Trainer component calls: read, train, export."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer import fn_args_utils

from components import progress
from components.names import TRAIN, VALIDATION
from schema.dataset import number_of
from schema.export_contract import DATASET_FILE
from schema.features import FEATURES_KEY, FeatureTable
from trainer import export, fit
from trainer.config import CONFIG_FILE, HISTORY_FILE, LEFT_OUT_FILE, TrainerConfig, TutorialConfig
from trainer.data import reading
from trainer.data.training_data import TrainingData
from trainer.evaluation.signature import Evaluation
from trainer.model import MovieRecommender
from trainer.rating.rating_blend import BlendedRating
from trainer.rating.rating_bpmf import Bpmf
from trainer.retrieval.combination import HistoryRetrieval
from trainer.retrieval.long_term import LongTermModels, fit_long_term
from trainer.retrieval.sequence import SequenceBlock, fit_sequence
from trainer.retrieval.two_towers import catalogue_tensors
from trainer.serving import describe
from trainer.serving.interfaces import Rating, Retrieval
from trainer.serving.module import ServingModel
from trainer.tutorial import TutorialModel, TutorialRating, TutorialRetrieval, fit_tutorial
from transform import outputs as out


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
      serving: the model that is served, whose histories hold every rating.
      evaluation: that of the same fitted parts, whose histories hold what they were fitted to.
      losses: losses by name, one value per epoch.
      descriptions: metadata of the model, JSON values by file name.
    """

    serving: ServingModel
    evaluation: Evaluation
    losses: Mapping[str, Sequence[float]]
    descriptions: Mapping[str, Any]


def train(
    config: TrainerConfig,
    data: TrainingData,
    log_dir: str,
    on_progress: Callable[[str], None],
    known: TrainingData | None = None,
) -> Trained:
    """Trains all parts of the model.

    Args:
      config: hyperparameters.
      data: what is learned from.
      log_dir: where TensorBoard's logs go.
      on_progress: called with a line of progress now and then.
      known: the histories of the served model's users; nothing is learned from ratings that are
        only here. `data` where None.

    Raises:
      ValueError: a loss is not a number: a learning rate is too high.
    """
    tf.keras.utils.set_random_seed(config.train.seed)
    known = known or data
    if config.tutorial:
        return _train_tutorial(config, data, log_dir, on_progress, known)
    standalone = fit_standalone(config, data, on_progress)
    network = fit_network(config, standalone, data, log_dir, on_progress)
    descriptions = {
        **describe.catalogue_and_users(known),
        LEFT_OUT_FILE: describe.left_out(standalone.long_term, data) | _no_sequence(config, data),
    }
    if network.model.rating_model is not None:
        descriptions[describe.CROSS_WEIGHTS_FILE] = describe.cross_strengths(
            network.model.rating_model, network.model.movie_features, data
        )
    losses = {**network.losses, "autoencoder_loss": standalone.long_term.autoencoder.losses}
    if standalone.sequence is not None:
        losses["sequence_loss"] = standalone.sequence_losses
    return Trained(
        network.parts.serving_model(data, known), network.evaluation, losses, descriptions
    )


@dataclasses.dataclass(frozen=True)
class Standalone:
    """The standalone models: fitted without the towers and the network.

    Attributes:
      long_term: those of retrieval.
      bpmf: the Bayesian factorisation of the ratings; None of data without ratings.
      sequence: the causal sequence block; None without `--sequence`, or where it is left out.
      sequence_losses: its losses, one per epoch.
    """

    long_term: LongTermModels
    bpmf: Bpmf | None
    sequence: SequenceBlock | None = None
    sequence_losses: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class FittedParts:
    """The parts of a model that do not depend on the histories of its users.

    Attributes:
      retrieval: scores the catalogue.
      rating: predicts stars; None of data without ratings.
      recency_events: how many of a session's latest events predicted ratings look at.
      movie_features: the catalogue's transformed features as tensors.
    """

    retrieval: Retrieval
    rating: Rating | None
    recency_events: int
    movie_features: Mapping[str, tf.Tensor | tf.RaggedTensor]

    def serving_model(self, data: TrainingData, known: TrainingData) -> ServingModel:
        """Returns the model with the histories of `known`; the parts were fitted to `data`."""
        return ServingModel(
            self.retrieval, self.rating, self.recency_events, data, self.movie_features, known
        )

    def evaluation(self, data: TrainingData) -> Evaluation:
        """Returns the evaluation of the model whose histories are those that were fitted."""
        return Evaluation(self.serving_model(data, data), data.ratings_per_movie)


@dataclasses.dataclass(frozen=True)
class Network:
    """The towers and the rating network.

    Attributes:
      model: the trained model.
      parts: it and the standalone models, as they are served.
      evaluation: the evaluation of what is served.
      losses: losses by name, one value per epoch.
    """

    model: MovieRecommender
    parts: FittedParts
    evaluation: Evaluation
    losses: Mapping[str, Sequence[float]]


def fit_standalone(
    config: TrainerConfig, data: TrainingData, on_progress: Callable[[str], None]
) -> Standalone:
    """Fits retrieval's standalone models and the Bayesian factorisation; arguments as of `train`.

    Where it is configured, the sequence block as well: nothing else depends on it.
    """

    def on_sweep(sweep: int, sweeps: int) -> None:
        if sweep == sweeps or sweep % 20 == 0:
            on_progress(f"ratings, sweep {sweep} of {sweeps}")

    seed = config.train.seed
    long_term = fit_long_term(config.long_term, data, seed, on_progress)
    bpmf = None
    if data.features.has_rating:
        bpmf = Bpmf(config.bpmf, seed, on_sweep)
        bpmf.fit(data)
    return Standalone(long_term, bpmf, *_fit_sequence(config, data, on_progress))


def _fit_sequence(
    config: TrainerConfig, data: TrainingData, on_progress: Callable[[str], None]
) -> tuple[SequenceBlock | None, Sequence[float]]:
    """Returns the fitted sequence block and its losses; None and none where there is none."""
    sequence = config.sequence
    if sequence is None or _no_sequence(config, data):
        return None, ()
    started = time.process_time()

    def on_epoch(epoch: int, epochs: int, loss: float) -> None:
        seconds = time.process_time() - started
        on_progress(f"sequence block, epoch {epoch} of {epochs}: loss {loss:.3f}, {seconds:.0f} s")

    return fit_sequence(sequence, data, config.train.seed, on_epoch)


def _no_sequence(config: TrainerConfig, data: TrainingData) -> dict[str, str]:
    """Returns why a sequence block that is configured is left out, by its name."""
    sequence, movies, reason = config.sequence, len(data.catalogue.ids), None
    if sequence is None:
        return {}
    if not data.features.has_time:
        reason = "this data has no times"
    elif not config.model.recency_seconds:
        reason = "nothing is recommended within a session (model.recency_seconds)"
    elif movies > sequence.catalogue_limit:
        limit = sequence.catalogue_limit
        reason = f"{movies:,} movies, allowed are {limit:,} (sequence.catalogue_limit)"
    return {"the sequence block": reason} if reason else {}


def fit_network(
    config: TrainerConfig,
    standalone: Standalone,
    data: TrainingData,
    log_dir: str,
    on_progress: Callable[[str], None],
) -> Network:
    """Trains towers and network and joins them with the standalone models.

    Without times there are no towers, and without ratings there is no network; with neither,
    nothing is trained here.

    Args are those of `train`; `standalone` must come from the same data.
    """
    if not data.features.has_time:
        config = config.without_sessions()
    model = MovieRecommender(data, config.model, config.train)
    losses: Mapping[str, Sequence[float]] = {}
    if model.towers is not None or model.rating_model is not None:
        losses = fit.fit(
            model,
            data,
            config.train,
            log_dir,
            on_epoch=lambda epoch, epochs, logs: on_progress(_describe(epoch, epochs, logs)),
        )
    parts = FittedParts(
        HistoryRetrieval(
            model.towers,
            standalone.long_term,
            data.catalogue,
            data.ratings_per_movie,
            standalone.sequence,
        ),
        (
            BlendedRating(model.rating_model, standalone.bpmf, config.bpmf.weight)
            if model.rating_model is not None and standalone.bpmf is not None
            else None
        ),
        config.model.recency_events,
        model.movie_features,
    )
    return Network(model, parts, parts.evaluation(data), losses)


def _train_tutorial(
    config: TrainerConfig,
    data: TrainingData,
    log_dir: str,
    on_progress: Callable[[str], None],
    known: TrainingData,
) -> Trained:
    model = TutorialModel(
        data.feature_sizes[out.USER_ID_INDEX],
        len(data.catalogue.ids),
        config.tutorial or TutorialConfig(),
        data.features.scale.units_per_star if data.features.has_rating else 1.0,
    )
    losses = fit_tutorial(
        model,
        data.interactions,
        data.users,
        config.train.epochs,
        config.train.seed,
        log_dir,
        on_epoch=lambda epoch, epochs, logs: on_progress(_describe(epoch, epochs, logs)),
    )
    parts = FittedParts(
        TutorialRetrieval(model),
        TutorialRating(model) if data.features.has_rating else None,
        0,
        catalogue_tensors(data.catalogue),
    )
    return Trained(
        parts.serving_model(data, known),
        parts.evaluation(data),
        losses,
        {**describe.catalogue_and_users(known), LEFT_OUT_FILE: describe.left_out_movies(data)},
    )


def run_fn(fn_args: fn_args_utils.FnArgs) -> None:
    """Trains on the ratings given and exports two SavedModels of the same fitted parts.

    The one to serve (`serving_model_dir`) knows the ratings of every split, the one to evaluate
    (`eval_model_dir`) those of the fitted splits.

    Args:
      fn_args: TFX's arguments: event files by split (`event_files`), files of the users
        (`user_files`) and of the catalogue (`movie_files`), the `DatasetSpec` as JSON values
        (`dataset`), the transform graph, where to write, the `TrainerConfig` as JSON in
        `custom_config` with the feature table at `FEATURES_KEY`, and the Tuner's choice in
        `hyperparameters`, if there is one.
    """
    config = TrainerConfig.from_json(fn_args.custom_config)
    if fn_args.hyperparameters:
        config = config.with_hyperparameters(fn_args.hyperparameters["values"])
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    progress.report("reading ratings")
    fitted = config.train.splits
    data, known = reading.load_fitted_and_known(
        files_of(fn_args.event_files, fitted),
        files_of(fn_args.event_files, [s for s in fn_args.event_files if s not in fitted]),
        fn_args.user_files,
        fn_args.movie_files,
        transform_output,
        FeatureTable.from_json(fn_args.custom_config[FEATURES_KEY]),
        files_of(fn_args.event_files, [VALIDATION] if {TRAIN, VALIDATION} <= {*fitted} else []),
        config.train.catalogue_limit,
    )
    trained = train(config, data, fn_args.model_run_dir, progress.report, known)
    progress.report("exporting")
    descriptions = {**trained.descriptions, PurePosixPath(DATASET_FILE).name: fn_args.dataset}
    export.export(trained.serving, fn_args.serving_model_dir, descriptions)
    export.export_evaluation(trained.evaluation, fn_args.eval_model_dir, descriptions)
    _write_history(fn_args.model_run_dir, trained.losses)
    _write_json(Path(fn_args.model_run_dir) / CONFIG_FILE, config.to_json())
    # Graphs of the training stay in Keras's global state, and memory with them.
    tf.keras.backend.clear_session()
    rmse = trained.losses.get("rmse")
    name, losses = next(iter(trained.losses.items()))
    progress.report(
        ("autoencoder: " if name == "autoencoder_loss" else "")
        + f"{number_of(len(losses), 'epoch')} on {len(data.interactions):,} "
        + (f"ratings, training rmse {rmse[-1]:.3f}" if rmse else "events")
    )


def files_of(by_split: Mapping[str, Sequence[str]], splits: Sequence[str]) -> list[str]:
    """Returns the files of some splits.

    Raises:
      ValueError: there is no such split.
    """
    missing = [split for split in splits if split not in by_split]
    if missing:
        raise ValueError(f"expected splits {', '.join(splits)}, received {', '.join(by_split)}")
    return [path for split in splits for path in by_split[split]]


def _describe(epoch: int, epochs: int, logs: Mapping[str, float]) -> str:
    shown = {"retrieval loss": logs.get("retrieval_loss"), "rmse": logs.get("rmse")}
    values = (f"{name} {value:.3f}" for name, value in shown.items() if value is not None)
    return f"epoch {epoch} of {epochs}: {', '.join(values)}"


def _write_history(folder: str, losses: Mapping[str, Sequence[float]]) -> None:
    values = {name: [float(value) for value in series] for name, series in losses.items()}
    _write_json(Path(folder) / HISTORY_FILE, values)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
