"""The Pusher component, in place of TFX's own.

TFX's names versions by the second, skips a push when that directory exists, copies in
plain sight of the model server and pushes an unchanged model again.
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
    """What goes into the Pusher and comes out of it."""

    PARAMETERS = {  # noqa: RUF012 - TFX reads a plain dict
        executor.SERVING_MODEL_DIR_KEY: component_spec.ExecutionParameter(type=str),
        executor.KIND_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.EARLIER_KIND_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.DATASET_KEY: component_spec.ExecutionParameter(type=str, optional=True),
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
    """Publishes a blessed model as a new version, whole or not at all.

    `outputs["pushed_model"]` is a `PushedModel` whose custom properties say what came of
    it: `pushed` (1 if there is a new version), `reason` ("pushed", "up_to_date",
    "not_blessed", "other_kind" or "no_push") and, if a version holds the model,
    `pushed_version` (digits) and `pushed_destination` (the directory of the version).
    `explanation` says why a model of another kind was not pushed.

    It is never cached, under any runner: what is served can change without any input of the
    component doing so (a version deleted, another model pushed), so the id of the run, which
    every runner fills in, is part of the cache key.
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
        replace: bool = False,
        no_push: bool = False,
    ) -> None:
        """Builds the component.

        Args:
          model: the `Model` of the Trainer, with a SavedModel for serving.
          serving_model_dir: the directory that a model server watches.
          model_blessing: the Evaluator's `ModelBlessing`; without it every model is pushed.
          evaluation: the Evaluator's results, which travel with the version.
          kind: of the model; without it every model may replace any, and nothing is recorded.
          earlier_kind: of a directory that has versions and no record, where it is known.
          dataset: name, source and notice of the data, for the version's record.
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
