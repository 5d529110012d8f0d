"""Counts over the ratings, taken in one pass of large batches.

TensorFlow reads, unzips and parses in C++; Python sees columns of numbers. What is kept
grows with users, movies and stars, never with ratings.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from components.examples.reading import files_of_split, parse, serialized_batches
from components.report.sources import splits
from schema import features as raw
from schema.features import MOVIELENS, Feature, FeatureTable, Kind, Owner

IntArray = npt.NDArray[np.int64]

MAX_ROWS = 2_000_000
"""Ratings read per split: beyond that, the shards that are left are not opened."""

BATCH = 32_768

COUNTED_AT_ONCE = 8_192
"""Ratings per batch of the counts: 30 MB less memory than with `BATCH`, and no slower."""

_MISSING = {"string": raw.UNKNOWN, "int64": -1, "float32": float("nan")}
# Ratings are counted by half stars.
_HALVES = int(2 * raw.RATING_MAX) + 1
_DAYS, _HOURS = 7, 24
_SECONDS_PER_HOUR = 3600
# 1970-01-01 was a Thursday; with Monday = 0 that is day 3.
_EPOCH_WEEKDAY = 3


@dataclasses.dataclass(frozen=True)
class RatingCounts:
    """How often each thing was rated with how many stars.

    Attributes:
      stars: the ratings that occur, ascending, `[levels]`; to the nearest half star.
      by_split: ratings per split, `[levels]` each.
      users: a row per user, ascending by id: a column for each of `user_facts`, index the id.
      by_user: `[users, levels]`.
      movie_ids: ids of the movies rated, ascending.
      by_movie: `[movies, levels]`.
      by_hour: `[7 weekdays from Monday, 24 hours, levels]`, in UTC.
      by_day: ratings by day since 1970-01-01 (UTC); days without any are left out.
      complete: whether every rating was read.
    """

    stars: npt.NDArray[np.float64]
    by_split: Mapping[str, IntArray]
    users: pd.DataFrame
    by_user: IntArray
    movie_ids: IntArray
    by_movie: IntArray
    by_hour: IntArray
    by_day: Mapping[int, int]
    complete: bool

    @property
    def ratings(self) -> int:
        """How many ratings were counted."""
        return int(self.by_user.sum())

    def mean(self, counts: IntArray) -> npt.NDArray[np.float64]:
        """Returns mean stars along the last axis of counts; NaN where nothing was counted."""
        totals = counts.sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(counts @ self.stars / totals)


def user_facts(table: FeatureTable) -> tuple[Feature, ...]:
    """Returns what is kept of each user: the features of one value but the id, in table order."""
    of_users = table.owned_by(Owner.USER)
    return tuple(f for f in of_users if f.kind is not Kind.ID and not f.multivalued)


def count_ratings(
    ratings: Path, table: FeatureTable = MOVIELENS, *, max_rows: int = MAX_ROWS
) -> RatingCounts:
    """Counts the ratings of every split of an Examples artifact.

    Args:
      ratings: the artifact's folder.
      table: the columns of its records.
      max_rows: shards of a split are read until they held so many ratings.
    """
    users, movies, times = _Table(user_facts(table)), _Table(), _Times()
    by_split: dict[str, IntArray] = {}
    complete = True
    for name, folder in splits(ratings).items():
        before = users.counts.sum(axis=0)
        complete &= _count_split(folder, table, max_rows, users, movies, times)
        by_split[name] = users.counts.sum(axis=0) - before
    levels = np.flatnonzero(users.counts.sum(axis=0))
    user_order, movie_order = np.argsort(users.ids), np.argsort(movies.ids)
    return RatingCounts(
        stars=levels / 2.0,
        by_split={name: counts[levels] for name, counts in by_split.items()},
        users=users.facts().iloc[user_order].rename_axis(table.user_id.name),
        by_user=users.counts[user_order][:, levels],
        movie_ids=np.array(movies.ids, np.int64)[movie_order],
        by_movie=movies.counts[movie_order][:, levels],
        by_hour=times.by_hour.reshape(_DAYS, _HOURS, _HALVES)[..., levels],
        by_day=dict(sorted(times.by_day.items())),
        complete=complete,
    )


def _count_split(
    folder: Path,
    table: FeatureTable,
    max_rows: int,
    users: _Table,
    movies: _Table,
    times: _Times,
) -> bool:
    rows = 0
    for shard in files_of_split(folder):
        if rows >= max_rows:
            return False
        for batch in read(shard, table, COUNTED_AT_ONCE):
            rows += _count_batch(batch, table, users, movies, times)
    return True


def _count_batch(
    batch: Mapping[str, tf.Tensor],
    table: FeatureTable,
    users: _Table,
    movies: _Table,
    times: _Times,
) -> int:
    level = np.rint(2 * batch[table.rating.name].numpy()).astype(np.int64).clip(0, _HALVES - 1)
    ids, first, inverse = np.unique(
        batch[table.user_id.name].numpy(), return_index=True, return_inverse=True
    )
    rows, new = users.rows(ids)
    if new.any():
        at = first[new]
        users.add_facts({f.name: tf.gather(batch[f.name], at).numpy() for f in users.columns})
    users.add(rows[inverse], level)
    ids, inverse = np.unique(batch[table.item_id.name].numpy(), return_inverse=True)
    movies.add(movies.rows(ids)[0][inverse], level)
    times.add(batch[table.timestamp.name].numpy(), level)
    return len(level)


class _Table:
    """Counts by half stars for ids that appear one after the other, and facts of each id."""

    def __init__(self, columns: tuple[Feature, ...] = ()) -> None:
        self.columns = columns
        self.ids: list[int] = []
        self._rows: dict[int, int] = {}
        self._counts = np.zeros([0, _HALVES], np.int64)
        self._facts: list[pd.DataFrame] = []

    @property
    def counts(self) -> IntArray:
        return self._counts[: len(self.ids)]

    def rows(self, ids: IntArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Returns the row of each id (all different), and which of them are new."""
        before = len(self.ids)
        for number in ids.tolist():
            if number not in self._rows:
                self._rows[number] = len(self.ids)
                self.ids.append(number)
        found = np.array([self._rows[number] for number in ids.tolist()], np.int64)
        if len(self.ids) > len(self._counts):
            grown = np.zeros([2 * len(self.ids), _HALVES], np.int64)
            grown[:before] = self._counts[:before]
            self._counts = grown
        return found, found >= before

    def add(self, rows: IntArray, level: IntArray) -> None:
        """Counts one rating per row number."""
        _tally(self._counts.reshape(-1), rows * _HALVES + level)

    def add_facts(self, columns: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Takes in the facts of the ids that were new, in the order of their rows."""
        self._facts.append(pd.DataFrame({k: _decoded(v) for k, v in columns.items()}))

    def facts(self) -> pd.DataFrame:
        """Returns the facts by id, in the order of the rows."""
        if not self._facts:
            return pd.DataFrame({feature.name: [] for feature in self.columns})
        table = pd.concat(self._facts, ignore_index=True)
        table.index = pd.Index(self.ids)
        return table


class _Times:
    """Counts by hour of the week and half stars, and by day."""

    def __init__(self) -> None:
        self.by_hour = np.zeros(_DAYS * _HOURS * _HALVES, np.int64)
        self.by_day: collections.Counter[int] = collections.Counter()

    def add(self, seconds: IntArray, level: IntArray) -> None:
        """Counts one rating per time in seconds since 1970."""
        hours = seconds // _SECONDS_PER_HOUR
        days = hours // _HOURS
        weekday = (days + _EPOCH_WEEKDAY) % _DAYS
        _tally(self.by_hour, (weekday * _HOURS + hours % _HOURS) * _HALVES + level)
        found, how_often = np.unique(days, return_counts=True)
        self.by_day.update(dict(zip(found.tolist(), how_often.tolist(), strict=True)))


def _tally(counts: IntArray, indices: IntArray) -> None:
    """Adds 1 at each index, which may repeat."""
    where, how_often = np.unique(indices, return_counts=True)
    counts[where] += how_often


def _decoded(values: npt.NDArray[np.generic]) -> list[object]:
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values.tolist()]


def read(
    shard: str, table: FeatureTable = MOVIELENS, size: int = BATCH
) -> Iterator[Mapping[str, tf.Tensor]]:
    """Yields batches of columns: ids as numbers, a missing number as NaN or -1."""
    return iter(serialized_batches([shard], size).map(_parser(table)))


@functools.cache
def _parser(table: FeatureTable) -> tf.types.experimental.GenericFunction:
    columns = (table.user_id, table.item_id, table.rating, table.timestamp, *user_facts(table))

    def parsed(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = parse(examples, columns, _MISSING)
        for feature in (table.user_id, table.item_id):
            batch[feature.name] = tf.strings.to_number(batch[feature.name], tf.int64)
        return dict(batch)

    return tf.function(parsed, autograph=False)


def catalogue_tags(table: FeatureTable) -> dict[str, Feature]:
    """Returns the movies' features of several values, by their column of the catalogue.

    The first is called "genres", whatever its name in the records.
    """
    found = [f for f in table.owned_by(Owner.MOVIE) if f.kind is Kind.TAGS]
    return {"genres" if place == 0 else f.name: f for place, f in enumerate(found)}


def catalogue_names(table: FeatureTable) -> tuple[Feature, ...]:
    """Returns the movies' features that name somebody or something: columns by their names."""
    return tuple(f for f in table.owned_by(Owner.MOVIE) if f.kind is Kind.CATEGORY)


def read_catalogue(movies: Path, table: FeatureTable = MOVIELENS) -> pd.DataFrame:
    """Returns the catalogue: a row per movie in the artifact's order, index the id.

    Columns: title, "unknown" where the table has none; year, NaN where unknown; those of
    `catalogue_tags`, each a tuple of texts, and of `catalogue_names`.
    """
    tags, named = catalogue_tags(table), catalogue_names(table)
    year = next((f for f in table.owned_by(Owner.MOVIE) if f.kind is Kind.YEAR), None)
    single = [table.item_id, *named, *(f for f in (table.title, year) if f is not None)]
    files = [file for folder in splits(movies).values() for file in files_of_split(folder)]
    parts = []
    for records in serialized_batches(files, BATCH):
        parsed = dict(parse(records, (*single, *tags.values()), _MISSING))
        listed = {column: parsed.pop(feature.name) for column, feature in tags.items()}
        part = pd.DataFrame({name: _decoded(value.numpy()) for name, value in parsed.items()})
        for column, values in listed.items():
            part[column] = _tuples(values)
        parts.append(part)
    if not parts:
        return empty_catalogue(table)
    found = pd.concat(parts, ignore_index=True)
    item_id = table.item_id.name
    found.index = pd.Index(found.pop(item_id).astype("int64"), name=item_id)
    roles = {"title": table.title, "year": year}
    found = found.rename(columns={f.name: role for role, f in roles.items() if f is not None})
    if table.title is None:
        found["title"] = raw.UNKNOWN
    years = found["year"].astype("float64") if year is not None else np.nan
    found["year"] = pd.Series(years, found.index).where(lambda held: held >= 0)
    if "genres" not in found:
        found["genres"] = [()] * len(found)
    return found


def empty_catalogue(table: FeatureTable) -> pd.DataFrame:
    """Returns the columns of `read_catalogue` without a movie."""
    named = (feature.name for feature in catalogue_names(table))
    return pd.DataFrame(columns=["title", "year", *(catalogue_tags(table) or ("genres",)), *named])


def _tuples(values: tf.SparseTensor) -> list[tuple[str, ...]]:
    rows = tf.RaggedTensor.from_sparse(values).to_list()
    return [tuple(value.decode("utf-8", "replace") for value in row) for row in rows]
