"""The ratings and the catalogue as data frames, and what groups of ratings have in common.

Ratings come from the event files, as columns: 28 bytes each; ids are categorical, so each id's text
is kept once. What is known of users and movies is parsed from tf.Examples.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.special
import tensorflow as tf

from components.examples.events import USERS, event_files, map_events
from components.examples.reading import files_of_split, parse, serialized_batches
from components.report.sources import splits
from schema import features as raw
from schema.features import MOVIELENS, Feature, FeatureTable, Kind, Owner

MAX_ROWS = 2_000_000
"""Ratings read per split."""

BATCH = 8_192

USER, MOVIE, RATING, SECONDS, SPLIT = "user", "movie", "rating", "seconds", "split"
"""Columns of `Ratings.rows`."""

TITLE, YEAR = "title", "year"
"""Columns of the catalogue, whatever their names in the records."""

_EVENTS = "events"
"""The one column of counts of data without ratings."""

_MISSING = {"string": raw.UNKNOWN, "int64": -1, "float32": float("nan")}
_HALF, _MOST_STEPS = 0.5, 20
_SURE = 0.975  # 95 % intervals


@dataclasses.dataclass(frozen=True)
class Ratings:
    """The ratings of a run, after the cleanup; of data without ratings, its events.

    Attributes:
      rows: one per rating: ids of `USER` and `MOVIE`, categorical; the name of its `SPLIT`; where
        the data has them, `RATING` to the nearest half, or on a scale longer than ten to one of
        about twenty steps, and `SECONDS` since 1970.
      users: the features of each user that have one value, by id; numbers ascend.
      complete: whether every rating was read.
    """

    rows: pd.DataFrame
    users: pd.DataFrame
    complete: bool

    @functools.cached_property
    def by_user(self) -> pd.DataFrame:
        """How many ratings of each value each user gave: ids by row, values by column."""
        return self._counts(USER)

    @functools.cached_property
    def by_movie(self) -> pd.DataFrame:
        """How many ratings of each value each movie got: ids by row, values by column."""
        return self._counts(MOVIE)

    @property
    def values(self) -> tuple[float, ...]:
        """The values that ratings have, ascending; none where the data has no ratings."""
        return tuple(self.by_user.columns) if RATING in self.rows else ()

    @functools.cached_property
    def mean(self) -> float:
        """The mean rating; NaN where the data has none."""
        return float(self.rows[RATING].mean()) if RATING in self.rows else math.nan

    def _counts(self, member: str) -> pd.DataFrame:
        if RATING not in self.rows:
            counts = self.rows.groupby(member, observed=True).size().to_frame(_EVENTS)
        else:
            keys = [member, RATING]
            counts = self.rows.groupby(keys, observed=True).size().unstack(fill_value=0)
        counts.index = counts.index.astype(object)
        return counts.sort_index(key=in_order)


def in_order(ids: pd.Index) -> pd.Index:
    """Returns what to sort ids by, so that 10 comes after 9."""
    return ids.astype(str).str.zfill(20)


def read_ratings(
    ratings: Path, table: FeatureTable = MOVIELENS, *, max_rows: int = MAX_ROWS
) -> Ratings:
    """Reads the ratings of every split of an Examples artifact, at most `max_rows` of each."""
    columns = {table.user_id.name: USER, table.item_id.name: MOVIE}
    columns |= {table.rating.name: RATING} if table.has_rating else {}
    columns |= {table.timestamp.name: SECONDS} if table.has_time else {}
    of_users = table.owned_by(Owner.USER)
    facts = (f for f in of_users if f.kind is not Kind.ID and not f.multivalued)
    users = _parsed(files_of_split(ratings / USERS), [table.user_id, *facts])
    parts, complete = [], True
    for split in splits(ratings):
        left = max_rows
        for path in event_files(ratings, split):
            events = pa.Table.from_batches([map_events(path)]).select(list(columns))
            complete = complete and len(events) <= left
            part = events.slice(0, left)
            parts.append(part.append_column(SPLIT, pa.array([split] * len(part), pa.string())))
            left -= len(part)
    if not parts:
        return Ratings(pd.DataFrame(columns=[USER, RATING]), users, complete)
    rows = pa.concat_tables(parts).unify_dictionaries().to_pandas().rename(columns=columns)
    for column in (USER, MOVIE):
        rows[column] = rows[column].cat.rename_categories(bytes.decode)
    if table.has_rating:
        span = table.scale.high - table.scale.low
        step = _HALF if span <= _MOST_STEPS * _HALF else math.ceil(span / _MOST_STEPS)
        rows[RATING] = np.rint(rows[RATING] / step) * step
    return Ratings(rows, users.sort_index(key=in_order), complete)


def _parsed(files: Sequence[str], features: Sequence[Feature]) -> pd.DataFrame:
    """Returns features of records by the first one; several values are a tuple."""
    parts = [pd.DataFrame(columns=[feature.name for feature in features])]
    for records in serialized_batches(files, BATCH):
        parsed = parse(records, features, _MISSING)
        parts.append(pd.DataFrame({name: _values(column) for name, column in parsed.items()}))
    found = pd.concat(parts, ignore_index=True).infer_objects()
    return found.set_index(features[0].name).rename_axis(None)


def _values(column: tf.Tensor | tf.SparseTensor) -> list[Any]:
    if isinstance(column, tf.SparseTensor):
        return [tuple(map(_text, row)) for row in tf.RaggedTensor.from_sparse(column).to_list()]
    return [_text(value) for value in column.numpy().tolist()]


def _text(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def of_movies(table: FeatureTable, *kinds: Kind) -> list[Feature]:
    """Returns the movies' features of these kinds, such as the genres of `Kind.TAGS`."""
    return [f for kind in kinds for f in table.of_kind(kind) if f.owner is Owner.MOVIE]


def read_catalogue(movies: Path, table: FeatureTable = MOVIELENS) -> pd.DataFrame:
    """Returns the catalogue: a row per movie in the artifact's order, by id.

    Columns: `TITLE`, "unknown" where there is none; `YEAR`, NaN where there is none; by their
    names tags, each a tuple of texts, categories, and numbers, NaN where there is none.
    """
    roles = {f.name: TITLE for f in of_movies(table, Kind.TITLE)[:1]}
    roles |= {f.name: YEAR for f in of_movies(table, Kind.YEAR)[:1]}
    files = [file for folder in splits(movies).values() for file in files_of_split(folder)]
    features = of_movies(table, Kind.ID, Kind.TAGS, Kind.CATEGORY, Kind.NUMBER)
    found = _parsed(files, [*features, *map(table.__getitem__, roles)]).rename(columns=roles)
    found[TITLE] = found.get(TITLE, raw.UNKNOWN)
    found[YEAR] = pd.Series(found.get(YEAR, np.nan), found.index).astype("float64")
    found[YEAR] = found[YEAR].where(found[YEAR] >= 0)
    return found


def grouped(memberships: pd.Series, counts: pd.DataFrame) -> pd.DataFrame:
    """Returns the ratings of groups of users or of movies, most ratings first.

    A group's ratings are not independent: some users rate higher, some movies are better. The
    intervals take members as drawn at random, each with all its ratings (the ratio estimator of
    cluster sampling; Cochran, Sampling Techniques, 3rd ed., section 6.3).

    Args:
      memberships: the group's name, by the id of a member; a member may be in several groups.
      counts: ratings by id of the member and value.

    Returns:
      By name of the group: `members` and `ratings`; where the data has ratings also `mean`, `low`
      and `high` (the ends of the 95 % interval of the mean; NaN with fewer than two members), and
      the share of each value of a rating, by the value.
    """
    held = counts.reindex(memberships.index)
    held, names = held[held.notna().all(axis=1)], memberships
    names = names[names.index.isin(counts.index)].to_numpy()
    by_group, members = held.groupby(names).sum(), held.groupby(names).size()
    ratings = by_group.sum(axis=1)
    found = pd.DataFrame({"members": members, "ratings": ratings.astype("int64")})
    if _EVENTS in counts:
        return found.sort_values("ratings", ascending=False, kind="stable")
    values = counts.columns.to_numpy(np.float64)
    mean = (by_group @ values) / ratings
    # How far each member's sum is from what the group's mean would give.
    deviation = held @ values - pd.Series(names, held.index).map(mean) * held.sum(axis=1)
    squares = (deviation**2).groupby(names).sum()
    variance = squares * members / (members - 1).where(members > 1) / ratings**2
    width = scipy.special.stdtrit((members - 1).clip(1), _SURE) * np.sqrt(variance)
    found = found.assign(mean=mean, low=mean - width, high=mean + width)
    found = found.join(by_group.div(ratings, axis=0))
    return found.sort_values("ratings", ascending=False, kind="stable")
