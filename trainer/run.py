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
from trainer import data, describe, export, fit
from trainer.config import HISTORY_FILE, TrainerConfig, TutorialConfig
from trainer.data import Catalogue, Interactions, Users
from trainer.model import MovieRecommender
from trainer.retrieval import HistoryRetrieval
from trainer.stars import BlendedRating, fit_bayes
from trainer.taste import TasteModel, ease_weights, fit_taste
from trainer.towers import catalogue_tensors
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

    serving: export.ServingModel
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
    sizes = {output.name: output.size(transform_output) for output in out.OUTPUTS}
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
        ease = ease_weights(interactions, movies, config.taste.ease_penalty)
    fitted = fit_bayes(
        interactions, users, catalogue, sizes, config.bayes, config.train.seed, on_sweep
    )
    model = MovieRecommender(catalogue, users, interactions, sizes, config.model, config.train)
    losses = fit.fit(
        model,
        interactions,
        users,
        config.train,
        log_dir,
        on_epoch=lambda epoch, logs: report(_describe(epoch, config, logs)),
    )
    serving = export.ServingModel(
        HistoryRetrieval(model, taste, ease, catalogue),
        BlendedRating(model.rating_model, fitted, config.bayes.weight),
        config.model.recency_events,
        transform_output,
        catalogue,
        model.candidate_tower.features,
        users,
        interactions,
    )
    return Trained(
        serving,
        {**losses, "taste_loss": taste_losses},
        {
            **describe.catalogue_and_users(catalogue, users, interactions, transform_output),
            describe.CROSS_WEIGHTS_FILE: describe.cross_strengths(
                model.rating_model, model.candidate_tower.features, users, interactions
            ),
        },
    )


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
    serving = export.ServingModel(
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
        (`movie_files`), the transform graph, where to write, and the `TrainerConfig` as
        JSON in `custom_config`.
    """
    config = TrainerConfig.from_json(fn_args.custom_config)
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    progress.report("reading ratings")
    catalogue = data.load_catalogue(fn_args.movie_files, transform_output)
    interactions, users = data.load_interactions(
        _files(fn_args.rating_files, config.train.splits), transform_output, catalogue
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
    export.export(trained.serving, fn_args.serving_model_dir, trained.descriptions)
    _write_history(fn_args.model_run_dir, trained.losses)
    # Graphs of the training stay in Keras's global state, and memory with them.
    tf.keras.backend.clear_session()
    progress.report(
        f"{config.train.epochs} epochs on {len(interactions):,} ratings, "
        f"training rmse {trained.losses['rmse'][-1]:.3f}"
    )


def _files(by_split: Mapping[str, Sequence[str]], splits: Sequence[str]) -> list[str]:
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
    path = Path(folder) / HISTORY_FILE
    values = {name: [float(value) for value in series] for name, series in losses.items()}
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
