"""The Tuner component: TFX's, with the movie catalogue and a record of every trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.trainer import fn_args_utils
from tfx.components.tuner import executor as tfx_executor
from tfx.components.util import udf_utils
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter
from tfx.utils import json_utils

from components.names import TRAIN, VALIDATION
from schema.features import FEATURES_KEY, FeatureTable
from trainer.component import MOVIES_KEY, with_files
from trainer.config import TRIALS_FILE, TrainerConfig, TunerConfig
from trainer.tuning import TUNER_KEY

TUNER_FN = "trainer.tuning.tuner_fn"


class TunerSpec(standard_component_specs.TunerSpec):
    """TFX's spec of the Tuner, with the catalogue as one more input."""

    INPUTS = {  # noqa: RUF012 - the base class's form
        **standard_component_specs.TunerSpec.INPUTS,
        MOVIES_KEY: ChannelParameter(type=standard_artifacts.Examples),
    }


class Executor(tfx_executor.Executor):
    """Runs the search that `tuner_fn` sets up, and writes the best values and every trial."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Searches.

        Raises:
          ValueError: no trial succeeded.
        """
        fn_args = fn_args_utils.get_common_fn_args(input_dict, exec_properties, self._get_tmp_dir())
        tuner_fn = udf_utils.get_fn(exec_properties, standard_component_specs.TUNER_FN_KEY)
        search = tuner_fn(with_files(fn_args, input_dict))
        search.tuner.search(**search.fit_kwargs)
        record = search.tuner.record()
        tfx_executor.write_best_hyperparameters(search.tuner, output_dict)
        results = output_dict[standard_component_specs.TUNER_RESULTS_KEY]
        path = Path(artifact_utils.get_single_uri(results)) / TRIALS_FILE
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


class Tuner(base_component.BaseComponent):
    """Searches hyperparameters: fits on train, judges on validation.

    Args:
      examples: ratings, raw Examples.
      movies: the catalogue, raw Examples.
      transform_graph: the preprocessing graph.
      schema: the curated schema.
      config: the values that the first trial has, and those that are not searched.
      features: the columns of the Examples.
      tuner: how much is searched.

    Outputs: `best_hyperparameters` (for the Trainer) and `tuner_results` (every trial, in
    `trials.json` with how it was judged).
    """

    SPEC_CLASS = TunerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        movies: types.BaseChannel,
        transform_graph: types.BaseChannel,
        schema: types.BaseChannel,
        config: TrainerConfig,
        features: FeatureTable,
        tuner: TunerConfig,
    ) -> None:
        spec = TunerSpec(
            examples=examples,
            movies=movies,
            transform_graph=transform_graph,
            schema=schema,
            tuner_fn=TUNER_FN,
            train_args=trainer_pb2.TrainArgs(splits=[TRAIN]),
            eval_args=trainer_pb2.EvalArgs(splits=[VALIDATION]),
            custom_config=json_utils.dumps(
                {**config.to_json(), FEATURES_KEY: features.to_json(), TUNER_KEY: tuner.to_json()}
            ),
            best_hyperparameters=types.Channel(type=standard_artifacts.HyperParameters),
            tuner_results=types.Channel(type=standard_artifacts.TunerResults),
        )
        super().__init__(spec=spec)
