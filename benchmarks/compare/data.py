"""MovieLens-100K and 1M as arrays, read without TensorFlow: the baselines' environment has none."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import shutil
from pathlib import Path
from typing import Final, Literal

import numpy as np
import scipy.sparse

from benchmarks.compare import movielens_1m
from benchmarks.compare.protocols import FloatArray, IntArray, Split
from sources.errors import InputError
from sources.names import DATA_VARIABLE, ML_100K

FILES = ("u.data", "u.user", "u.item")

ML_1M: Final = "ml-1m"
Dataset = Literal["ml-100k", "ml-1m"]
DATASETS: tuple[Dataset, ...] = (ML_100K, ML_1M)
ML_100K_ONLY: tuple[Dataset, ...] = (ML_100K,)
"""The data sets of methods that take too long on the larger one."""

_TITLE, _RELEASED, _GENRES_FROM = 1, 2, 5
_AGE_BUCKETS = (18, 25, 35, 45, 50, 56)
_QUICK_USERS = 200


@dataclasses.dataclass(frozen=True)
class Data:
    """Ratings in the order of the file, and what is known of users and movies.

    Attributes:
      name: of the data set.
      folder: where the files are, in the formats of MovieLens-100K.
      digest: hash of their content and of what was left out.
      users: `[rows]` row numbers of users.
      movies: `[rows]` the same of movies.
      user_ids: `[users]` ids by row number.
      movie_ids: `[movies]` the same of movies.
      ratings: `[rows]` stars.
      timestamps: `[rows]` unix seconds.
      position: `[rows]` places in the file, which order ratings of one second; None where the
        order of the file means nothing.
      user_labels: `[users, 3]` age bucket, gender and occupation, as text.
      movie_genres: `[movies, genres]` 0 or 1.
      movie_titles: titles by row; some movies share one.
      movie_released: dates of release by row, as text.
    """

    name: Dataset
    folder: Path
    digest: str
    users: IntArray
    movies: IntArray
    user_ids: IntArray
    movie_ids: IntArray
    ratings: FloatArray
    timestamps: IntArray
    position: IntArray | None
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
    """What a method is given: lines to be fitted to and lines to be predicted.

    Attributes:
      data: everything; only the `ratings` and pairs of `fit` may be looked at.
      split: what the lines are part of.
      fit: line numbers of the ratings to be fitted to.
      targets: line numbers of the ratings to be predicted.
    """

    data: Data
    split: Split
    fit: IntArray
    targets: IntArray


def interactions(task: Task) -> scipy.sparse.csr_matrix:
    """Returns `[users, movies]`: 1 where there is a rating to learn from."""
    return pairs_of(task.data, task.fit)


def pairs_of(data: Data, lines: IntArray) -> scipy.sparse.csr_matrix:
    """Returns `[users, movies]`: 1 where one of the lines is a rating."""
    pairs = (data.users[lines], data.movies[lines])
    ones = np.ones(len(lines), np.float32)
    return scipy.sparse.csr_matrix((ones, pairs), shape=data.shape)


def load(quick: bool = False, dataset: Dataset = "ml-100k", scratch: Path | None = None) -> Data:
    """Reads the data set that `$MOVIELENS_DIR` or `$MOVIELENS_1M_DIR` names.

    Args:
      quick: keep the first users only.
      dataset: which one.
      scratch: folder in which MovieLens-1M is put into the formats of MovieLens-100K, once.

    Raises:
      InputError: the variable is not set, or a file is missing or cannot be read.
    """
    folder = _folder() if dataset == ML_100K else _converted(scratch)
    lines = _numbers(folder / "u.data")
    users, items = _records(folder / "u.user"), _records(folder / "u.item")
    if quick:
        lines = lines[lines[:, 0] <= _QUICK_USERS]
        users = users[:_QUICK_USERS]
    digest = hashlib.blake2b(digest_size=8)
    for name in FILES:
        digest.update((folder / name).read_bytes())
    digest.update(str(len(lines)).encode())
    user_ids, movie_ids = (np.array([int(row[0]) for row in rows]) for rows in (users, items))
    return Data(
        name=dataset,
        folder=folder,
        digest=digest.hexdigest(),
        users=np.searchsorted(user_ids, lines[:, 0]),
        movies=np.searchsorted(movie_ids, lines[:, 1]),
        user_ids=user_ids,
        movie_ids=movie_ids,
        ratings=lines[:, 2].astype(np.float64),
        timestamps=lines[:, 3],
        position=np.arange(len(lines)) if dataset == ML_1M else None,
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


def _converted(scratch: Path | None) -> Path:
    """Returns MovieLens-1M in the formats of MovieLens-100K, written once and whole."""
    value = os.environ.get(movielens_1m.VARIABLE)
    if not value or scratch is None:
        raise InputError(
            f"{movielens_1m.VARIABLE} is not set",
            expected=f"a directory with {', '.join(movielens_1m.FILES)}",
            action=f"unpack MovieLens-1M and set {movielens_1m.VARIABLE} to its directory",
        )
    folder = scratch / "movielens-1m"
    if not folder.is_dir():
        partial = scratch / f".movielens-1m.{os.getpid()}"
        movielens_1m.convert(Path(value), partial)
        # A process beside this one may have been first.
        with contextlib.suppress(OSError):
            partial.rename(folder)
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _records(path: Path) -> list[list[str]]:
    """Returns the rows of a table by ascending id."""
    rows = [line.split("|") for line in path.read_text(encoding="latin-1").splitlines()]
    return sorted(rows, key=lambda row: int(row[0]))


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
