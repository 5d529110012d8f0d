"""The component that measures what new users are shown, where `--new-user-folds` is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tensorflow_transform as tft
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import json_utils

from components import progress
from schema.features import FEATURES_KEY, FeatureTable
from trainer import new_users
from trainer.component import events_of, files_by_split
from trainer.config import NEW_USERS_FILE, TrainerConfig
from trainer.data import reading
from trainer.run import files_of

_EXAMPLES, _MOVIES, _GRAPH, _EVALUATION = "examples", "movies", "transform_graph", "evaluation"
_CONFIG, _FOLDS = "custom_config", "folds"


class NewUserEvaluatorSpec(component_spec.ComponentSpec):
    """What goes into the component and comes out of it."""

    PARAMETERS = {  # noqa: RUF012 - TFX reads a plain dict
        _CONFIG: component_spec.ExecutionParameter(type=str),
        _FOLDS: component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {  # noqa: RUF012
        _EXAMPLES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        _MOVIES: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        _GRAPH: component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
    }
    OUTPUTS = {  # noqa: RUF012
        _EVALUATION: component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
    }


class Executor(base_executor.BaseExecutor):
    """Fits and measures fold by fold, and writes `NEW_USERS_FILE`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Measures the metrics of new users."""
        values = json_utils.loads(exec_properties[_CONFIG])
        config = TrainerConfig.from_json(values)
        movies = files_by_split(input_dict[_MOVIES])
        progress.report("reading ratings")
        events, users = events_of(input_dict[_EXAMPLES])
        data = reading.load_training_data(
            files_of(events, config.train.splits),
            users,
            [path for files in movies.values() for path in files],
            tft.TFTransformOutput(artifact_utils.get_single_uri(input_dict[_GRAPH])),
            FeatureTable.from_json(values[FEATURES_KEY]),
            movies=config.train.catalogue_limit,
        )
        folds = exec_properties[_FOLDS]
        metrics = new_users.measure(
            config.long_term, data, folds, config.train.seed, progress.report
        )
        folder = Path(artifact_utils.get_single_uri(output_dict[_EVALUATION]))
        text = json.dumps({"folds": folds, "metrics": metrics}, indent=2)
        (folder / NEW_USERS_FILE).write_text(text + "\n", encoding="utf-8")


class NewUserEvaluator(base_component.BaseComponent):
    """Measures, on held-out folds of users, the lists of users who are not in the training.

    Args:
      examples: ratings, raw Examples; users of the splits of `config.train.splits` are held out.
      movies: the catalogue, raw Examples.
      transform_graph: the preprocessing graph.
      config: hyperparameters.
      features: the columns of the Examples.
      folds: how many folds the users are dealt into; the models are fitted once for each.

    Outputs: `evaluation`, which holds `NEW_USERS_FILE`.
    """

    SPEC_CLASS = NewUserEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        movies: types.BaseChannel,
        transform_graph: types.BaseChannel,
        config: TrainerConfig,
        features: FeatureTable,
        folds: int,
    ) -> None:
        spec = NewUserEvaluatorSpec(
            examples=examples,
            movies=movies,
            transform_graph=transform_graph,
            custom_config=json_utils.dumps({**config.to_json(), FEATURES_KEY: features.to_json()}),
            folds=folds,
            evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
        )
        super().__init__(spec=spec)
