"""The Trainer component: TFX's, with a typed channel for the movie catalogue.

Channels in `custom_config`, as the official recommender tutorial passes them, arrive empty
under the local runner; an input of the component's spec does not.
"""

from __future__ import annotations

import json
from typing import Any

from tfx import types
from tfx.components.trainer import executor as tfx_executor
from tfx.components.trainer import fn_args_utils
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter
from tfx.utils import json_utils

from components.examples.events import USERS, event_files
from components.examples.reading import files_of_split
from components.names import DATASET_SPEC, EVALUATION_VERSION, MODEL_KIND, VALIDATION
from schema import export_contract
from schema.features import FEATURES_KEY, FeatureTable
from storage.paths import join
from trainer.config import TrainerConfig

MOVIES_KEY = "movies"
RUN_FN = "trainer.run.run_fn"


class TrainerSpec(standard_component_specs.TrainerSpec):
    """TFX's spec of the Trainer, with the catalogue as one more input."""

    INPUTS = {  # noqa: RUF012 - the base class's form
        **standard_component_specs.TrainerSpec.INPUTS,
        MOVIES_KEY: ChannelParameter(type=standard_artifacts.Examples),
    }


class Executor(tfx_executor.GenericExecutor):
    """Calls `run_fn` with the files of every split of ratings, and of the catalogue."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains, and records the kind as a property of the model."""
        super().Do(input_dict, output_dict, exec_properties)
        config = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
        model = artifact_utils.get_single_instance(output_dict[standard_component_specs.MODEL_KEY])
        model.set_string_custom_property(MODEL_KIND, config[MODEL_KIND])
        model.set_int_custom_property(EVALUATION_VERSION, export_contract.EVALUATION_VERSION)

    def _GetFnArgs(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> fn_args_utils.FnArgs:
        fn_args = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        return with_files(fn_args, input_dict)


def with_files(
    fn_args: fn_args_utils.FnArgs, input_dict: dict[str, list[types.Artifact]]
) -> fn_args_utils.FnArgs:
    """Adds what `run_fn` reads of the Examples.

    They are event files and Examples of the ratings by split (`event_files`, `rating_files`),
    Examples of the users (`user_files`) and of the catalogue (`movie_files`), and the
    `DatasetSpec` as JSON values (`dataset`; None for Examples of an earlier release).
    """
    ratings = input_dict[standard_component_specs.EXAMPLES_KEY]
    fn_args.event_files, fn_args.user_files = events_of(ratings)
    fn_args.rating_files = files_by_split(ratings)
    fn_args.dataset = json.loads(ratings[0].get_string_custom_property(DATASET_SPEC) or "null")
    movies = files_by_split(input_dict[MOVIES_KEY])
    fn_args.movie_files = [path for files in movies.values() for path in files]
    return fn_args


def events_of(artifacts: list[types.Artifact]) -> tuple[dict[str, list[str]], list[str]]:
    """Returns the event files of an Examples artifact by split, and the files of its users."""
    uris = [artifact.uri for artifact in artifacts]
    names = artifact_utils.decode_split_names(artifacts[0].split_names)
    by_split = {name: [file for uri in uris for file in event_files(uri, name)] for name in names}
    return by_split, [file for uri in uris for file in files_of_split(join(uri, USERS))]


def files_by_split(artifacts: list[types.Artifact]) -> dict[str, list[str]]:
    """Returns the files of an Examples artifact by split, in the order of their names."""
    names = artifact_utils.decode_split_names(artifacts[0].split_names)
    return {
        name: [
            file
            for uri in artifact_utils.get_split_uris(artifacts, name)
            for file in files_of_split(uri)
        ]
        for name in names
    }


class Trainer(base_component.BaseComponent):
    """Trains the joint TFRS model and exports it.

    Args:
      examples: ratings, raw Examples; the splits of `config.train.splits` are fitted.
      movies: the catalogue, raw Examples.
      transform_graph: the preprocessing graph.
      schema: the curated schema.
      config: hyperparameters.
      features: the columns of the Examples.
      kind: data set and split as one word (`Kind.slug`). A model of another kind was fitted to
        test rows of this one, so it is no baseline for it.
      hyperparameters: the Tuner's choice; it goes before that of `config`.

    Outputs: `model` (a SavedModel) and `model_run` (TensorBoard's logs, losses, the
    configuration that was used).
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        movies: types.BaseChannel,
        transform_graph: types.BaseChannel,
        schema: types.BaseChannel,
        config: TrainerConfig,
        features: FeatureTable,
        kind: str,
        hyperparameters: types.BaseChannel | None = None,
    ) -> None:
        spec = TrainerSpec(
            examples=examples,
            movies=movies,
            transform_graph=transform_graph,
            schema=schema,
            hyperparameters=hyperparameters,
            run_fn=RUN_FN,
            train_args=trainer_pb2.TrainArgs(splits=list(config.train.splits)),
            eval_args=trainer_pb2.EvalArgs(splits=[VALIDATION]),
            custom_config=json_utils.dumps(
                {**config.to_json(), FEATURES_KEY: features.to_json(), MODEL_KIND: kind}
            ),
            model=types.Channel(type=standard_artifacts.Model),
            model_run=types.Channel(type=standard_artifacts.ModelRun),
        )
        super().__init__(spec=spec)
