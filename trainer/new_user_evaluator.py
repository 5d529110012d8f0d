"""The component that measures what new users are shown, where `--new-user-folds` is given."""

# Without `from __future__ import annotations`: TFX reads the types of the arguments.

import json
from pathlib import Path

import tensorflow_transform as tft
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, ModelEvaluation, TransformGraph
from tfx.utils import json_utils

from components import progress
from schema.features import FEATURES_KEY, FeatureTable
from trainer import new_users
from trainer.component import events_of, files_by_split
from trainer.config import NEW_USERS_FILE, TrainerConfig
from trainer.data import reading
from trainer.run import files_of


@component
def NewUserEvaluator(
    examples: InputArtifact[Examples],
    movies: InputArtifact[Examples],
    transform_graph: InputArtifact[TransformGraph],
    evaluation: OutputArtifact[ModelEvaluation],
    custom_config: Parameter[str],
    folds: Parameter[int],
) -> None:
    """Measures, on held-out folds of users, the lists of users who are not in the training.

    Args:
      examples: ratings, raw Examples; users of the splits of the Trainer's configuration are held
        out.
      movies: the catalogue, raw Examples.
      transform_graph: the preprocessing graph.
      evaluation: gets `NEW_USERS_FILE`.
      custom_config: what `config_of` returns.
      folds: how many folds the users are dealt into; the models are fitted once for each.
    """
    values = json_utils.loads(custom_config)
    config = TrainerConfig.from_json(values)
    catalogue = files_by_split([movies])
    progress.report("reading ratings")
    events, users = events_of([examples])
    data = reading.load_training_data(
        files_of(events, config.train.splits),
        users,
        [path for files in catalogue.values() for path in files],
        tft.TFTransformOutput(transform_graph.uri),
        FeatureTable.from_json(values[FEATURES_KEY]),
        movies=config.train.catalogue_limit,
    )
    metrics = new_users.measure(config.long_term, data, folds, config.train.seed, progress.report)
    text = json.dumps({"folds": folds, "metrics": metrics}, indent=2)
    (Path(evaluation.uri) / NEW_USERS_FILE).write_text(text + "\n", encoding="utf-8")


def config_of(config: TrainerConfig, features: FeatureTable) -> str:
    """Returns hyperparameters and the columns of the Examples as the component takes them."""
    return str(json_utils.dumps({**config.to_json(), FEATURES_KEY: features.to_json()}))
