"""Writes the exported models: SavedModels that plain TensorFlow loads.

One is for serving, one for the Evaluator and the HTML report. They have the same fitted parts and
differ in the histories of their users: those of the first hold every rating, those of the second
the ratings that the parts were fitted to, so that test ratings are not among them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from schema.export_contract import EVALUATION_SIGNATURE
from trainer.evaluation.signature import Evaluation
from trainer.serving.module import ServingModel
from trainer.serving.signatures import EXAMPLES, signatures, traced


class ExportedModel(tf.Module):
    """What programs that load the SavedModel find beside its signatures.

    Args:
      serving: the model.
      evaluation: its evaluation; None in the model that is served.

    Attributes:
      candidates: `[movies, dim]` candidate vectors.
      similarity_vectors: `[movies + 1, dim]` unit vectors, close where the same users like both
        movies; the last one stands for "no movie".
    """

    def __init__(self, serving: ServingModel, evaluation: Evaluation | None = None) -> None:
        super().__init__(name="exported_model")
        self.serving, self.evaluation = serving, evaluation
        self.candidates = serving.candidates
        self.similarity_vectors = serving.movies.similarity_vectors


def export(serving: ServingModel, path: str, descriptions: Mapping[str, Any]) -> None:
    """Writes the SavedModel that is served and, beside it, what describes it.

    Args:
      serving: the model.
      path: a new directory.
      descriptions: JSON values by file name, which go to `assets.extra/`.
    """
    _save(ExportedModel(serving), path, signatures(serving), descriptions)


def export_evaluation(evaluation: Evaluation, path: str, descriptions: Mapping[str, Any]) -> None:
    """Writes the SavedModel that is evaluated: the same signatures, and the evaluation's.

    Args:
      evaluation: the evaluation of a model.
      path: a new directory.
      descriptions: as of `export`.
    """
    evaluate = traced(evaluation.evaluate, examples=EXAMPLES)
    serving = evaluation.serving
    _save(
        ExportedModel(serving, evaluation),
        path,
        {**signatures(serving), EVALUATION_SIGNATURE: evaluate},
        descriptions,
    )


def _save(
    model: ExportedModel,
    path: str,
    functions: Mapping[str, tf.types.experimental.ConcreteFunction],
    descriptions: Mapping[str, Any],
) -> None:
    tf.saved_model.save(
        model,
        path,
        signatures=dict(functions),
        options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
    )
    extra = Path(path) / "assets.extra"
    extra.mkdir()
    for name, value in descriptions.items():
        text = json.dumps(value, ensure_ascii=False)
        (extra / name).write_text(text + "\n", encoding="utf-8")
