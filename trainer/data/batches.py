"""Batches of whole users, for the training of the towers and of the rating network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.config import TrainConfig
from trainer.data.training_data import IntArray, Interactions, Users


def user_batches(
    interactions: Interactions, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yields the ratings of one epoch, whole users at a time, in random order.

    A user's ratings stay together and in order of time, so that history and recency are
    computed once per user and batch. A user with more ratings than a batch holds comes in
    several pieces.

    Yields:
      `[n]` positions in `interactions`, and `[n]` the number of the piece, from 0 on.
    """
    pieces = [
        (start, min(start + batch_size, end))
        for first, end in zip(interactions.offsets[:-1], interactions.offsets[1:], strict=True)
        for start in range(first, end, batch_size)
    ]
    batch: list[IntArray] = []
    rows = 0
    for piece in rng.permutation(len(pieces)):
        positions = np.arange(*pieces[piece])
        if rows and rows + len(positions) > batch_size:
            yield _join(batch)
            batch, rows = [], 0
        batch.append(positions)
        rows += len(positions)
    yield _join(batch)


def _join(pieces: list[IntArray]) -> tuple[IntArray, IntArray]:
    lengths = [len(piece) for piece in pieces]
    return np.concatenate(pieces), np.repeat(np.arange(len(pieces)), lengths)


def batch_tensors(
    interactions: Interactions, users: Users, positions: IntArray, segments: IntArray
) -> dict[str, npt.NDArray[Any]]:
    """Gathers one batch: the ratings at `positions` with the features of user and context.

    `place` is how many ratings of the user are before each in event order, `ties` how many of
    those are not known to be earlier (`Interactions.ties`).
    """
    user_row = interactions.user_row[positions]
    features = {name: values[user_row] for name, values in users.features.items()}
    context = {
        name: values[positions].astype(np.int64) for name, values in interactions.context.items()
    }
    return {
        **features,
        **context,
        "movie_row": interactions.movie_row[positions].astype(np.int64),
        "rating": interactions.rating[positions],
        "timestamp": interactions.timestamp[positions],
        "segment": segments,
        "place": positions - interactions.offsets[user_row],
        "ties": interactions.ties[positions],
    }


def training_dataset(
    interactions: Interactions, users: Users, config: TrainConfig
) -> tf.data.Dataset:
    """Returns batches without end: epoch after epoch, each in a new order, from the seed on.

    Epochs differ in their number of batches, as whole users are packed in another order.
    Keras takes the first epoch's number for all and stops training at a shorter one, so
    the stream must not end.
    """

    def generate() -> Iterator[dict[str, npt.NDArray[Any]]]:
        rng = np.random.default_rng(config.seed)
        while True:
            for positions, segments in user_batches(interactions, config.batch_size, rng):
                yield batch_tensors(interactions, users, positions, segments)

    example = batch_tensors(interactions, users, np.zeros(1, np.int64), np.zeros(1, np.int64))
    signature = {name: tf.TensorSpec([None], value.dtype) for name, value in example.items()}
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)
