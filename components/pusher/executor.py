"""Publishes the model if it was blessed, and writes down what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.pusher.publish import Publication, Reason, publish

MODEL_KEY = "model"
MODEL_BLESSING_KEY = "model_blessing"
SERVING_MODEL_DIR_KEY = "serving_model_dir"
PUSHED_MODEL_KEY = "pushed_model"

BLESSED = "blessed"
"""Custom property of a ModelBlessing, as the Evaluator writes it."""

# Custom properties of the PushedModel; all but the last as TFX's own Pusher names them.
PUSHED = "pushed"
PUSHED_VERSION = "pushed_version"
PUSHED_DESTINATION = "pushed_destination"
REASON = "reason"


class Executor(base_executor.BaseExecutor):
    """Executor of `Pusher`; running it twice on one model pushes once."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Publishes a blessed model that is not the newest version already.

        Args:
          input_dict: `model` and, optionally, `model_blessing`.
          output_dict: `pushed_model`.
          exec_properties: `serving_model_dir`.

        Raises:
          InputError: the disk is full or the directory cannot be written.
        """
        pushed_model = artifact_utils.get_single_instance(output_dict[PUSHED_MODEL_KEY])
        if not self.is_blessed(input_dict):
            mark(pushed_model, Reason.NOT_BLESSED)
            return
        destination = Path(exec_properties[SERVING_MODEL_DIR_KEY])
        publication = publish(self.model_path(input_dict), destination)
        mark(pushed_model, publication.reason, publication)

    def is_blessed(self, input_dict: dict[str, list[types.Artifact]]) -> bool:
        """Returns the Evaluator's word; without an Evaluator every model may be pushed."""
        blessings = input_dict.get(MODEL_BLESSING_KEY)
        if not blessings:
            return True
        blessing = artifact_utils.get_single_instance(blessings)
        return bool(blessing.get_int_custom_property(BLESSED) == 1)

    def model_path(self, input_dict: dict[str, list[types.Artifact]]) -> Path:
        """Returns the directory of the SavedModel in the `model` artifact."""
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        return Path(
            path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
        )


def mark(
    pushed_model: types.Artifact, reason: Reason, publication: Publication | None = None
) -> None:
    """Writes what came of the push into the artifact's custom properties."""
    pushed_model.set_int_custom_property(PUSHED, int(reason is Reason.PUSHED))
    pushed_model.set_string_custom_property(REASON, reason.value)
    if publication is not None:
        pushed_model.set_string_custom_property(PUSHED_VERSION, str(publication.version))
        pushed_model.set_string_custom_property(PUSHED_DESTINATION, str(publication.path))
