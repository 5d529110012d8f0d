"""From event files and Examples to the arrays of the training data, through the graph."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft

from components.examples.events import codes_of, map_events
from components.examples.reading import parse, parse_first, serialized_batches
from schema.features import MOVIE_ID, Feature, FeatureTable, Kind, Owner
from trainer.data.training_data import (
    Bytes,
    Catalogue,
    Floats,
    IntArray,
    Interactions,
    TrainingData,
    Users,
    most_rated,
    unknown_context,
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
    """Reads Examples, applies the graph, and collects outputs and the raw features in `keep`.

    Of the latter it is one value a record, that for "missing" where there is none.
    """
    # `call`: see `trainer.serving.module.ServingModel`.
    layer = transform_output.transform_features_layer()
    wanted = {output.name for feature in features for output in made_from(feature)}

    # Nothing in it depends on a tensor's value: translating it would only cost seconds.
    @tf.autograph.experimental.do_not_convert
    def convert(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        kept = parse_first(serialized, keep)
        transformed = layer.call(parse(serialized, features))
        values = {name: value for name, value in transformed.items() if name in wanted}
        return values | {_raw(feature): kept[feature.name] for feature in keep}

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
    event_paths: Sequence[str],
    user_paths: Sequence[str],
    movie_paths: Sequence[str],
    transform_output: tft.TFTransformOutput,
    features: FeatureTable,
    validation_paths: Sequence[str] = (),
    movies: int | None = None,
) -> TrainingData:
    """Reads the catalogue, the users and the ratings to train on.

    Args:
      event_paths: event files of the ratings (`components.examples.events`).
      user_paths: files of the users' Examples.
      movie_paths: files of the catalogue's Examples.
      transform_output: the preprocessing graph, of the same features.
      features: the columns of the records.
      validation_paths: those of `event_paths` that are marked as validation.
      movies: how many movies the catalogue has at most, those with most ratings.

    Raises:
      ValueError: there are no movies or no ratings, or a rating is of a movie or a user that the
        files do not have.
    """
    data, _ = load_fitted_and_known(
        event_paths,
        (),
        user_paths,
        movie_paths,
        transform_output,
        features,
        validation_paths,
        movies,
    )
    return data


def load_fitted_and_known(
    event_paths: Sequence[str],
    later_paths: Sequence[str],
    user_paths: Sequence[str],
    movie_paths: Sequence[str],
    transform_output: tft.TFTransformOutput,
    features: FeatureTable,
    validation_paths: Sequence[str] = (),
    movies: int | None = None,
) -> tuple[TrainingData, TrainingData]:
    """Reads what a model is fitted to, and what is known of the users when it is served.

    Args:
      event_paths: event files of the ratings that are fitted.
      later_paths: event files of the ratings that are known beside them, such as those of the
        test split: they become histories and nothing is fitted to them.
      user_paths: files of the users' Examples.
      movie_paths: files of the catalogue's Examples.
      transform_output: the preprocessing graph, of the same features.
      features: the columns of the records.
      validation_paths: those of `event_paths` that are marked as validation.
      movies: how many movies the catalogue has at most, those with most fitted ratings; ratings of
        the others are in neither result.

    Returns:
      The fitted data, and all that is known: the same object where nothing is known beside it.
      Both have the same catalogue; the rows of their users differ.

    Raises:
      ValueError: as `load_training_data`.
    """
    catalogue = load_catalogue(movie_paths, transform_output, features)
    everybody = _load_users(user_paths, transform_output, features)

    def made_of(paths: Sequence[str]) -> TrainingData:
        interactions, users = load_interactions(
            paths, everybody, catalogue, transform_output, features, validation_paths
        )
        return TrainingData(catalogue, users, interactions, transform_output, features)

    data = made_of(event_paths)
    if not len(data.interactions):
        raise ValueError(
            f"expected ratings to train on, received none in {len(event_paths)} event files"
        )
    known = made_of([*event_paths, *later_paths]) if later_paths else data
    same = len(known.interactions) == len(data.interactions)
    if movies is not None and len(catalogue.ids) > movies:
        rows = most_rated(data.ratings_per_movie, movies)
        left_out = len(data.interactions) - int(data.ratings_per_movie[rows].sum())
        catalogue = catalogue.of_rows(rows, left_out)
        data, known = data.of_movies(rows, catalogue), known.of_movies(rows, catalogue)
    return data, data if same else known


def load_catalogue(
    paths: Sequence[str], transform_output: tft.TFTransformOutput, features: FeatureTable
) -> Catalogue:
    """Reads the catalogue's Examples and transforms them.

    Raises:
      ValueError: there are none.
    """
    named = features.title or features.item_id
    years = [one for one in features.owned_by(Owner.MOVIE) if one.kind is Kind.YEAR]
    keep = (features.item_id, named, *years)
    collected = _read(paths, features.model_inputs(Owner.MOVIE), keep, transform_output)
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
    known = [np.concatenate(collected[_raw(year)])[order] for year in years[:1]]
    return Catalogue(
        ids=ids[order],
        titles=titles[order],
        features=indices,
        years=known[0] if known else np.zeros(len(ids), np.int64),
    )


def _load_users(
    paths: Sequence[str], transform_output: tft.TFTransformOutput, features: FeatureTable
) -> Users:
    """Reads the users' Examples and transforms them."""
    user_id, inputs = features.user_id, features.model_inputs(Owner.USER)
    categories = [one for one in inputs if one.kind is Kind.CATEGORY]
    collected = _read(paths, inputs, (user_id, *categories), transform_output)
    columns = {name: np.concatenate(values) for name, values in collected.items()}
    ids, first = np.unique(columns.get(_raw(user_id), np.zeros(0, np.bytes_)), return_index=True)
    found = outputs_of(features).owned_by(Owner.USER) if len(ids) else ()
    spellings = {}
    for output in found:
        if output.source in categories:
            known = transform_output.vocabulary_size_by_name(output.vocabulary)
            texts = columns[_raw(output.source)][first]
            spellings[output.source.name] = _spellings(columns[output.name][first], texts, known)
    return Users(ids, {output.name: columns[output.name][first] for output in found}, spellings)


def _spellings(indices: IntArray, texts: Bytes, known: int) -> list[str]:
    """Returns the most frequent text of each index below `known` that there is, by index."""
    pairs = collections.Counter(zip(indices.tolist(), texts.tolist(), strict=True))
    found = {index: text for (index, text), _ in reversed(pairs.most_common()) if index < known}
    return [found[index].decode("utf-8").strip() for index in sorted(found)]


def load_interactions(
    paths: Sequence[str],
    everybody: Users,
    catalogue: Catalogue,
    transform_output: tft.TFTransformOutput,
    features: FeatureTable,
    validation_paths: Sequence[str] = (),
) -> tuple[Interactions, Users]:
    """Returns the ratings of event files, by user and time, and the users who gave them.

    Args:
      paths: the event files.
      everybody: users, at least those of the ratings.
      catalogue: every movie.
      transform_output: the preprocessing graph.
      features: the columns of the event files.
      validation_paths: those of `paths` that are marked as validation.

    Raises:
      ValueError: a rating is of a movie or a user that the others do not have.
    """
    paths = sorted(paths)
    files = [map_events(path) for path in paths]
    of_validation = [path in validation_paths for path in paths]
    timestamp = _values(files, features.of_kind(Kind.TIME), np.int64)
    position = _values(files, features.of_kind(Kind.POSITION), np.int64)
    movie_row = _rows(files, features.item_id, catalogue.ids)
    in_all = _rows(files, features.user_id, everybody.ids)
    rated = np.bincount(in_all, minlength=len(everybody.ids)) > 0
    user_row = (np.cumsum(rated, dtype=np.int32) - np.int32(1))[in_all]
    order = np.lexsort((movie_row, position, timestamp, user_row))
    user_row, timestamp = user_row[order], timestamp[order]
    users = Users(
        everybody.ids[rated],
        {name: values[rated] for name, values in everybody.features.items()},
        everybody.spellings,
    )
    interactions = Interactions(
        user_row=user_row,
        movie_row=movie_row[order],
        rating=_stars(files, features)[order],
        timestamp=timestamp,
        context=_context(files, order, timestamp, transform_output, features),
        offsets=np.searchsorted(user_row, np.arange(len(users.ids) + 1)),
        position=position[order] if features.position is not None else position,
        validation=(
            np.repeat(of_validation, [file.num_rows for file in files])[order]
            if any(of_validation)
            else np.zeros(0, np.bool_)
        ),
    )
    return interactions, users


def _rows(files: Sequence[pa.RecordBatch], feature: Feature, known: Bytes) -> npt.NDArray[np.int32]:
    """Returns the position in `known` (ascending) of each rating's id."""
    rows = [np.zeros(0, np.int32)]
    for file in files:
        ids, codes = codes_of(file.column(feature.name))
        rated = np.bincount(codes, minlength=len(ids)) > 0
        row_of = np.zeros(len(ids), np.int32)
        row_of[rated] = rows_of(known, ids[rated], feature)
        rows.append(row_of[codes])
    return np.concatenate(rows)


def _stars(files: Sequence[pa.RecordBatch], features: FeatureTable) -> Floats:
    """Returns all ratings as the models take them; zeros where the data has none."""
    ratings: Floats = _values(files, features.of_kind(Kind.RATING), np.float32)
    if not features.has_rating:
        return ratings
    return np.asarray(features.scale.to_stars(ratings), np.float32)


def _values(
    files: Sequence[pa.RecordBatch], named: Sequence[Feature], dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """Returns a column of all ratings; zeros, which take no memory, where the data has none."""
    if not named:
        return np.broadcast_to(np.zeros((), dtype), sum(file.num_rows for file in files))
    values = [file.column(named[0].name).to_numpy() for file in files]
    return np.concatenate([np.zeros(0, dtype), *values])


def _context(
    files: Sequence[pa.RecordBatch],
    order: npt.NDArray[np.intp],
    timestamp: IntArray,
    transform_output: tft.TFTransformOutput,
    features: FeatureTable,
) -> dict[str, npt.NDArray[np.signedinteger[Any]]]:
    """Returns the transformed features of the context, `[ratings]` by name.

    Args:
      files: the event files.
      order: `[ratings]` places of the ratings in these.
      timestamp: `[ratings]` unix seconds, in that order.
      transform_output: the preprocessing graph.
      features: the columns of the event files.
    """
    outputs = outputs_of(features).owned_by(Owner.CONTEXT)
    if not outputs or not files:
        return {}
    layer, inputs = (
        transform_output.transform_features_layer(),
        features.model_inputs(Owner.CONTEXT),
    )
    columns = {one.name: _column(files, one) for one in features.context}
    # Called eagerly, the layer takes four times as long; larger batches leave more memory behind.
    transform = tf.function(
        lambda values: layer.call({one.name: as_read(values[one.name], one) for one in inputs}),
        input_signature=[{one.name: tf.TensorSpec([None], one.dtype) for one in inputs}],
        autograph=False,
    )
    context: dict[str, npt.NDArray[np.signedinteger[Any]]] = {
        output.name: np.empty(
            len(order), np.int16 if output.size(transform_output) < 2**15 else np.int32
        )
        for output in outputs
    }
    for start in range(0, len(order), _READ_BATCH):
        batch = slice(start, start + _READ_BATCH)
        values = {name: _taken(column, order[batch]) for name, column in columns.items()}
        values |= {one.name: timestamp[batch] for one in features.of_kind(Kind.TIME)}
        found = transform({name: tf.constant(column) for name, column in values.items()})
        for output, indices in context.items():
            indices[batch] = found[output].numpy()
    for one, unknown in unknown_context(outputs_of(features), transform_output).items():
        # A value that is too rare for the vocabulary is not known of a query either.
        context[one.name][context[one.name] >= unknown.end] = unknown.value
    return context


def _column(files: Sequence[pa.RecordBatch], feature: Feature) -> pa.Array | npt.NDArray[Any]:
    """Returns a context feature of all ratings: text as dictionary, a missing number as NaN."""
    column = pa.chunked_array([file.column(feature.name) for file in files])
    if feature.dtype == "string":
        return column.unify_dictionaries().combine_chunks()
    return column.to_numpy()


def _taken(column: pa.Array | npt.NDArray[Any], rows: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    if isinstance(column, np.ndarray):
        return column[rows]
    return column.take(pa.array(rows)).dictionary_decode().to_numpy(zero_copy_only=False)


def is_given(values: tf.Tensor, feature: Feature) -> tf.Tensor:
    """Returns whether each value is given.

    Given is text that is not blank, an age or year above 0, any other number that is not NaN.
    """
    if feature.kind is Kind.NUMBER:
        return ~tf.math.is_nan(values)
    if values.dtype == tf.string:
        return tf.not_equal(tf.strings.strip(values), "")
    return values > 0


def as_read(values: tf.Tensor, feature: Feature) -> tf.Tensor | tf.SparseTensor:
    """Returns `[batch]` values of a feature in the form that the transform graph takes.

    Values of an optional feature become a sparse `[batch, 1]` tensor without those that are not
    given; values of any other feature are returned as they are.
    """
    if feature.kind is Kind.NUMBER and feature.optional:
        rows = tf.where(is_given(values, feature))
        shape = tf.stack([tf.size(values, tf.int64), 1])
        return tf.SparseTensor(tf.pad(rows, [[0, 0], [0, 1]]), tf.gather_nd(values, rows), shape)
    return tf.sparse.from_dense(values[:, tf.newaxis]) if feature.optional else values


def rows_of(known: Bytes, ids: Bytes, feature: Feature = MOVIE_ID) -> IntArray:
    """Returns the position of each id in `known` (ascending).

    Raises:
      ValueError: an id is not there.
    """
    rows = np.minimum(np.searchsorted(known, ids), max(len(known) - 1, 0))
    unknown = known[rows] != ids if len(known) else np.ones(len(ids), np.bool_)
    if unknown.any():
        raise ValueError(
            f"expected {feature.owner.value}s of the {len(known)} known ids, "
            f"received {ids[unknown][0].decode()!r}"
        )
    return rows
