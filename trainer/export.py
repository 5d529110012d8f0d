"""Writes the exported model: one SavedModel that answers with plain TensorFlow."""

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
      evaluation: its evaluation.

    Attributes:
      candidates: `[movies, dim]` candidate vectors.
      similarity_vectors: `[movies + 1, dim]` unit vectors, near where the same people like
        both; the last one stands for "no movie".
    """

    def __init__(self, serving: ServingModel, evaluation: Evaluation) -> None:
        super().__init__(name="exported_model")
        self.serving, self.evaluation = serving, evaluation
        self.candidates = serving.candidates
        self.similarity_vectors = serving.movies.similarity_vectors


def export(
    serving: ServingModel, evaluation: Evaluation, path: str, descriptions: Mapping[str, Any]
) -> None:
    """Writes the SavedModel with its signatures and, beside it, what describes it.

    Args:
      serving: the model.
      evaluation: its evaluation.
      path: a new directory.
      descriptions: JSON values by file name, which go to `assets.extra/`.
    """
    evaluate = traced(evaluation.evaluate, examples=EXAMPLES)
    tf.saved_model.save(
        ExportedModel(serving, evaluation),
        path,
        signatures={**signatures(serving), EVALUATION_SIGNATURE: evaluate},
        options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
    )
    extra = Path(path) / "assets.extra"
    extra.mkdir()
    for name, value in descriptions.items():
        text = json.dumps(value, ensure_ascii=False)
        (extra / name).write_text(text + "\n", encoding="utf-8")
