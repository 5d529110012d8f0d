"""The function the Trainer component calls: read, train, export."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer import fn_args_utils

from components import progress
from trainer import data, export, fit
from trainer.config import HISTORY_FILE, TrainerConfig
from trainer.model import MovieRecommender
from transform import outputs as out


def run_fn(fn_args: fn_args_utils.FnArgs) -> None:
    """Trains on the Examples given and exports the SavedModel.

    Args:
      fn_args: TFX's arguments: files of ratings by split (`splits`) and of the catalogue
        (`movie_files`), the transform graph, where to write, and the `TrainerConfig` as
        JSON in `custom_config`.
    """
    config = TrainerConfig.from_json(fn_args.custom_config)
    tf.keras.utils.set_random_seed(config.train.seed)
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    progress.report("reading ratings")
    catalogue = data.load_catalogue(fn_args.movie_files, transform_output)
    interactions, users = data.load_interactions(
        _files(fn_args.rating_files, config.train.splits), transform_output, catalogue
    )
    sizes = {output.name: output.size(transform_output) for output in out.OUTPUTS}
    model = MovieRecommender(catalogue, users, interactions, sizes, config.model, config.train)
    losses = fit.fit(
        model,
        interactions,
        users,
        config.train,
        fn_args.model_run_dir,
        on_epoch=lambda epoch, logs: progress.report(_describe(epoch, config, logs)),
    )
    progress.report("exporting")
    serving = export.ServingModel(model, transform_output, catalogue, users, interactions)
    export.export(serving, fn_args.serving_model_dir)
    _write_history(fn_args.model_run_dir, losses)
    # Graphs of the training stay in Keras's global state, and memory with them.
    tf.keras.backend.clear_session()
    progress.report(
        f"{config.train.epochs} epochs on {len(interactions):,} ratings, "
        f"training rmse {losses['rmse'][-1]:.3f}"
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
