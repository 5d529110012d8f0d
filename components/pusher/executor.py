"""The executor of the Pusher: publishes the model if it was blessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.pusher.kind import Kind
from components.pusher.publish import Origin, Publication, Reason, publish

MODEL_KEY = "model"
MODEL_BLESSING_KEY = "model_blessing"
EVALUATION_KEY = "evaluation"
SERVING_MODEL_DIR_KEY = "serving_model_dir"
KIND_KEY = "kind"
EARLIER_KIND_KEY = "earlier_kind"
DATASET_KEY = "dataset"
SETTINGS_KEY = "settings"
REPLACE_KEY = "replace"
RUN_ID_KEY = "run_id"
NO_PUSH_KEY = "no_push"
PUSHED_MODEL_KEY = "pushed_model"

BLESSED = "blessed"
"""Custom property of a ModelBlessing, as the Evaluator writes it."""

# Custom properties of the PushedModel; all but the last as TFX's own Pusher names them.
PUSHED = "pushed"
PUSHED_VERSION = "pushed_version"
PUSHED_DESTINATION = "pushed_destination"
REASON = "reason"
EXPLANATION = "explanation"

_DATASET_FIELDS = ("name", "source", "seed", "notice")
"""The fields of the data set in a run record: no paths of the machine."""


class Executor(base_executor.BaseExecutor):
    """Publishes a blessed model; a second run on the same model pushes nothing."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Publishes a blessed model unless the newest version equals it.

        Args:
          input_dict: `model` and, optionally, `model_blessing` and `evaluation`.
          output_dict: `pushed_model`.
          exec_properties: as `Pusher` describes them.

        Raises:
          InputError: the disk is full or the directory cannot be written.
        """
        pushed_model = artifact_utils.get_single_instance(output_dict[PUSHED_MODEL_KEY])
        if not self.is_blessed(input_dict):
            mark(pushed_model, Publication(Reason.NOT_BLESSED, None, None))
            return
        if exec_properties.get(NO_PUSH_KEY):
            mark(pushed_model, Publication(Reason.NO_PUSH, None, None))
            return
        destination = Path(exec_properties[SERVING_MODEL_DIR_KEY])
        origin = self.origin(input_dict, exec_properties)
        mark(pushed_model, publish(self.model_path(input_dict), destination, origin=origin))

    def origin(
        self, input_dict: dict[str, list[types.Artifact]], exec_properties: dict[str, Any]
    ) -> Origin | None:
        """Returns where the model comes from; None if the component has no kind."""
        if not exec_properties.get(KIND_KEY):
            return None
        earlier = exec_properties.get(EARLIER_KIND_KEY)
        return Origin(
            kind=Kind.from_json(json.loads(exec_properties[KIND_KEY])),
            replace=bool(exec_properties.get(REPLACE_KEY)),
            earlier=Kind.from_json(json.loads(earlier)) if earlier else None,
            run=self.run_record(input_dict, exec_properties),
        )

    def run_record(
        self, input_dict: dict[str, list[types.Artifact]], exec_properties: dict[str, Any]
    ) -> dict[str, Any]:
        """Returns run, data, settings, metrics and verdict for the version's run record."""
        dataset = json.loads(exec_properties.get(DATASET_KEY) or "{}")
        return {
            "run": self._context.pipeline_run_id if self._context else None,
            "settings": json.loads(exec_properties.get(SETTINGS_KEY) or "{}"),
            "dataset": {name: dataset.get(name) for name in _DATASET_FIELDS},
            **self._verdict(input_dict),
        }

    def _verdict(self, input_dict: dict[str, list[types.Artifact]]) -> dict[str, Any]:
        evaluations = input_dict.get(EVALUATION_KEY)
        blessings = input_dict.get(MODEL_BLESSING_KEY)
        if not evaluations or not blessings:
            return {"metrics": {}, "thresholds": [], "reasons": [], "blessed": True}
        # Imports TFMA, which takes seconds.
        from components.evaluation.verdict import read_verdict

        uris = (artifact_utils.get_single_uri(found) for found in (evaluations, blessings))
        document = read_verdict(*uris).to_json()
        return {key: document[key] for key in ("metrics", "thresholds", "reasons", "blessed")}

    def is_blessed(self, input_dict: dict[str, list[types.Artifact]]) -> bool:
        """Whether the Evaluator blessed the model; True without an Evaluator."""
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


def mark(pushed_model: types.Artifact, publication: Publication) -> None:
    """Writes the result of the push into the artifact's custom properties."""
    reason = publication.reason
    pushed_model.set_int_custom_property(PUSHED, int(reason is Reason.PUSHED))
    pushed_model.set_string_custom_property(REASON, reason.value)
    if publication.version is not None:
        pushed_model.set_string_custom_property(PUSHED_VERSION, str(publication.version))
        pushed_model.set_string_custom_property(PUSHED_DESTINATION, str(publication.path))
    if publication.explanation:
        pushed_model.set_string_custom_property(EXPLANATION, publication.explanation)
