"""The preprocessing graph: one function for training, evaluation, catalogue and serving.

TensorFlow Transform runs `preprocessing_fn` over the ratings to learn vocabularies and
quantiles, and saves the graph. Every later reader (the Trainer, the exported model)
applies that graph, so there is nothing to skew. Called with the features of one owner
alone, the saved graph gives that owner's outputs alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
import tensorflow_transform as tft

from schema import features as raw
from schema import us_states
from transform import outputs as out

_SECONDS_PER_HOUR = 3600
_SECONDS_PER_DAY = 24 * _SECONDS_PER_HOUR
# 1970-01-01 was a Thursday; with Monday = 0 that is day 3.
_EPOCH_WEEKDAY = 3


def preprocessing_fn(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Builds the graph from raw to transformed features.

    Args:
      inputs: raw features by column name: dense tensors `[batch]`, sparse tensors for
        genres, age and the release year.

    Returns:
      int64 indices by the names in `transform.outputs`: dense `[batch]`, or sparse
      where multi-valued.
    """
    zip_code = clean_zip_code(inputs[raw.ZIP_CODE.name])
    timestamp = inputs[raw.TIMESTAMP.name]
    return {
        out.USER_ID.name: _index(inputs[raw.USER_ID.name], out.USER_ID),
        out.GENDER.name: gender_index(inputs[raw.GENDER.name]),
        out.AGE_BUCKET.name: age_bucket_index(_or_zero(inputs[raw.AGE.name])),
        out.OCCUPATION.name: _index(clean_text(inputs[raw.OCCUPATION.name]), out.OCCUPATION),
        out.ZIP_PREFIX.name: _index(zip_prefix(zip_code), out.ZIP_PREFIX),
        out.STATE.name: state_index(zip_code),
        out.TIME_BUCKET.name: tft.bucketize(timestamp, out.TIME_BUCKETS, name=out.TIME_BUCKET.name),
        out.HOUR_OF_DAY.name: hour_of_day(timestamp),
        out.DAY_OF_WEEK.name: day_of_week(timestamp),
        out.MOVIE_ID.name: _index(inputs[raw.MOVIE_ID.name], out.MOVIE_ID),
        out.GENRES.name: _index(inputs[raw.GENRES.name], out.GENRES),
        out.TITLE_WORDS.name: _index(
            title_words(inputs[raw.TITLE.name]), out.TITLE_WORDS, out.WORD_MIN_RATINGS
        ),
        out.RELEASE_YEAR.name: _release_year_bucket(inputs[raw.RELEASE_YEAR.name]),
        out.DIRECTOR.name: _index(
            clean_text(inputs[raw.DIRECTOR.name]), out.DIRECTOR, out.WORD_MIN_RATINGS
        ),
        out.STAR.name: _index(clean_text(inputs[raw.STAR.name]), out.STAR, out.WORD_MIN_RATINGS),
    }


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


def _index(values: tf.Tensor, output: out.Output, min_count: int | None = None) -> tf.Tensor:
    return tft.compute_and_apply_vocabulary(
        values,
        num_oov_buckets=output.oov_buckets,
        frequency_threshold=min_count,
        vocab_filename=output.vocabulary,
        name=output.name,
    )


def _release_year_bucket(years: tf.Tensor) -> tf.Tensor:
    """Quantile bucket of the release year (sparse `[batch, 1]`) from 1 on; 0 where missing."""
    buckets = tft.bucketize(years, out.RELEASE_YEAR_BUCKETS, name=out.RELEASE_YEAR.name)
    shifted = tf.SparseTensor(buckets.indices, buckets.values + 1, buckets.dense_shape)
    return _or_zero(shifted)


def _or_zero(values: tf.SparseTensor) -> tf.Tensor:
    """Returns `[batch]`: the value of each row (sparse `[batch, 1]`), 0 where it is missing."""
    return tf.squeeze(tft.sparse_tensor_to_dense_with_shape(values, [None, 1]), axis=1)
