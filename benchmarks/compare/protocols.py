"""The splits of the comparison, and the ranks of the movies to be found.

Everything is a function of arrays: rows are lines of the file of ratings in its order, and users
and movies are their row numbers, from 0 on. Ranks are those in filtered lists, without the movies
that the user rated in what was learned from, but for `unfiltered_ranks`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from components.example_gen import splits
from components.names import SplitMethod
from metrics import ranking
from metrics.new_users import NamedMovies, named_movies
from schema import hashing
from schema.scenarios import NAMED_MOVIES

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

TRAIN_SHARE = 0.8
VALIDATION_SHARE = 0.1
RATING_SCALE = (1.0, 5.0)
LIST_LENGTH = 10
"""How many movies of a list count in NDCG, recall of users and the ceiling."""
FOLDS: tuple[int, ...] = (1, 2, 3, 4, 5)
PIPELINE_SEED = 42
"""Of the pipeline's split function: of the random split, and of the order of equal times."""

_VALIDATION_STREAM = 1


PIPELINE_NAMES: Mapping[SplitMethod, str] = {
    "random": "the pipeline's random split",
    "temporal": "last 20 % of each user",
    "leave-one-out": "last rating of each user",
}


class Ratings(Protocol):
    """The arrays that a split is made of, as `data.Data` has them."""

    @property
    def users(self) -> IntArray:
        """`[rows]` row numbers of users."""

    @property
    def movies(self) -> IntArray:
        """`[rows]` row numbers of movies."""

    @property
    def user_ids(self) -> IntArray:
        """`[users]` ids by row number."""

    @property
    def movie_ids(self) -> IntArray:
        """`[movies]` ids by row number."""

    @property
    def ratings(self) -> FloatArray:
        """`[rows]` stars."""

    @property
    def timestamps(self) -> IntArray:
        """`[rows]` unix seconds."""

    @property
    def position(self) -> IntArray | None:
        """`[rows]` places in the file, where its order means something."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Which lines are for what; the four arrays hold line numbers from 0 on.

    Attributes:
      name: what it is called in tables.
      inner: fitted while choices are made.
      validation: choices are made on it.
      test: measured once.
      only_final: lines of the time of validation by users without a line in `inner`: they are
        part of the final fit only.
      new_users: of the test's users, who are held out of the fit, the lines that they name and
        those to be found, by number of named movies.
    """

    name: str
    inner: IntArray
    validation: IntArray
    test: IntArray
    only_final: IntArray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    new_users: Mapping[int, NamedMovies] = dataclasses.field(default_factory=dict)

    @property
    def train(self) -> IntArray:
        """Lines of the final fit, ascending: all but the test and what came after it began."""
        return np.sort(np.concatenate([self.inner, self.validation, self.only_final]))


def random_split(rows: int, seed: int) -> Split:
    """Returns the seeded shuffle: the first 80 % are for training, a tenth of it validation.

    The permutation is `numpy.random.default_rng(seed).permutation(rows)`. The validation
    lines are the first tenth of `default_rng([seed, 1]).permutation(train)`.

    Args:
      rows: number of lines.
      seed: of the shuffle.
    """
    order = np.random.default_rng(seed).permutation(rows)
    count = int(rows * TRAIN_SHARE)
    return _with_validation(f"shuffle {seed}", order[:count], order[count:], seed)


def official_fold(rows: int, fold: int) -> Split:
    """Returns fold u1 to u5 of MovieLens-100K: every fifth of the file is test once.

    Args:
      rows: number of lines; fold k's test is lines rows/5·(k-1)+1 to rows/5·k.
      fold: 1 to 5.

    Raises:
      ValueError: there is no such fold.
    """
    if fold not in FOLDS:
        raise ValueError(f"expected a fold of {FOLDS}, received {fold}")
    size = rows // len(FOLDS)
    test = np.arange(size * (fold - 1), size * fold)
    train = np.setdiff1d(np.arange(rows), test)
    return _with_validation(f"u{fold}", train, test, fold)


def pipeline_split(data: Ratings, method: SplitMethod) -> Split:
    """Returns the split that the pipeline makes of the same ratings (`--split method`)."""
    part = splits.assign_splits(
        method,
        data.user_ids[data.users],
        data.movie_ids[data.movies],
        data.timestamps,
        PIPELINE_SEED,
        position=data.position,
        times=splits.split_times(data.timestamps),
    )
    inner, validation, test = (np.flatnonzero(part == number) for number in range(3))
    return Split(PIPELINE_NAMES[method], inner, validation, test)


def timeline_split(data: Ratings, share: float) -> Split:
    """Returns the pipeline's timeline, whose test begins after a share of all ratings.

    Targets are lines of known users only, those with a line before: without one a method cannot
    distinguish them.

    Args:
      data: the ratings.
      share: of all ratings by time, 0 to 1.
    """
    test_begins = splits.time_after(data.timestamps, share)
    part = splits.timeline_splits(data.timestamps, splits.split_times(data.timestamps, test_begins))
    inner, validation, test = (np.flatnonzero(part == number) for number in range(3))
    known = np.isin(data.users[validation], data.users[inner])
    before = np.concatenate([inner, validation])
    return Split(
        f"from {share:.0%} of all time on, known users",
        inner,
        validation[known],
        test[np.isin(data.users[test], data.users[before])],
        validation[~known],
    )


def new_user_fold(data: Ratings, fold: int, folds: int) -> Split:
    """Returns a fold of users who are held out of the fit and name movies in their query.

    Each user names their first n movies in event order among those that they rated at least
    their mean; users who have fewer of them, or no other rating, are left out. A user is in
    one fold of all, by a hash of their id.

    Args:
      data: the ratings.
      fold: 1 to `folds`.
      folds: how many folds there are.
    """
    held_out = (hashing.user_folds(data.user_ids, folds, PIPELINE_SEED) == fold - 1)[data.users]
    order = hashing.event_order(
        data.user_ids[data.users],
        data.movie_ids[data.movies],
        data.timestamps,
        PIPELINE_SEED,
        data.position,
    )
    order = order[held_out[order]]
    new_users = {
        count: named_movies(data.users, data.ratings, order, count) for count in NAMED_MOVIES
    }
    nothing = np.zeros(0, np.int64)
    name = f"new users, fold {fold} of {folds}"
    lines = np.flatnonzero(held_out)
    return Split(name, np.flatnonzero(~held_out), nothing, lines, new_users=new_users)


def _with_validation(name: str, train: IntArray, test: IntArray, seed: int) -> Split:
    order = np.random.default_rng([seed, _VALIDATION_STREAM]).permutation(train)
    count = int(len(train) * VALIDATION_SHARE)
    return Split(name, np.sort(order[count:]), np.sort(order[:count]), np.sort(test))


def unfiltered_ranks(scores: FloatArray, users: IntArray, movies: IntArray) -> IntArray:
    """Returns the rank `[rows]` of each row's movie among all movies, ties against it.

    Args:
      scores: `[users, movies]`, higher is better.
      users: `[rows]` whose scores each row is about.
      movies: `[rows]` the movie to be found.
    """
    excluded = np.zeros(scores.shape, np.bool_)
    return ranking.filtered_ranks(scores, excluded, users, movies)


def user_only_ceiling(users: IntArray) -> float:
    """Returns the highest top-10 accuracy of a query that depends on the user alone.

    Args:
      users: `[rows]` of the test.
    """
    _, counts = np.unique(users, return_counts=True)
    return ranking.user_only_ceiling(counts, LIST_LENGTH)
