"""The function the Trainer component calls: read, train, export."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer import fn_args_utils

from components import progress
from trainer import fit
from trainer.config import CONFIG_FILE, HISTORY_FILE, TrainerConfig, TutorialConfig
from trainer.data import reading
from trainer.data.reading import Catalogue, Interactions, Users
from trainer.model import MovieRecommender
from trainer.rating.rating_blend import BlendedRating, fit_bayes
from trainer.rating.rating_bpmf import BayesFit
from trainer.retrieval.combination import HistoryRetrieval
from trainer.retrieval.two_towers import catalogue_tensors
from trainer.retrieval.user_autoencoder import Floats, TasteModel, ease_weights, fit_taste
from trainer.serving import describe, module
from trainer.tutorial import TutorialModel, TutorialRating, TutorialRetrieval, fit_tutorial
from transform import outputs as out


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training gives.

    Attributes:
      serving: the model, to be asked or exported.
      losses: losses by name, one value per epoch.
      descriptions: what is told beside the model, JSON values by file name.
    """

    serving: module.ServingModel
    losses: Mapping[str, Sequence[float]]
    descriptions: Mapping[str, Any]


def train(
    config: TrainerConfig,
    catalogue: Catalogue,
    interactions: Interactions,
    users: Users,
    transform_output: tft.TFTransformOutput,
    log_dir: str,
    report: Callable[[str], None],
) -> Trained:
    """Trains everything that the model is made of.

    Args:
      config: hyperparameters.
      catalogue: every movie.
      interactions: the training ratings, all that is learned from.
      users: their users.
      transform_output: the preprocessing graph.
      log_dir: where TensorBoard's logs go.
      report: called with a line of progress now and then.

    Raises:
      ValueError: a loss is not a number: a learning rate is too high.
    """
    tf.keras.utils.set_random_seed(config.train.seed)
    if config.tutorial:
        return _train_tutorial(
            config, catalogue, interactions, users, transform_output, log_dir, report
        )
    apart = fit_apart(config, catalogue, interactions, users, transform_output, report)
    network = fit_network(
        config, apart, catalogue, interactions, users, transform_output, log_dir, report
    )
    return Trained(
        network.serving,
        {**network.losses, "taste_loss": apart.taste_losses},
        {
            **describe.catalogue_and_users(catalogue, users, interactions, transform_output),
            describe.CROSS_WEIGHTS_FILE: describe.cross_strengths(
                network.model.rating_model,
                network.model.candidate_tower.features,
                users,
                interactions,
            ),
        },
    )


@dataclasses.dataclass(frozen=True)
class Apart:
    """What is fitted apart from the towers and the network, and does not depend on them.

    Attributes:
      taste: the autoencoder.
      taste_losses: its losses, one per epoch.
      ease: EASE's weights; None where the catalogue is too large.
      bayes: the Bayesian factorisation of the ratings.
    """

    taste: TasteModel
    taste_losses: Sequence[float]
    ease: Floats | None
    bayes: BayesFit


@dataclasses.dataclass(frozen=True)
class Network:
    """The towers and the rating network.

    Attributes:
      model: the trained model.
      serving: it and what was fitted apart, as they are served.
      losses: losses by name, one value per epoch.
    """

    model: MovieRecommender
    serving: module.ServingModel
    losses: Mapping[str, Sequence[float]]


def fit_apart(
    config: TrainerConfig,
    catalogue: Catalogue,
    interactions: Interactions,
    users: Users,
    transform_output: tft.TFTransformOutput,
    report: Callable[[str], None],
) -> Apart:
    """Fits taste, EASE and the Bayesian factorisation; arguments as of `train`."""
    sizes = _sizes(transform_output)
    movies = len(catalogue.ids)
    counts = np.bincount(interactions.movie_row, minlength=movies)

    def on_taste(epoch: int, epochs: int, loss: float) -> None:
        if epoch == epochs or epoch % 10 == 0:
            report(f"taste, epoch {epoch} of {epochs}: loss {loss:.3f}")

    def on_sweep(sweep: int, sweeps: int) -> None:
        if sweep == sweeps or sweep % 20 == 0:
            report(f"ratings, sweep {sweep} of {sweeps}")

    taste = TasteModel(catalogue, sizes, counts, config.taste)
    taste_losses = fit_taste(taste, interactions, users, config.train.seed, on_taste)
    ease = None
    if movies <= config.taste.ease_limit:
        taste_config = config.taste
        ease = ease_weights(
            interactions,
            movies,
            taste_config.ease_penalty,
            taste_config.ease_popularity_penalty,
        )
    fitted = fit_bayes(
        interactions, users, catalogue, sizes, config.bayes, config.train.seed, on_sweep
    )
    return Apart(taste, taste_losses, ease, fitted)


def fit_network(
    config: TrainerConfig,
    apart: Apart,
    catalogue: Catalogue,
    interactions: Interactions,
    users: Users,
    transform_output: tft.TFTransformOutput,
    log_dir: str,
    report: Callable[[str], None],
) -> Network:
    """Trains towers and network and joins them with what was fitted apart.

    Args are those of `train`; `apart` must come from the same ratings.
    """
    model = MovieRecommender(
        catalogue, users, interactions, _sizes(transform_output), config.model, config.train
    )
    losses = fit.fit(
        model,
        interactions,
        users,
        config.train,
        log_dir,
        on_epoch=lambda epoch, logs: report(_describe(epoch, config, logs)),
    )
    serving = module.ServingModel(
        HistoryRetrieval(model, apart.taste, apart.ease, catalogue),
        BlendedRating(model.rating_model, apart.bayes, config.bayes.weight),
        config.model.recency_events,
        transform_output,
        catalogue,
        model.candidate_tower.features,
        users,
        interactions,
    )
    return Network(model, serving, losses)


def _sizes(transform_output: tft.TFTransformOutput) -> dict[str, int]:
    return {output.name: output.size(transform_output) for output in out.OUTPUTS}


def _train_tutorial(
    config: TrainerConfig,
    catalogue: Catalogue,
    interactions: Interactions,
    users: Users,
    transform_output: tft.TFTransformOutput,
    log_dir: str,
    report: Callable[[str], None],
) -> Trained:
    model = TutorialModel(
        out.USER_ID.size(transform_output), len(catalogue.ids), config.tutorial or TutorialConfig()
    )
    losses = fit_tutorial(
        model,
        interactions,
        users,
        config.train.epochs,
        config.train.seed,
        log_dir,
        on_epoch=lambda epoch, logs: report(_describe(epoch, config, logs)),
    )
    serving = module.ServingModel(
        TutorialRetrieval(model),
        TutorialRating(model),
        0,
        transform_output,
        catalogue,
        catalogue_tensors(catalogue),
        users,
        interactions,
    )
    told = describe.catalogue_and_users(catalogue, users, interactions, transform_output)
    return Trained(serving, losses, told)


def run_fn(fn_args: fn_args_utils.FnArgs) -> None:
    """Trains on the Examples given and exports the SavedModel.

    Args:
      fn_args: TFX's arguments: files of ratings by split (`splits`) and of the catalogue
        (`movie_files`), the transform graph, where to write, the `TrainerConfig` as JSON
        in `custom_config`, and the Tuner's choice in `hyperparameters`, if there is one.
    """
    config = TrainerConfig.from_json(fn_args.custom_config)
    if fn_args.hyperparameters:
        config = config.with_hyperparameters(fn_args.hyperparameters["values"])
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    progress.report("reading ratings")
    catalogue = reading.load_catalogue(fn_args.movie_files, transform_output)
    interactions, users = reading.load_interactions(
        files_of(fn_args.rating_files, config.train.splits), transform_output, catalogue
    )
    trained = train(
        config,
        catalogue,
        interactions,
        users,
        transform_output,
        fn_args.model_run_dir,
        progress.report,
    )
    progress.report("exporting")
    module.export(trained.serving, fn_args.serving_model_dir, trained.descriptions)
    _write_history(fn_args.model_run_dir, trained.losses)
    _write_json(Path(fn_args.model_run_dir) / CONFIG_FILE, config.to_json())
    # Graphs of the training stay in Keras's global state, and memory with them.
    tf.keras.backend.clear_session()
    progress.report(
        f"{config.train.epochs} epochs on {len(interactions):,} ratings, "
        f"training rmse {trained.losses['rmse'][-1]:.3f}"
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


def _describe(epoch: int, config: TrainerConfig, logs: Mapping[str, float]) -> str:
    return (
        f"epoch {epoch} of {config.train.epochs}: retrieval loss "
        f"{logs['retrieval_loss']:.3f}, rmse {logs['rmse']:.3f}"
    )


def _write_history(folder: str, losses: Mapping[str, Sequence[float]]) -> None:
    values = {name: [float(value) for value in series] for name, series in losses.items()}
    _write_json(Path(folder) / HISTORY_FILE, values)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
