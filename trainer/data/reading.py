"""From Examples to the arrays of the training data, through the preprocessing graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft

from components.examples.reading import parse, serialized_batches
from schema.features import Feature, FeatureTable, Kind, Owner
from trainer.data.training_data import (
    Bytes,
    Catalogue,
    IntArray,
    Interactions,
    TrainingData,
    Users,
)
from transform.outputs import made_from, outputs_of

_READ_BATCH = 8192

_Columns: TypeAlias = Mapping[str, npt.NDArray[Any]]


def _read(
    paths: Sequence[str],
    features: Sequence[Feature],
    keep: Sequence[Feature],
    transform_output: tft.TFTransformOutput,
) -> dict[str, list[npt.NDArray[Any]]]:
    """Reads Examples, applies the graph, and collects outputs and the raw features in `keep`."""
    layer = transform_output.transform_features_layer()
    columns = {*features, *keep}
    wanted = {output.name for feature in features for output in made_from(feature)}

    # Nothing in it depends on a tensor's value: translating it would only cost seconds.
    @tf.autograph.experimental.do_not_convert
    def convert(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = parse(serialized, columns)
        transformed = layer({feature.name: parsed[feature.name] for feature in features})
        values = {name: value for name, value in transformed.items() if name in wanted}
        return values | {_raw(feature): parsed[feature.name] for feature in keep}

    dataset = serialized_batches(sorted(paths), _READ_BATCH)
    collected: dict[str, list[npt.NDArray[Any]]] = {}
    for batch in dataset.map(convert):
        for name, value in batch.items():
            collected.setdefault(name, []).extend(_arrays(value))
    return collected


def _raw(feature: Feature) -> str:
    """The name of a raw feature among transformed ones."""
    return f"raw/{feature.name}"


def _arrays(value: tf.Tensor | tf.SparseTensor) -> list[npt.NDArray[Any]]:
    """A dense batch as one array, a sparse one as an array per row."""
    if isinstance(value, tf.SparseTensor):
        ragged = tf.RaggedTensor.from_sparse(value)
        splits = ragged.row_splits.numpy()
        return np.split(ragged.values.numpy(), splits[1:-1]) if len(splits) > 1 else []
    array = value.numpy()
    # Fixed-width bytes: an object per id would not fit in memory for millions of ratings.
    return [array.astype(np.bytes_) if array.dtype == object else array]


def load_training_data(
    rating_paths: Sequence[str],
    movie_paths: Sequence[str],
    transform_output: tft.TFTransformOutput,
    features: FeatureTable,
) -> TrainingData:
    """Reads the Examples of the catalogue and of the ratings to train on.

    Args:
      rating_paths: files of the ratings.
      movie_paths: files of the catalogue.
      transform_output: the preprocessing graph, of the same features.
      features: the columns of the records.

    Raises:
      ValueError: there are no movies or no ratings, or a rating is of a movie that the
        catalogue does not have.
    """
    data, _ = load_fitted_and_known(rating_paths, (), movie_paths, transform_output, features)
    return data


def load_fitted_and_known(
    rating_paths: Sequence[str],
    later_paths: Sequence[str],
    movie_paths: Sequence[str],
    transform_output: tft.TFTransformOutput,
    features: FeatureTable,
) -> tuple[TrainingData, TrainingData]:
    """Reads what a model is fitted to, and what is known of the users when it is served.

    Args:
      rating_paths: files of the ratings that are fitted.
      later_paths: files of the ratings that are known beside them, such as those of the test
        split: they become histories and nothing is fitted to them.
      movie_paths: files of the catalogue.
      transform_output: the preprocessing graph, of the same features.
      features: the columns of the records.

    Returns:
      The fitted data, and all that is known: the same object where nothing is known beside it.
      Both have the same catalogue; the rows of their users differ.

    Raises:
      ValueError: as `load_training_data`.
    """
    catalogue = load_catalogue(movie_paths, transform_output, features)

    def made_of(columns: _Columns) -> TrainingData:
        interactions, users = _interactions(columns, features, catalogue)
        return TrainingData(catalogue, users, interactions, transform_output, features)

    fitted = _rating_columns(rating_paths, transform_output, features)
    if not fitted:
        raise ValueError(
            f"expected Examples of ratings to train on, received none in {len(rating_paths)} files"
        )
    data = made_of(fitted)
    later = _rating_columns(later_paths, transform_output, features)
    if not later:
        return data, data
    return data, made_of(
        {name: np.concatenate([values, later[name]]) for name, values in fitted.items()}
    )


def load_catalogue(
    paths: Sequence[str], transform_output: tft.TFTransformOutput, features: FeatureTable
) -> Catalogue:
    """Reads the catalogue's Examples and transforms them.

    Raises:
      ValueError: there are none.
    """
    named = features.title or features.item_id
    collected = _read(
        paths, features.model_inputs(Owner.MOVIE), (features.item_id, named), transform_output
    )
    if not collected:
        raise ValueError(f"expected Examples of movies, received none in {len(paths)} files")
    ids = np.concatenate(collected[_raw(features.item_id)])
    titles = np.concatenate(collected[_raw(named)])
    order = np.argsort(ids)
    indices: dict[str, IntArray | list[IntArray]] = {}
    for output in outputs_of(features).owned_by(Owner.MOVIE):
        values = collected[output.name]
        if output.multivalued:
            indices[output.name] = [values[row] for row in order]
        else:
            indices[output.name] = np.concatenate(values)[order]
    return Catalogue(ids=ids[order], titles=titles[order], features=indices)


def _rating_columns(
    paths: Sequence[str], transform_output: tft.TFTransformOutput, features: FeatureTable
) -> _Columns:
    """Reads the Examples of ratings and transforms them; returns nothing where there are none."""
    if not paths:
        return {}
    keep = [
        features.user_id,
        features.item_id,
        features.rating,
        features.timestamp,
        *features.of_kind(Kind.POSITION),
    ]
    known = features.model_inputs(Owner.USER, Owner.CONTEXT)
    collected = _read(paths, known, keep, transform_output)
    return {name: np.concatenate(values) for name, values in collected.items()}


def _interactions(
    columns: _Columns, features: FeatureTable, catalogue: Catalogue
) -> tuple[Interactions, Users]:
    """Sorts columns of ratings by user and time.

    Raises:
      ValueError: a rating is of a movie that the catalogue does not have.
    """
    user_id, item_id = features.user_id, features.item_id
    rating, time = features.rating, features.timestamp
    user_ids, first, user_row = np.unique(
        columns[_raw(user_id)], return_index=True, return_inverse=True
    )
    movie_row = rows_of(catalogue.ids, columns[_raw(item_id)])
    timestamp = columns[_raw(time)]
    position = (
        np.zeros_like(timestamp) if features.position is None else columns[_raw(features.position)]
    )
    order = np.lexsort((movie_row, position, timestamp, user_row))
    outputs = outputs_of(features)
    users = Users(
        ids=user_ids,
        features={f.name: columns[f.name][first] for f in outputs.owned_by(Owner.USER)},
    )
    interactions = Interactions(
        user_row=user_row[order],
        movie_row=movie_row[order],
        rating=columns[_raw(rating)][order].astype(np.float32),
        timestamp=timestamp[order],
        context={f.name: columns[f.name][order] for f in outputs.owned_by(Owner.CONTEXT)},
        offsets=np.searchsorted(user_row[order], np.arange(len(user_ids) + 1)),
        position=position[order],
    )
    return interactions, users


def rows_of(known: Bytes, ids: Bytes) -> IntArray:
    """Returns the position of each id in `known` (ascending).

    Raises:
      ValueError: an id is not there.
    """
    rows = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    unknown = known[rows] != ids
    if unknown.any():
        raise ValueError(
            f"expected movies of the catalogue ({len(known)} ids), "
            f"received {ids[unknown][0].decode()!r}"
        )
    return rows
