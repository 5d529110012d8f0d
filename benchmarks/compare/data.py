"""MovieLens-100K as arrays, read without TensorFlow: the peers' environment has none."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import numpy as np
import scipy.sparse

from benchmarks.compare.protocols import FloatArray, IntArray, Split
from components.errors import InputError
from components.names import DATA_VARIABLE

FILES = ("u.data", "u.user", "u.item")

_TITLE, _RELEASED, _GENRES_FROM = 1, 2, 5
_AGE_BUCKETS = (18, 25, 35, 45, 50, 56)
_QUICK_USERS = 200


@dataclasses.dataclass(frozen=True)
class Data:
    """Ratings in the order of the file, and what is known of users and movies.

    Attributes:
      folder: where the files are.
      digest: hash of their content and of what was left out.
      users: `[rows]` row numbers of users: their id - 1.
      movies: `[rows]` the same of movies.
      ratings: `[rows]` stars.
      timestamps: `[rows]` unix seconds.
      user_labels: `[users, 3]` age bucket, gender and occupation, as text.
      movie_genres: `[movies, genres]` 0 or 1.
      movie_titles: titles by row; some movies share one.
      movie_released: dates of release by row, as text.
    """

    folder: Path
    digest: str
    users: IntArray
    movies: IntArray
    ratings: FloatArray
    timestamps: IntArray
    user_labels: tuple[tuple[str, ...], ...]
    movie_genres: FloatArray
    movie_titles: tuple[str, ...]
    movie_released: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and of movies."""
        return len(self.user_labels), len(self.movie_titles)


@dataclasses.dataclass(frozen=True)
class Task:
    """What a method is given: lines to learn from and lines to be asked about.

    Attributes:
      data: everything; only the `ratings` and pairs of `fit` may be looked at.
      split: what the lines are part of.
      fit: line numbers.
      ask: line numbers.
    """

    data: Data
    split: Split
    fit: IntArray
    ask: IntArray


def interactions(task: Task) -> scipy.sparse.csr_matrix:
    """Returns `[users, movies]`: 1 where there is a rating to learn from."""
    pairs = (task.data.users[task.fit], task.data.movies[task.fit])
    ones = np.ones(len(task.fit), np.float32)
    return scipy.sparse.csr_matrix((ones, pairs), shape=task.data.shape)


def load(quick: bool = False) -> Data:
    """Reads the data set that `$MOVIELENS_DIR` names.

    Args:
      quick: keep the first users only.

    Raises:
      InputError: the variable is not set, or a file is missing or cannot be read.
    """
    folder = _folder()
    lines = _numbers(folder / "u.data")
    users = [line.split("|") for line in _lines(folder / "u.user")]
    items = [line.split("|") for line in _lines(folder / "u.item")]
    if quick:
        lines = lines[lines[:, 0] <= _QUICK_USERS]
        users = users[:_QUICK_USERS]
    digest = hashlib.blake2b(digest_size=8)
    for name in FILES:
        digest.update((folder / name).read_bytes())
    digest.update(str(len(lines)).encode())
    return Data(
        folder=folder,
        digest=digest.hexdigest(),
        users=lines[:, 0] - 1,
        movies=lines[:, 1] - 1,
        ratings=lines[:, 2].astype(np.float64),
        timestamps=lines[:, 3],
        user_labels=tuple((_age_bucket(user[1]), user[2], user[3]) for user in users),
        movie_genres=np.array([item[_GENRES_FROM:] for item in items]).astype(np.float64),
        movie_titles=tuple(item[_TITLE] for item in items),
        movie_released=tuple(item[_RELEASED] for item in items),
    )


def _folder() -> Path:
    value = os.environ.get(DATA_VARIABLE)
    action = f"unpack MovieLens-100K and set {DATA_VARIABLE} to the directory of its files"
    expected = f"a directory with {', '.join(FILES)}"
    if not value:
        raise InputError(f"{DATA_VARIABLE} is not set", expected=expected, action=action)
    folder = Path(value)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"missing: {', '.join(missing)}", file=value, expected=expected, action=action
        )
    return folder


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="latin-1").splitlines()


def _numbers(path: Path) -> IntArray:
    try:
        lines = np.loadtxt(path, dtype=np.int64, ndmin=2)
    except ValueError as error:
        lines, found = np.empty((0, 0), np.int64), str(error)
    else:
        found = f"{lines.shape[1]} columns"
    if lines.shape[1:] != (4,):
        raise InputError(
            "cannot read the ratings",
            file=str(path),
            expected="user, movie, rating and unix seconds, whole numbers, separated by tabs",
            found=found,
            action="compare on MovieLens-100K as published",
        )
    return lines


def _age_bucket(age: str) -> str:
    return str(sum(int(age) >= start for start in _AGE_BUCKETS))
