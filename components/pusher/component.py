"""The Pusher component, in place of TFX's own.

TFX's names versions by the second, skips a push when that directory exists, copies in
plain sight of the model server and pushes an unchanged model again.
"""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.pusher import executor


class PusherSpec(component_spec.ComponentSpec):
    """What goes into the Pusher and comes out of it."""

    PARAMETERS = {  # noqa: RUF012 - TFX reads a plain dict
        executor.SERVING_MODEL_DIR_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
        executor.MODEL_BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
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
    it: `pushed` (1 if there is a new version), `reason` ("pushed", "not_blessed" or
    "up_to_date") and, unless the model was not blessed, `pushed_version` (digits) and
    `pushed_destination` (the directory of the version).

    TFX caches the execution even where the user has since deleted the version: a runner
    that finds `pushed_destination` gone must run the component again without cache.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        serving_model_dir: str,
        model_blessing: types.BaseChannel | None = None,
    ) -> None:
        """Builds the component.

        Args:
          model: the `Model` of the Trainer, with a SavedModel for serving.
          serving_model_dir: the directory that a model server watches.
          model_blessing: the Evaluator's `ModelBlessing`; without it every model is pushed.
        """
        super().__init__(
            spec=PusherSpec(
                model=model,
                model_blessing=model_blessing,
                serving_model_dir=serving_model_dir,
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            )
        )
