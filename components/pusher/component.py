"""The Pusher component, which replaces TFX's own.

TFX's names versions by the second, skips the push if that directory exists, copies files where a
model server already sees them, and pushes an unchanged model again.
"""

# Without `from __future__ import annotations`: TFX reads the types of the arguments.

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.compiler import constants
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import data_types
from tfx.types.standard_artifacts import Model, ModelBlessing, ModelEvaluation, PushedModel
from tfx.utils import path_utils

from components.pusher.kind import Kind
from components.pusher.publish import Origin, Publication, Reason, publish

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


@component
def Pusher(
    model: InputArtifact[Model],
    pushed_model: OutputArtifact[PushedModel],
    serving_model_dir: Parameter[str],
    run_id: Parameter[str],
    model_blessing: InputArtifact[ModelBlessing] = None,
    evaluation: InputArtifact[ModelEvaluation] = None,
    kind: Parameter[str] = "",
    dataset: Parameter[str] = "{}",
    settings: Parameter[str] = "{}",
    replace: Parameter[int] = 0,
    no_push: Parameter[int] = 0,
) -> None:
    """Publishes a blessed model as a new, complete version unless the newest version equals it.

    It is never cached: the serving folder can change while no input does (a version deleted,
    another model pushed). Every runner fills in the id of the run, which is part of the cache key.

    Args:
      model: of the Trainer, with a SavedModel for serving.
      pushed_model: gets the custom properties `pushed` (1 if there is a new version) and `reason`
        ("pushed", "up_to_date", "not_blessed", "other_kind" or "no_push"); if a version holds the
        model, `pushed_version` (digits) and `pushed_destination` (its directory); `explanation`,
        why a model of another kind was not pushed.
      model_blessing: the Evaluator's; without it every model is pushed.
      evaluation: the Evaluator's results, for the version's run record.

    The other arguments are those that `push_options` returns.

    Raises:
      InputError: the disk is full or the directory cannot be written.
    """
    if model_blessing and model_blessing.get_int_custom_property(BLESSED) != 1:
        mark(pushed_model, Publication(Reason.NOT_BLESSED, None, None))
        return
    if no_push:
        mark(pushed_model, Publication(Reason.NO_PUSH, None, None))
        return
    origin = None
    if kind:
        data = json.loads(dataset)
        record = {
            "run": run_id,
            "settings": json.loads(settings),
            "dataset": {name: data.get(name) for name in _DATASET_FIELDS},
            **_verdict(evaluation, model_blessing),
        }
        origin = Origin(Kind.from_json(json.loads(kind)), bool(replace), record)
    is_old = path_utils.is_old_model_artifact(model)
    folder = Path(path_utils.serving_model_path(model.uri, is_old))
    mark(pushed_model, publish(folder, Path(serving_model_dir), origin=origin))


def push_options(
    serving_model_dir: str,
    *,
    kind: Kind | None = None,
    dataset: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    replace: bool = False,
    no_push: bool = False,
) -> dict[str, Any]:
    """Returns the arguments of `Pusher` that are no channels.

    Args:
      serving_model_dir: the directory that a model server watches.
      kind: the model's; without it any model may replace any, and nothing is recorded.
      dataset: name, source and notice of the data, for the run record.
      settings: hyperparameters that the user set, by name, for the run record.
      replace: push even if what is served is of another kind.
      no_push: push nothing.
    """
    options = {
        "kind": _as_text(kind.to_json() if kind else None),
        "dataset": _as_text(dataset),
        "settings": _as_text(settings or None),
        "replace": int(replace),
        "no_push": int(no_push),
    }
    run_id = data_types.RuntimeParameter(constants.PIPELINE_RUN_ID_PARAMETER_NAME, ptype=str)
    given = {name: value for name, value in options.items() if value}
    return {"serving_model_dir": serving_model_dir, "run_id": run_id, **given}


def _as_text(value: Mapping[str, Any] | None) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _verdict(evaluation: types.Artifact | None, blessing: types.Artifact | None) -> dict[str, Any]:
    """Returns metrics and verdict for the version's run record."""
    if not evaluation or not blessing:
        return {"metrics": {}, "thresholds": [], "reasons": [], "blessed": True}
    # Imports TFMA, which takes seconds.
    from components.evaluation.verdict import read_verdict

    document = read_verdict(evaluation.uri, blessing.uri).to_json()
    return {key: document[key] for key in ("metrics", "thresholds", "reasons", "blessed")}


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
