"""Small raw files in MovieLens-100K's format, for tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sources import files
from sources.cleaning_log import CleaningLog
from sources.ratings import KnownIds, RatingsChunk, read_ratings_chunk

GENRES = ("unknown", "Action", "Comedy")
OCCUPATIONS = ("student", "writer", "none")
USERS = 200
MOVIES = 150

needs_real_data = pytest.mark.skipif(
    "MOVIELENS_DIR" not in os.environ, reason="MOVIELENS_DIR does not say where MovieLens-100K is"
)


def user_rows(count: int = USERS) -> list[str]:
    """Rows of u.user: id 1..count, all valid."""
    return [
        f"{i}|{i % 70 + 7}|{'MF'[i % 2]}|{OCCUPATIONS[i % 3]}|{i:05d}" for i in range(1, count + 1)
    ]


def movie_rows(count: int = MOVIES) -> list[str]:
    """Rows of u.item: id 1..count, all valid."""
    return [f"{i}|Film {i} (1995)|01-Jan-1995||http://x/{i}|0|1|0" for i in range(1, count + 1)]


def rating_rows(count: int = 1000) -> list[str]:
    """Rows of u.data, all valid, every pair of user and movie once."""
    return [
        f"{i % USERS + 1}\t{i // USERS + 1}\t{i % 5 + 1}\t{880_000_000 + i}" for i in range(count)
    ]


def write_raw(
    directory: Path,
    *,
    users: Iterable[str] | None = None,
    movies: Iterable[str] | None = None,
    ratings: Iterable[str] | None = None,
    genres: Iterable[str] | None = None,
    occupations: Iterable[str] = OCCUPATIONS,
    newline: str = "\n",
    encoding: str = "latin-1",
) -> Path:
    """Writes the five raw files, valid where nothing else is given, and returns `directory`."""
    rows = {
        "u.user": user_rows() if users is None else users,
        "u.item": movie_rows() if movies is None else movies,
        "u.data": rating_rows() if ratings is None else ratings,
        "u.genre": [f"{g}|{i}" for i, g in enumerate(GENRES)] if genres is None else genres,
        "u.occupation": occupations,
    }
    for name, lines in rows.items():
        text = "".join(line + newline for line in lines)
        (directory / name).write_bytes(text.encode(encoding))
    return directory


@contextmanager
def file_of(data: bytes) -> Iterator[Path]:
    """A file u.data with these bytes; for tests that run many times."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "u.data"
        path.write_bytes(data)
        yield path


def read_ratings(
    path: Path,
    start: int = 0,
    end: int | None = None,
    *,
    users: Iterable[int] = range(1, USERS + 1),
    movies: Iterable[int] = range(1, MOVIES + 1),
    dropped_users: dict[int, str] | None = None,
    dropped_movies: dict[int, str] | None = None,
    **options: Any,
) -> tuple[RatingsChunk, CleaningLog]:
    """Reads a range of ratings; by default the whole file."""
    return read_ratings_chunk(
        path,
        start,
        path.stat().st_size if end is None else end,
        KnownIds(files.USERS, np.array(sorted(users), np.int64), dropped_users or {}),
        KnownIds(files.MOVIES, np.array(sorted(movies), np.int64), dropped_movies or {}),
        **options,
    )
