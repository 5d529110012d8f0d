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
class NewUsers:
    """What users of whom nothing was learned say of themselves, and what is to be found.

    Attributes:
      named: lines that are known when they ask.
      ask: lines to be found: everything else that they rated.
    """

    named: IntArray
    ask: IntArray


@dataclasses.dataclass(frozen=True)
class Split:
    """Which lines are for what; the four arrays hold line numbers from 0 on.

    Attributes:
      name: what it is called in tables.
      inner: fitted while choices are made.
      validation: choices are made on it.
      test: measured once.
      not_asked: lines between the two, of users of whom `inner` has no line: in the final fit.
      new_users: by number of named movies what held-out users name; they have the test's lines.
    """

    name: str
    inner: IntArray
    validation: IntArray
    test: IntArray
    not_asked: IntArray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    new_users: Mapping[int, NewUsers] = dataclasses.field(default_factory=dict)

    @property
    def train(self) -> IntArray:
        """Lines of the final fit, ascending: all but the test and what came after it began."""
        return np.sort(np.concatenate([self.inner, self.validation, self.not_asked]))


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
    return Split(PIPELINE_NAMES[method], *(np.flatnonzero(part == number) for number in range(3)))


def timeline_split(data: Ratings, share: float) -> Split:
    """Returns the pipeline's timeline, whose test begins after a share of all ratings.

    Asked are known users only, those with a line in what was learned from: without one a method
    has nothing to tell them apart by.

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
    """Returns a fold of users of whom nothing is learned, who name movies when they ask.

    Each user names their first n movies in event order among those that they rated at least
    their mean; users who have fewer of them, or nothing else, are not asked about n. A user is in
    one fold of all, by a hash of their id.

    Args:
      data: the ratings.
      fold: 1 to `folds`.
      folds: how many folds there are.
    """
    no_movie = np.zeros_like(data.user_ids)
    in_fold = splits.pair_hash(data.user_ids, no_movie, PIPELINE_SEED) % np.uint64(folds)
    held_out = (in_fold == fold - 1)[data.users]
    lines = np.flatnonzero(held_out)
    new_users = {named: _named(data, lines, named) for named in NAMED_MOVIES}
    nothing = np.zeros(0, np.int64)
    name = f"new users, fold {fold} of {folds}"
    return Split(name, np.flatnonzero(~held_out), nothing, lines, new_users=new_users)


def _named(data: Ratings, lines: IntArray, named: int) -> NewUsers:
    users = data.users[lines]
    counts = np.bincount(users, minlength=len(data.user_ids))
    means = np.bincount(users, data.ratings[lines], len(counts)) / np.maximum(counts, 1)
    liked = lines[data.ratings[lines] >= means[users]]
    ties = splits.pair_hash(
        data.user_ids[data.users[liked]], data.movie_ids[data.movies[liked]], PIPELINE_SEED
    )
    position = np.zeros_like(liked) if data.position is None else data.position[liked]
    liked = liked[np.lexsort((ties, position, data.timestamps[liked], data.users[liked]))]
    of_user = data.users[liked]
    place = np.arange(len(liked)) - np.searchsorted(of_user, of_user)
    enough = np.bincount(of_user, minlength=len(counts)) >= named
    asked = enough & (counts > named)
    first = liked[(place < named) & asked[of_user]]
    rest = np.setdiff1d(lines[asked[users]], first)
    return NewUsers(np.sort(first), rest)


def _with_validation(name: str, train: IntArray, test: IntArray, seed: int) -> Split:
    order = np.random.default_rng([seed, _VALIDATION_STREAM]).permutation(train)
    count = int(len(train) * VALIDATION_SHARE)
    return Split(name, np.sort(order[count:]), np.sort(order[:count]), np.sort(test))


def unfiltered_ranks(scores: FloatArray, users: IntArray, movies: IntArray) -> IntArray:
    """Returns the rank `[rows]` of each row's movie among all movies, from 1 on.

    1 + the number of other movies with a score at least as high: ties count against us. A
    score that is not a number is below all others, and ties with its like.

    Args:
      scores: `[users, movies]`, higher is better.
      users: `[rows]` whose scores each row is about.
      movies: `[rows]` the movie to be found.
    """
    excluded = np.zeros(scores.shape, np.bool_)
    return filtered_ranks(scores, excluded, users, movies)


def filtered_ranks(
    scores: FloatArray, seen: BoolArray, users: IntArray, movies: IntArray
) -> IntArray:
    """Returns the rank `[rows]` among the movies that the user has not seen, from 1 on.

    As `unfiltered_ranks`, with the movies of `seen` removed. The movie to be found always stays.

    Args:
      scores: `[users, movies]`, higher is better.
      seen: `[users, movies]`, whether the user rated the movie in training.
      users: `[rows]` whose scores each row is about.
      movies: `[rows]` the movie to be found.
    """
    known = np.where(np.isnan(scores), -np.inf, scores)
    # One sort per user instead of one comparison of the catalogue per row.
    below = np.sort(np.where(seen, -np.inf, known), axis=1)
    candidates = scores.shape[1] - seen.sum(axis=1)
    ranks = np.empty(len(users), np.int64)
    for user in np.unique(users):
        rows = np.flatnonzero(users == user)
        own = known[user, movies[rows]]
        not_below = scores.shape[1] - np.searchsorted(below[user], own, side="left")
        # Removed movies are at the bottom: they never count, not even in ties there.
        not_below = np.minimum(not_below, candidates[user])
        # A movie counts itself once, unless it is itself among the removed ones.
        ranks[rows] = not_below + seen[user, movies[rows]]
    return ranks


def seen_matrix(users: IntArray, movies: IntArray, shape: tuple[int, int]) -> BoolArray:
    """Returns `[users, movies]`: whether there is a training rating of the pair."""
    seen = np.zeros(shape, np.bool_)
    seen[users, movies] = True
    return seen


def user_only_ceiling(users: IntArray) -> float:
    """Returns the highest top-10 accuracy of a query that depends on the user alone.

    Args:
      users: `[rows]` of the test.
    """
    _, counts = np.unique(users, return_counts=True)
    return ranking.user_only_ceiling(counts, LIST_LENGTH)
