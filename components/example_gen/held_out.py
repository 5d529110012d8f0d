"""The test split: a fingerprint of its rows, and its users and movies that are not in training.

Metrics of two runs can be compared where they are of the same test rows, that is, where the
fingerprints are equal. With the kind of the run the fingerprint makes the evaluation scope
(`components.pusher.kind`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from components.names import SPLITS, TEST
from schema.hashing import hash_columns
from sources.ratings import RatingsChunk

TEST_KEY = "test"
"""In wrangling.json: the fingerprint of the test rows, and how many are of new users and movies."""

NEW_IN_TEST = ("new_users", "rows_of_new_users", "new_movies", "rows_of_new_movies")
"""The counts there: users and movies that only the test split has, and their test rows."""

_IntArray = npt.NDArray[np.int64]
_TEST = SPLITS.index(TEST)
_SEEDS = (1, 2)


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What is known of the test rows of some users, all of whose ratings were seen.

    Attributes:
      rows: number of test rows.
      sums: two sums, modulo 2**64, over hashes of the test rows.
      new_users: number of users with test rows and no others.
      rows_of_new_users: number of their rows.
      known_movies: ids with ratings in train or validation, ascending.
      test_movies: ids with test rows, ascending.
      rows_per_movie: number of test rows of each of `test_movies`.
    """

    rows: int
    sums: tuple[int, ...]
    new_users: int
    rows_of_new_users: int
    known_movies: _IntArray
    test_movies: _IntArray
    rows_per_movie: _IntArray

    @classmethod
    def of(cls, ratings: RatingsChunk, split: npt.NDArray[np.int8]) -> HeldOut:
        """Returns what is known of the test rows among all ratings of some users.

        Args:
          ratings: `[n]` ratings, all of their users.
          split: `[n]` position in `SPLITS` of each.
        """
        in_test = split == _TEST
        test = ratings.take(in_test)
        bits = test.user_rating.view(np.int32).astype(np.int64)
        columns = (test.user_id, test.movie_id, bits, test.timestamp)
        known_users = np.unique(ratings.user_id[~in_test])
        new = ~np.isin(test.user_id, known_users)
        movies, rows_per_movie = np.unique(test.movie_id, return_counts=True)
        return cls(
            rows=len(test.user_id),
            sums=tuple(int(hash_columns(columns, seed).sum()) for seed in _SEEDS),
            new_users=len(np.unique(test.user_id[new])),
            rows_of_new_users=int(new.sum()),
            known_movies=np.unique(ratings.movie_id[~in_test]),
            test_movies=movies,
            rows_per_movie=rows_per_movie,
        )

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits: a function of the set of test rows, in whatever order."""
        return "".join(f"{value:016x}" for value in self.sums)

    def to_json(self) -> dict[str, Any]:
        """Returns the fingerprint and the counts of what is new."""
        new = ~np.isin(self.test_movies, self.known_movies)
        rows_of_new_movies = int(self.rows_per_movie[new].sum())
        counts = (self.new_users, self.rows_of_new_users, int(new.sum()), rows_of_new_movies)
        return {"fingerprint": self.fingerprint, **dict(zip(NEW_IN_TEST, counts, strict=True))}


def merge(parts: Iterable[HeldOut]) -> HeldOut:
    """Returns what is known of the test rows of several groups of users, none in two of them."""
    found = list(parts)
    movies = np.concatenate([part.test_movies for part in found] or [np.zeros(0, np.int64)])
    counts = np.concatenate([part.rows_per_movie for part in found] or [np.zeros(0, np.int64)])
    known = np.concatenate([part.known_movies for part in found] or [np.zeros(0, np.int64)])
    test_movies, place = np.unique(movies, return_inverse=True)
    return HeldOut(
        rows=sum(part.rows for part in found),
        sums=tuple(sum(part.sums[number] for part in found) % 2**64 for number in range(2)),
        new_users=sum(part.new_users for part in found),
        rows_of_new_users=sum(part.rows_of_new_users for part in found),
        known_movies=np.unique(known),
        test_movies=test_movies,
        rows_per_movie=np.bincount(place, counts, len(test_movies)).astype(np.int64),
    )
