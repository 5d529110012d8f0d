"""Checks raw inputs of the signatures and fills in those that are missing."""

from __future__ import annotations

import functools

import tensorflow as tf
import tensorflow_transform as tft

from schema.features import FeatureTable, Kind, Owner
from trainer.data.reading import as_read, is_given
from trainer.serving.interfaces import Features
from transform.outputs import outputs_of


def checked(lists: tf.Tensor, like: tf.Tensor, name: str, axes: int = 1) -> tf.Tensor:
    """Returns the lists after checking their number, so that an error names the input."""
    shape, expected = tf.shape(lists)[:axes], tf.shape(like)[:axes]
    message = f"expected {name} to have one list for each user_id"
    if axes > 1:
        message += ", as long as recent_movie_ids"
    # One operation where assert_equal would make a dozen.
    fits = tf.debugging.Assert(tf.reduce_all(shape == expected), [message])
    with tf.control_dependencies([fits] if fits is not None else []):
        return tf.identity(lists)


def needs_transform(table: FeatureTable, values: Features, known: tf.Tensor) -> tf.Tensor:
    """Returns whether any query has an unknown user or gives a feature of the user or context.

    Queries that give only the id of a known user, with a time or without, need no transform graph.
    """
    texts = [tf.where(known, "", values[table.user_id.name])]
    numbers, given = [], []
    for one in (*table.model_inputs(Owner.USER), *table.context):
        if one.kind is Kind.NUMBER:
            given.append(tf.reduce_any(is_given(values[one.name], one)))
        elif one.dtype != "string":
            numbers.append(tf.cast(values[one.name], tf.float32))
        elif one != table.user_id:
            texts.append(values[one.name])
    if numbers:
        given.append(tf.reduce_any(tf.concat(numbers, axis=0) > 0))
    return functools.reduce(tf.logical_or, given, tf.reduce_any(tf.concat(texts, axis=0) != ""))


def or_now(timestamp: tf.Tensor) -> tf.Tensor:
    """Returns unix seconds, those of now in place of 0."""
    return tf.where(timestamp > 0, timestamp, tf.cast(tf.timestamp(), tf.int64))


def unknown_user_features(table: FeatureTable) -> dict[str, tf.Tensor | tf.SparseTensor]:
    """Raw features of a user without a profile, every value unknown."""
    return {
        one.name: as_read(tf.constant([one.missing], one.dtype), one)
        for one in table.model_inputs(Owner.USER)
    }


def unknown_movie_features(
    table: FeatureTable, transform: tft.TransformFeaturesLayer
) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """Transforms a movie of which nothing is known; its lists are empty."""
    inputs: dict[str, tf.Tensor | tf.SparseTensor] = {}
    for feature in table.model_inputs(Owner.MOVIE):
        if feature.multivalued or feature.optional:
            inputs[feature.name] = tf.sparse.from_dense(tf.zeros([1, 0], feature.dtype))
        else:
            inputs[feature.name] = tf.zeros([1], feature.dtype)
    transformed = transform.call(inputs)
    return {
        output.name: (
            tf.RaggedTensor.from_row_lengths(tf.zeros([0], tf.int64), tf.zeros([1], tf.int64))
            if output.multivalued
            else transformed[output.name]
        )
        for output in outputs_of(table).owned_by(Owner.MOVIE)
    }
