"""The Pusher component, which replaces TFX's own.

TFX's names versions by the second, skips the push if that directory exists, copies files where a
model server already sees them, and pushes an unchanged model again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.compiler import constants
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from components.pusher import executor
from components.pusher.kind import Kind


class PusherSpec(component_spec.ComponentSpec):
    """Inputs, outputs and options of the Pusher."""

    PARAMETERS = {  # noqa: RUF012 - TFX reads a plain dict
        executor.SERVING_MODEL_DIR_KEY: component_spec.ExecutionParameter(type=str),
        executor.KIND_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.EARLIER_KIND_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.DATASET_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.SETTINGS_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.REPLACE_KEY: component_spec.ExecutionParameter(type=int, optional=True),
        executor.NO_PUSH_KEY: component_spec.ExecutionParameter(type=int, optional=True),
        executor.RUN_ID_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
        executor.MODEL_BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
        ),
        executor.EVALUATION_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelEvaluation, optional=True
        ),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.PUSHED_MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.PushedModel
        ),
    }


class Pusher(base_component.BaseComponent):
    """Publishes a blessed model as a new, complete version.

    `outputs["pushed_model"]` is a `PushedModel` with these custom properties: `pushed` (1 if there
    is a new version), `reason` ("pushed", "up_to_date", "not_blessed", "other_kind" or "no_push");
    if a version holds the model, `pushed_version` (digits) and `pushed_destination` (its
    directory); `explanation`, why a model of another kind was not pushed.

    It is never cached: the serving folder can change while no input does (a version deleted,
    another model pushed). Every runner fills in the id of the run, which is part of the cache key.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        serving_model_dir: str,
        model_blessing: types.BaseChannel | None = None,
        *,
        evaluation: types.BaseChannel | None = None,
        kind: Kind | None = None,
        earlier_kind: Kind | None = None,
        dataset: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        replace: bool = False,
        no_push: bool = False,
    ) -> None:
        """Builds the component.

        Args:
          model: the `Model` of the Trainer, with a SavedModel for serving.
          serving_model_dir: the directory that a model server watches.
          model_blessing: the Evaluator's `ModelBlessing`; without it every model is pushed.
          evaluation: the Evaluator's results, for the version's run record.
          kind: the model's; without it any model may replace any, and nothing is recorded.
          earlier_kind: the kind to assume of a directory that records none.
          dataset: name, source and notice of the data, for the run record.
          settings: hyperparameters that the user set, by name, for the run record.
          replace: push even if what is served is of another kind.
          no_push: push nothing.
        """
        super().__init__(
            spec=PusherSpec(
                model=model,
                model_blessing=model_blessing,
                evaluation=evaluation,
                serving_model_dir=serving_model_dir,
                kind=_as_text(kind.to_json() if kind else None),
                earlier_kind=_as_text(earlier_kind.to_json() if earlier_kind else None),
                dataset=_as_text(dataset),
                settings=_as_text(settings or None),
                replace=int(replace) or None,
                no_push=int(no_push) or None,
                run_id=data_types.RuntimeParameter(
                    name=constants.PIPELINE_RUN_ID_PARAMETER_NAME, ptype=str
                ),
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            )
        )


def _as_text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
