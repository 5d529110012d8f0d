"""The protocols of the comparison: who is trained on what, asked what, and how it is scored.

- P1: random split, rank of the test movie among all movies.
- P2: random split, rank among the movies that are not in the user's training ratings.
- P3: each user's last 20 % by time is test; rank as in P2.
- RMSE on the same test rows, predictions clipped to the scale; also on the official folds.

Everything is a function of arrays: rows are lines of `u.data` in the order of the file, and
users and movies are their row numbers, from 0 on.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from components.example_gen import splits
from metrics import ranking, rating

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

P1, P2, P3, RMSE = "P1", "P2", "P3", "RMSE"
TRAIN_SHARE = 0.8
VALIDATION_SHARE = 0.1
RATING_SCALE = (1.0, 5.0)
LIST_LENGTH = 10
"""How many movies of a list count in NDCG, recall of users and the ceiling."""
FOLDS: tuple[int, ...] = (1, 2, 3, 4, 5)
TEMPORAL_TIES_SEED = 42
"""Of the hash that orders a user's ratings of the same second."""

_VALIDATION_STREAM = 1


@dataclasses.dataclass(frozen=True)
class Split:
    """Which lines are for what; the four arrays hold line numbers from 0 on.

    Attributes:
      name: what it is called in tables.
      inner: fitted while choices are made.
      validation: choices are made on it.
      test: measured once.
    """

    name: str
    inner: IntArray
    validation: IntArray
    test: IntArray

    @property
    def train(self) -> IntArray:
        """Lines of the final fit: everything but the test, ascending."""
        return np.sort(np.concatenate([self.inner, self.validation]))


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


def temporal_split(
    user_id: IntArray, movie_id: IntArray, timestamp: IntArray, position: IntArray | None = None
) -> Split:
    """Returns each user's last 20 % by time as test, the 10 % before as validation.

    It is the pipeline's own rule (`components.example_gen.splits`).

    Args:
      user_id: `[rows]` ids as in the file.
      movie_id: `[rows]` the same of movies.
      timestamp: `[rows]` unix seconds.
      position: `[rows]` places in the file, where its order means something.
    """
    part = splits.temporal_splits(user_id, movie_id, timestamp, TEMPORAL_TIES_SEED, position)
    inner, validation, test = (np.flatnonzero(part == number) for number in range(3))
    return Split("last 20 % of each user", inner, validation, test)


def _with_validation(name: str, train: IntArray, test: IntArray, seed: int) -> Split:
    order = np.random.default_rng([seed, _VALIDATION_STREAM]).permutation(train)
    count = int(len(train) * VALIDATION_SHARE)
    return Split(name, np.sort(order[count:]), np.sort(order[:count]), np.sort(test))


def ranks_all(scores: FloatArray, users: IntArray, movies: IntArray) -> IntArray:
    """Returns the rank `[rows]` of each row's movie among all movies, from 1 on.

    1 + the number of other movies with a score at least as high: ties count against us. A
    score that is not a number is below all others, and ties with its like.

    Args:
      scores: `[users, movies]`, higher is better.
      users: `[rows]` whose scores each row is about.
      movies: `[rows]` the movie to be found.
    """
    excluded = np.zeros(scores.shape, np.bool_)
    return ranks_unseen(scores, excluded, users, movies)


def ranks_unseen(
    scores: FloatArray, seen: BoolArray, users: IntArray, movies: IntArray
) -> IntArray:
    """Returns the rank `[rows]` among the movies that the user has not seen, from 1 on.

    As `ranks_all`, with the movies of `seen` removed. The movie to be found always stays.

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


def rmse(predicted: FloatArray, ratings: FloatArray) -> float:
    """Returns the root of the mean squared error, predictions clipped to the scale.

    Args:
      predicted: `[rows]` stars.
      ratings: `[rows]` stars given.
    """
    return rating.rmse(rating.clip(predicted, RATING_SCALE), ratings)
