"""TFMA extractors that divide batches by slice instead of by row.

TFMA's own chain divides each batch into rows, copies each row once per slice and calls each metric
on each copy. The metrics here are sums, so a batch can be divided by slice: a thousand rows become
some thirty extracts instead of four thousand. The Evaluator imports this module by
`module_path="components.evaluation.extractors"`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors import slice_key_extractor
from tfx.dsl.io import fileio
from tfx.utils import path_utils
from tfx_bsl.tfxio import tensor_adapter

from components.evaluation import leak_check
from components.evaluation.config import swapped_features
from components.evaluation.directions import LEAKING_ROWS
from components.evaluation.graph_optimizer import without_graph_optimizer
from components.evaluation.leak_check import Swapped
from schema.export_contract import EVALUATION_SIGNATURE
from schema.predictions import rank_of
from schema.scenarios import NEXT_VISIT

MAX_ROWS = 1_024
"""Rows of a batch at most, which bounds the memory of its predictions."""

SliceValue: TypeAlias = str | int | float
SliceKey: TypeAlias = tuple[tuple[str, SliceValue], ...]
RowNumbers: TypeAlias = npt.NDArray[np.int64]
Column: TypeAlias = Any
"""A column of a batch in any of the forms that `rows_by_value` takes."""
Batch: TypeAlias = Mapping[str, "Batch"] | npt.NDArray[Any] | None
"""Labels or predictions of a batch: `[rows]`, by output and model where there are several."""


def custom_eval_shared_model(
    eval_saved_model_path: str,
    model_name: str,
    eval_config: tfma.EvalConfig,
    add_metrics_callbacks: list[Callable[..., object]] | None = None,
) -> tfma.types.EvalSharedModel:
    """Returns the model to evaluate; the Evaluator calls this function by its name.

    The Evaluator passes the folder of the model to serve, whose tables hold the test ratings. The
    model to evaluate, without them, is in TFX's folder for evaluation models.

    Args:
      eval_saved_model_path: folder of the model to serve, in the artifact.
      model_name: the candidate's or the baseline's.
      eval_config: the configuration, with defaults filled in.
      add_metrics_callbacks: None; for other types of models.
    """
    evaluated = path_utils.eval_model_dir(str(Path(eval_saved_model_path).parent))
    # Models of earlier releases have one folder for both.
    if not fileio.exists(evaluated):
        evaluated = eval_saved_model_path
    return tfma.default_eval_shared_model(
        eval_saved_model_path=evaluated,
        model_name=model_name,
        eval_config=eval_config,
        add_metrics_callbacks=add_metrics_callbacks,
    )


def custom_extractors(
    eval_shared_model: tfma.types.MaybeMultipleEvalSharedModels,
    eval_config: tfma.EvalConfig,
    tensor_adapter_config: tensor_adapter.TensorAdapterConfig | None = None,
) -> list[tfma.extractors.Extractor]:
    """Returns the extractors; the Evaluator calls this function by its name with these arguments.

    Args:
      eval_shared_model: the model, or the list of candidate and baseline.
      eval_config: the configuration, with defaults filled in.
      tensor_adapter_config: how to parse features, when the Evaluator was given a schema.

    Returns:
      Extractors whose last one yields one extract per batch and slice.
    """
    representations = (
        tensor_adapter_config.tensor_representations if tensor_adapter_config else None
    )
    return [
        SmallBatchExtractor(),
        tfma.extractors.FeaturesExtractor(
            eval_config=eval_config, tensor_representations=representations
        ),
        tfma.extractors.LabelsExtractor(eval_config=eval_config),
        tfma.extractors.ExampleWeightsExtractor(eval_config=eval_config),
        LeakCheckExtractor(eval_config),
        PredictionExtractor(eval_shared_model),
        SliceBatchExtractor(eval_config),
    ]


def SmallBatchExtractor() -> tfma.extractors.Extractor:
    """Returns an extractor that divides batches into batches of at most `MAX_ROWS` rows."""
    return tfma.extractors.Extractor(
        stage_name="DivideBatches", ptransform=beam.FlatMap(small_batches)
    )


def small_batches(extracts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the extracts of a batch once per `MAX_ROWS` of its rows."""
    batch = extracts[tfma.ARROW_RECORD_BATCH_KEY]
    for first in range(0, batch.num_rows, MAX_ROWS):
        yield {**extracts, tfma.ARROW_RECORD_BATCH_KEY: batch.slice(first, MAX_ROWS)}


def LeakCheckExtractor(eval_config: tfma.EvalConfig) -> tfma.extractors.Extractor:
    """Returns an extractor that adds batches of copied rows, which the leak check compares.

    Args:
      eval_config: holds the names of the features that are swapped; without them nothing is
        added.
    """
    return tfma.extractors.Extractor(
        stage_name="ExtractLeakCheck",
        ptransform=beam.ParDo(_AddCopies(swapped_features(eval_config))),
    )


# Beam has no types: mypy sees a base class of type Any, or not, by version.
class _AddCopies(beam.DoFn):  # type: ignore[misc, unused-ignore]
    """Yields each batch and, behind it, one of the copies of some of its rows."""

    def __init__(self, swapped: Swapped | None) -> None:
        self._swapped = swapped

    def process(self, element: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield element
        rows = leak_check.sample(len(element[tfma.INPUT_KEY]))
        # The copies of a single row would be the row.
        if self._swapped is None or len(rows) < 2:
            return
        examples = [element[tfma.INPUT_KEY][row] for row in rows]
        copies = leak_check.copies(examples, self._swapped)
        repeated = np.tile(rows, leak_check.COPIES)
        yield {
            tfma.INPUT_KEY: np.array(copies, dtype=object),
            tfma.FEATURES_KEY: {},
            tfma.LABELS_KEY: _take(element[tfma.LABELS_KEY], repeated),
            _IS_COPY: np.ones(len(copies), np.bool_),
        }


def PredictionExtractor(
    eval_shared_model: tfma.types.MaybeMultipleEvalSharedModels,
) -> tfma.extractors.Extractor:
    """Returns an extractor that adds the evaluation signature's outputs for each batch.

    Args:
      eval_shared_model: the model, or the list of candidate and baseline. Outputs of several are
        nested under the models' names, as TFMA's own extractor nests them.
    """
    several = eval_shared_model if isinstance(eval_shared_model, list) else [eval_shared_model]
    return tfma.extractors.Extractor(
        stage_name="ExtractPredictions",
        ptransform=beam.ParDo(_Predict({one.model_name: one.model_loader for one in several})),
    )


# Beam has no types, as above.
class _Predict(beam.DoFn):  # type: ignore[misc, unused-ignore]
    """Yields each batch with the predictions of its rows."""

    def __init__(self, loaders: Mapping[str, tfma.types.ModelLoader]) -> None:
        self._loaders = loaders

    def setup(self) -> None:
        self._models = {name: loader.load() for name, loader in self._loaders.items()}

    def process(self, element: dict[str, Any]) -> Iterator[dict[str, Any]]:
        examples = tf.constant(element[tfma.INPUT_KEY], tf.string)
        found: dict[str, Batch] = {}
        for name, model in self._models.items():
            with without_graph_optimizer():
                outputs = model.signatures[EVALUATION_SIGNATURE](examples)
            found[name] = {output: values.numpy() for output, values in outputs.items()}
        yield {
            **element,
            tfma.PREDICTIONS_KEY: found if len(found) > 1 else found[next(iter(found))],
        }


def SliceBatchExtractor(eval_config: tfma.EvalConfig) -> tfma.extractors.Extractor:
    """Returns an extractor that cuts batches by slice, in the place of TFMA's own.

    Args:
      eval_config: holds the slicing specs; none means the overall slice.
    """
    specs = list(eval_config.slicing_specs) or [tfma.SlicingSpec()]
    return tfma.extractors.Extractor(
        # The metrics evaluator runs after the stage of this name.
        stage_name=slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME,
        ptransform=beam.ParDo(_CutBySlice(specs)),
    )


_IS_COPY = "is_copy_for_leak_check"
"""Marks batches of copies."""


# Beam has no types, as above.
class _CutBySlice(beam.DoFn):  # type: ignore[misc, unused-ignore]
    """Yields, per slice in a batch, the labels and predictions of its rows."""

    def __init__(self, specs: Sequence[tfma.SlicingSpec]) -> None:
        self._specs = specs

    def process(self, element: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if _IS_COPY in element:
            yield _leak_check_of(element)
            return
        features = element[tfma.FEATURES_KEY]
        rows = len(element[tfma.INPUT_KEY])
        for key, members in slices_of(self._specs, features, rows).items():
            yield {
                tfma.SLICE_KEY_TYPES_KEY: _single_key(key),
                tfma.LABELS_KEY: _take(element[tfma.LABELS_KEY], members),
                tfma.PREDICTIONS_KEY: _take(element[tfma.PREDICTIONS_KEY], members),
                tfma.EXAMPLE_WEIGHTS_KEY: None,
            }


def _leak_check_of(element: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an extract of no row that says which of the checked rows had answers that moved."""
    predictions = element[tfma.PREDICTIONS_KEY]
    if rank_of(NEXT_VISIT) in predictions:
        found: dict[str, Any] = {LEAKING_ROWS: leak_check.moved(predictions)}
    else:  # of a candidate and a baseline
        found = {
            model: {LEAKING_ROWS: leak_check.moved(outputs)}
            for model, outputs in predictions.items()
        }
    return {
        tfma.SLICE_KEY_TYPES_KEY: _single_key(()),
        tfma.LABELS_KEY: _take(element[tfma.LABELS_KEY], np.zeros(0, np.int64)),
        tfma.PREDICTIONS_KEY: found,
        tfma.EXAMPLE_WEIGHTS_KEY: None,
    }


def slices_of(
    specs: Sequence[tfma.SlicingSpec], features: Mapping[str, Column], rows: int
) -> dict[SliceKey, RowNumbers]:
    """Returns each slice in a batch with the numbers of its rows, never an empty one.

    A row without a value for a slicing feature is in no slice of that feature; a row
    with several values is in several. A slice that two specs describe holds a row once.

    Args:
      specs: what to slice by, as in `tfma.EvalConfig`.
      features: columns by name as TFMA's features extractor makes them.
      rows: rows in the batch.
    """
    slices: dict[SliceKey, RowNumbers] = {}
    for spec in specs:
        for key, members in _slices_of_spec(spec, features, rows).items():
            if members.size:
                slices[key] = np.union1d(slices[key], members) if key in slices else members
    return slices


def _slices_of_spec(
    spec: tfma.SlicingSpec, features: Mapping[str, Column], rows: int
) -> dict[SliceKey, RowNumbers]:
    groups: dict[SliceKey, RowNumbers] = {(): np.arange(rows, dtype=np.int64)}
    for column in sorted([*spec.feature_keys, *spec.feature_values]):
        by_value = rows_by_value(features.get(column), rows)
        if column in spec.feature_values:
            wanted = spec.feature_values[column]
            by_value = {v: where for v, where in by_value.items() if str(v) == wanted}
        groups = {
            (*key, (column, value)): np.intersect1d(members, where)
            for key, members in groups.items()
            for value, where in by_value.items()
        }
    return groups


def rows_by_value(column: Column, rows: int) -> dict[SliceValue, RowNumbers]:
    """Returns the row numbers of each value in a column.

    Args:
      column: None (no row has the feature); a dense array, `[rows]` or `[rows, values]`;
        a `VarLenTensorValue`; or an object array with None where a row has no value.
      rows: rows in the batch.

    Raises:
      ValueError: the column does not have one entry per row.
    """
    if column is None:
        return {}
    if hasattr(column, "indices"):  # sparse: some rows have no value, or several
        values, where = np.asarray(column.values), np.asarray(column.indices)[:, 0]
    else:
        values, where = _dense_values(np.asarray(column), rows)
    if values.size == 0:
        return {}
    if values.dtype == object:
        values = np.array([_text(value) for value in values])
    unique, codes = np.unique(values, return_inverse=True)
    return {
        _python_value(value): np.unique(where[codes == code]) for code, value in enumerate(unique)
    }


def _dense_values(column: npt.NDArray[Any], rows: int) -> tuple[npt.NDArray[Any], RowNumbers]:
    """Returns the values of a dense column, flat, and the row of each."""
    if column.shape[:1] != (rows,):
        raise ValueError(f"expected a column of {rows} rows, received shape {column.shape}")
    if column.ndim == 1 and column.dtype == object and any(_is_row_of_values(v) for v in column):
        lists = [() if value is None else tuple(value) for value in column]
        flat = np.array([value for row in lists for value in row], dtype=object)
        return flat, np.repeat(np.arange(rows), [len(row) for row in lists])
    where = np.repeat(np.arange(rows), column.size // rows if rows else 0)
    return column.reshape(-1), where


def _is_row_of_values(value: object) -> bool:
    return value is None or isinstance(value, np.ndarray | list)


def _text(value: object) -> object:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _python_value(value: np.generic) -> SliceValue:
    """Returns a value that TFMA can write in a slice key: it knows no numpy types."""
    plain: SliceValue = value.item()
    return plain


def _single_key(key: SliceKey) -> npt.NDArray[Any]:
    """Returns `[1]` holding the key; filled by hand so that numpy does not unpack it."""
    keys = np.empty(1, dtype=object)
    keys[0] = key
    return keys


def _take(values: Batch, members: RowNumbers) -> Batch:
    """Returns the rows `members` of an array, or of every array in nested dicts."""
    if isinstance(values, Mapping):
        return {name: _take(value, members) for name, value in values.items()}
    if hasattr(values, "indices"):
        raise ValueError("expected one label and one of each output on every row, found gaps")
    return None if values is None else np.asarray(values)[members]
