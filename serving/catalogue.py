"""The movies and users of a version, from files beside the model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.titles import display_title
from serving.version_folder import read_as

ASSETS = "assets.extra"
_MOST_BYTES = 256 << 20
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Movie:
    """A movie of the catalogue.

    Args:
      movie_id: its id.
      title: its title, with the year if the data has it there.
      year: of its release, if known.
      genres: their names, none if not known.
      ratings: how many training ratings it has, if known.
    """

    movie_id: str
    title: str
    year: int | None = None
    genres: tuple[str, ...] = ()
    ratings: int | None = None

    @property
    def display_title(self) -> str:
        """The title with its article in front."""
        return display_title(self.title)


@dataclass(frozen=True)
class _Entry:
    movie: Movie
    titles: tuple[str, ...]
    words: tuple[str, ...]


class Catalogue:
    """Every movie that can be recommended, in the model's order."""

    def __init__(self, movies: Iterable[Movie]) -> None:
        self.movies: dict[str, Movie] = {movie.movie_id: movie for movie in movies}
        # Most rated first, so that the best known of equally good matches comes first.
        by_ratings = sorted(self.movies.values(), key=lambda movie: -(movie.ratings or 0))
        self._entries = [_entry(movie) for movie in by_ratings]

    def __len__(self) -> int:
        return len(self.movies)

    def get(self, movie_id: str) -> Movie | None:
        """Returns the movie with this id, if there is one."""
        return self.movies.get(movie_id)

    def search(self, query: str, limit: int) -> tuple[list[Movie], int]:
        """Finds movies by words of their titles; case and accents are ignored.

        Args:
          query: beginnings of words of the title, in any order, or a part of the title. An empty
            query matches every movie. Titles match in both forms, "Godfather, The" and "The
            Godfather".
          limit: how many movies at most.

        Returns:
          The movies, those whose title begins with the query first, then the most rated first; and
          how many match in all.
        """
        folded = fold(query).strip()
        words = _WORDS.findall(folded)
        if not words:
            found = [] if folded else self._entries
            return [entry.movie for entry in found[:limit]], len(found)
        start = " ".join(words)
        begins, others = [], []
        for entry in self._entries:
            if any(title.startswith(start) for title in entry.titles):
                begins.append(entry.movie)
            elif all(_begins_a_word(word, entry.words) for word in words) or any(
                start in title for title in entry.titles
            ):
                others.append(entry.movie)
        return (begins + others)[:limit], len(begins) + len(others)


class Users:
    """The known users of a version.

    Args:
      ids: their ids, in the model's order; None if the version has no list of users.

    Attributes:
      count: how many; None if the version has no list of users.
    """

    def __init__(self, ids: Sequence[str] | None = None) -> None:
        self.ids = tuple(ids or ())
        self.count = None if ids is None else len(self.ids)
        self._known = frozenset(self.ids)

    def knows(self, user_id: str) -> bool | None:
        """Returns whether a user is known; None if the version has no list of users."""
        return None if self.count is None else user_id in self._known

    def beginning_with(self, prefix: str, limit: int) -> tuple[list[str], int | None]:
        """Returns the first ids that begin with a prefix, and how many do; None if not known."""
        if not prefix:
            return list(self.ids[:limit]), self.count
        matching = [user_id for user_id in self.ids if user_id.startswith(prefix)]
        return matching[:limit], None if self.count is None else len(matching)


def fold(text: str) -> str:
    """Returns the text in lower case and without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def read_catalogue(version_dir: Path) -> Catalogue | None:
    """Reads the catalogue of a version; None if it has no such file.

    Raises:
      ModelError: if the file is not a list of movies.
    """
    return read_as(version_dir / ASSETS / "catalogue.json", _MOST_BYTES, _catalogue, None)


def read_users(version_dir: Path) -> Users:
    """Reads the known users of a version; their number is None if it has no such file.

    Raises:
      ModelError: if the file is not a list of users.
    """
    return read_as(
        version_dir / ASSETS / "users.json",
        _MOST_BYTES,
        lambda document: Users([str(user_id) for user_id in document["ids"]]),
        Users(),
    )


def _catalogue(rows: Any) -> Catalogue:
    return Catalogue(
        Movie(
            str(row["movie_id"]),
            str(row["title"]),
            None if row.get("year") is None else int(row["year"]),
            tuple(str(genre) for genre in row.get("genres", ())),
            None if row.get("ratings") is None else int(row["ratings"]),
        )
        for row in rows
    )


def _entry(movie: Movie) -> _Entry:
    words = tuple(_WORDS.findall(fold(movie.title)))
    title = " ".join(words)
    display = " ".join(_WORDS.findall(fold(movie.display_title)))
    return _Entry(movie, (title,) if display == title else (title, display), words)


def _begins_a_word(start: str, words: Sequence[str]) -> bool:
    return any(word.startswith(start) for word in words)
