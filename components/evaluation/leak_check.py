"""The leak check: finds models whose query reads features of the movie to be predicted.

A served query has neither that movie nor its rating. A sample of the test rows is therefore
evaluated again with features of another row, and these outputs must stay the same:

- with the other row's movie features and rating, but the row's own movie id: the movie's rank and
  predicted rating, and every list;
- with the other row's movie id as well: every list;
- with the other row's time and context features as well: the list of the next visit, of which a
  user has only one.

Sums in another order change scores in their last digits and can swap two movies of nearly equal
score; such differences are tolerated.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from schema.features import FeatureTable, Kind, Owner, names
from schema.predictions import LIST_LENGTH, NO_ITEM, items_of, rank_of, rating_of
from schema.scenarios import NEXT_VISIT, SCENARIOS

Outputs: TypeAlias = Mapping[str, npt.NDArray[Any]]
Bools: TypeAlias = npt.NDArray[np.bool_]

COPIES = 4
"""Examples per row of the sample: itself and its three changed copies."""

LEAST_ROWS = 10
"""Rows of a batch in the sample, or the share `SHARE` if that is more."""
SHARE = 0.01

_STARS = 1e-3
_PLACES = 2.0
_SHARE_OF_RANK = 0.01
_ITEMS = 1
"""Tolerated differences: predicted rating (stars), rank (absolute, relative), movies of a list."""


@dataclasses.dataclass(frozen=True)
class Swapped:
    """The features that are swapped with those of another row.

    Attributes:
      movie: the movie's and the rating's, without the movie's id.
      item_id: the movie's id.
      context: the time of the row, if the data has times, and its context features.
    """

    movie: tuple[str, ...]
    item_id: str
    context: tuple[str, ...]

    @classmethod
    def of(cls, table: FeatureTable) -> Swapped:
        """Returns the features of a table."""
        owned = (feature.name for feature in table.owned_by(Owner.MOVIE, Owner.LABEL))
        movie = tuple(name for name in owned if name != table.item_id.name)
        context = names((*table.of_kind(Kind.TIME), *table.context))
        return cls(movie, table.item_id.name, context)

    def to_json(self) -> str:
        """Returns the names as JSON text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Swapped:
        """Returns what `to_json` wrote."""
        value = json.loads(text)
        return cls(tuple(value["movie"]), value["item_id"], tuple(value["context"]))


def sample(rows: int) -> npt.NDArray[np.int64]:
    """Returns the row numbers of a batch to check, evenly spread."""
    count = min(rows, max(LEAST_ROWS, int(rows * SHARE)))
    return np.linspace(0, rows - 1, count).astype(np.int64) if rows else np.zeros(0, np.int64)


def copies(examples: Sequence[bytes], swapped: Swapped) -> list[bytes]:
    """Returns `COPIES` times as many examples: the rows, then the three kinds of copies.

    Each copy gets features of the row before it.

    Args:
      examples: serialized tf.Examples.
      swapped: which features.
    """
    rows = [tf.train.Example.FromString(example) for example in examples]
    others = [rows[place - 1] for place in range(len(rows))]
    groups = (
        swapped.movie,
        (*swapped.movie, swapped.item_id),
        (*swapped.movie, swapped.item_id, *swapped.context),
    )
    made = list(examples)
    for group in groups:
        made += [_with(row, other, group) for row, other in zip(rows, others, strict=True)]
    return made


def _with(row: tf.train.Example, other: tf.train.Example, group: Sequence[str]) -> bytes:
    """Returns the row with features replaced by those of another, which may lack some."""
    copy = tf.train.Example()
    copy.CopyFrom(row)
    for name in group:
        copy.features.feature.pop(name, None)
        if name in other.features.feature:
            copy.features.feature[name].CopyFrom(other.features.feature[name])
    serialized: bytes = copy.SerializeToString()
    return serialized


def moved(answers: Outputs) -> Bools:
    """Returns which rows have an output that differs although it must not.

    Args:
      answers: the evaluation signature's outputs for what `copies` returned; of data without
        ratings or times some are absent.

    Returns:
      `[rows]`, as many as were given to `copies`.
    """

    def of(name: str) -> list[npt.NDArray[Any]]:
        return np.split(np.asarray(answers[name]), COPIES)

    found = np.zeros(len(of(rank_of(NEXT_VISIT))[0]), np.bool_)
    for scenario in SCENARIOS:
        if rank_of(scenario) not in answers:
            continue
        if rating_of(scenario) in answers:
            row, other_features, *_ = of(rating_of(scenario))
            found |= ~np.isclose(row, other_features, rtol=0.0, atol=_STARS, equal_nan=True)
        row, other_features, *_ = of(rank_of(scenario))
        allowed = np.maximum(_PLACES, _SHARE_OF_RANK * np.abs(row))
        found |= np.abs(row - other_features) > allowed
        row, other_features, other_movie, other_context = of(items_of(scenario))
        found |= _differ(row, other_features) | _differ(row, other_movie)
        if scenario is NEXT_VISIT:
            found |= _differ(row, other_context)
    return found


def _differ(lists: npt.NDArray[Any], others: npt.NDArray[Any]) -> Bools:
    """Returns which rows of two `[rows, LIST_LENGTH]` lists differ in more than `_ITEMS` movies."""
    same = (lists[:, :, np.newaxis] == others[:, np.newaxis, :]) & (
        lists[:, :, np.newaxis] != NO_ITEM
    )
    longest = np.maximum(np.sum(lists != NO_ITEM, axis=1), np.sum(others != NO_ITEM, axis=1))
    differing: Bools = longest - np.sum(same, axis=(1, 2)) > _ITEMS
    assert lists.shape[1] == LIST_LENGTH
    return differing
