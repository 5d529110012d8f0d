"""The preprocessing graph: one function for training, evaluation, catalogue and serving.

TensorFlow Transform runs `preprocessing_fn` over the ratings to learn vocabularies and
quantiles, and saves the graph. Every later reader (the Trainer, the exported model)
applies that graph, so there is nothing to skew. Called with the features of one owner
alone, the saved graph gives that owner's outputs alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_transform as tft

from schema import features as raw
from schema import us_states
from schema.features import FEATURES_KEY, FeatureTable, Kind
from transform import outputs as out
from transform.outputs import Output

_SECONDS_PER_HOUR = 3600
_SECONDS_PER_DAY = 24 * _SECONDS_PER_HOUR
# 1970-01-01 was a Thursday; with Monday = 0 that is day 3.
_EPOCH_WEEKDAY = 3

Column: TypeAlias = "tf.Tensor | tf.SparseTensor"
Columns: TypeAlias = tuple[Column, ...]
PreprocessingFn: TypeAlias = Callable[[Mapping[str, Column]], dict[str, Column]]


def preprocessing_fn(
    inputs: Mapping[str, Column], custom_config: Mapping[str, Any]
) -> dict[str, Column]:
    """Builds the graph from raw to transformed features.

    Args:
      inputs: raw features by column name: dense tensors `[batch]`, sparse ones of features
        that are optional or multi-valued.
      custom_config: the feature table as JSON text at `FEATURES_KEY`.

    Returns:
      int64 indices by the names in `transform.outputs`: dense `[batch]`, or sparse
      where multi-valued.
    """
    table = FeatureTable.from_json(custom_config[FEATURES_KEY])
    transformed: dict[str, Column] = {}
    for feature in table.features:
        outputs = out.made_from(feature)
        if outputs:
            columns = _TRANSFORMS[feature.kind](inputs[feature.name], outputs)
            transformed |= {
                output.name: column for output, column in zip(outputs, columns, strict=True)
            }
    return transformed


def preprocessing_of(table: FeatureTable) -> PreprocessingFn:
    """Returns the preprocessing function of a table, for callers other than TFX."""
    return functools.partial(preprocessing_fn, custom_config={FEATURES_KEY: table.to_json()})


def clean_text(values: tf.Tensor) -> tf.Tensor:
    """Strips spaces and quotes, lowers the case; an empty string becomes "unknown"."""
    values = tf.strings.regex_replace(tf.strings.lower(values), r"^[\s'\"]+|[\s'\"]+$", "")
    return tf.where(tf.equal(values, ""), raw.UNKNOWN, values)


def clean_zip_code(values: tf.Tensor) -> tf.Tensor:
    """Returns the five digits where a zip code is exactly that, "unknown" elsewhere."""
    values = tf.strings.strip(values)
    valid = tf.strings.regex_full_match(values, r"[0-9]{5}")
    return tf.where(valid, values, raw.UNKNOWN)


def zip_prefix(zip_code: tf.Tensor) -> tf.Tensor:
    """Returns the first three digits (the sorting centre) of a cleaned zip code `[batch]`."""
    unknown = tf.equal(zip_code, raw.UNKNOWN)
    return tf.where(unknown, raw.UNKNOWN, tf.strings.substr(zip_code, 0, 3))


def state_index(zip_code: tf.Tensor) -> tf.Tensor:
    """Returns 1 + the position in `us_states.STATES` of a cleaned zip code, 0 if unknown."""
    unknown = tf.equal(zip_code, raw.UNKNOWN)
    digits = tf.where(unknown, "000", tf.strings.substr(zip_code, 0, 3))
    table = tf.constant(us_states.state_index_by_prefix(), tf.int64)
    # "000" is assigned to no state, so unknown codes get 0.
    return tf.gather(table, tf.strings.to_number(digits, tf.int32))


def gender_index(values: tf.Tensor) -> tf.Tensor:
    """Maps every spelling of a gender to 1 (Female) or 2 (Male), anything else to 0."""
    values = clean_text(values)
    female = tf.strings.regex_full_match(values, r"female|f|woman|false|0(\.0)?")
    male = tf.strings.regex_full_match(values, r"male|m|man|true|t|1(\.0)?")
    return tf.cast(female, tf.int64) + 2 * tf.cast(male, tf.int64)


def age_bucket_index(age: tf.Tensor) -> tf.Tensor:
    """Returns 1 + the position of an age (years) in `AGE_BUCKETS`; 0 where it is not positive."""
    bounds = tf.constant(raw.AGE_BUCKETS, tf.float32)
    age = tf.cast(age, tf.float32)
    reached = tf.cast(tf.expand_dims(age, -1) >= bounds, tf.int64)
    # Between 0 and 1 year the youngest bucket is meant, as in the source of the buckets.
    return tf.where(age > 0, tf.maximum(tf.reduce_sum(reached, axis=-1), 1), 0)


def hour_of_day(timestamp: tf.Tensor) -> tf.Tensor:
    """Returns the hour 0-23 (UTC) of a time in unix seconds."""
    return tf.math.floormod(timestamp, _SECONDS_PER_DAY) // _SECONDS_PER_HOUR


def day_of_week(timestamp: tf.Tensor) -> tf.Tensor:
    """Returns the weekday (UTC, Monday = 0) of a time in unix seconds."""
    return tf.math.floormod(timestamp // _SECONDS_PER_DAY + _EPOCH_WEEKDAY, 7)


def title_words(titles: tf.Tensor) -> tf.Tensor:
    """Splits titles into lower-case words, without the year in brackets: sparse `[batch, n]`."""
    titles = tf.strings.regex_replace(titles, r"\(\d{4}\)\s*$", "")
    titles = tf.strings.regex_replace(tf.strings.lower(titles, "utf-8"), r"[^\p{L}\p{N}]+", " ")
    return tf.strings.split(tf.strings.strip(titles)).to_sparse()


def _index(values: Column, output: Output) -> Column:
    return tft.compute_and_apply_vocabulary(
        values,
        num_oov_buckets=output.oov_buckets,
        frequency_threshold=output.source.min_ratings or None,
        vocab_filename=output.vocabulary,
        name=output.name,
    )


def _zip_code(values: tf.Tensor, outputs: tuple[Output, ...]) -> Columns:
    zip_code = clean_zip_code(values)
    return _index(zip_prefix(zip_code), outputs[0]), state_index(zip_code)


def _quantiles(number: int, values: Column, outputs: tuple[Output, ...]) -> Columns:
    """Quantile bucket of a value (where optional, sparse `[batch, 1]`) from 1 on; 0 if missing."""
    buckets = tft.bucketize(values, number, name=outputs[0].name)
    if not isinstance(buckets, tf.SparseTensor):
        return (buckets + 1,)
    shifted = tf.SparseTensor(buckets.indices, buckets.values + 1, buckets.dense_shape)
    return (_or_zero(shifted),)


def _time(values: tf.Tensor, outputs: tuple[Output, ...]) -> Columns:
    bucket = tft.bucketize(values, out.TIME_BUCKETS, name=outputs[0].name)
    return bucket, hour_of_day(values), day_of_week(values)


def _or_zero(values: Column) -> tf.Tensor:
    """Returns `[batch]`: the value of each row, 0 where a sparse `[batch, 1]` has none."""
    if not isinstance(values, tf.SparseTensor):
        return values
    return tf.squeeze(tft.sparse_tensor_to_dense_with_shape(values, [None, 1]), axis=1)


_TRANSFORMS: Mapping[Kind, Callable[[Any, tuple[Output, ...]], Columns]] = {
    Kind.ID: lambda values, outputs: (_index(values, outputs[0]),),
    Kind.CATEGORY: lambda values, outputs: (_index(clean_text(values), outputs[0]),),
    Kind.GENDER: lambda values, outputs: (gender_index(values),),
    Kind.ZIP_CODE: _zip_code,
    Kind.TITLE: lambda values, outputs: (_index(title_words(values), outputs[0]),),
    Kind.TAGS: lambda values, outputs: (_index(values, outputs[0]),),
    Kind.AGE: lambda values, outputs: (age_bucket_index(_or_zero(values)),),
    Kind.YEAR: functools.partial(_quantiles, out.YEAR_BUCKETS),
    Kind.NUMBER: functools.partial(_quantiles, out.NUMBER_BUCKETS),
    Kind.TIME: _time,
}
"""The columns of each output of `transform.outputs.made_from`, by kind."""
