"""A few example people who like different genres, with what they rated."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.examples.reading import files_of_split
from components.names import TEST, TRAIN, VALIDATION
from components.report.counts import BATCH, read
from components.report.sources import splits
from schema.features import FeatureTable

LIKED = 4.0
"""Stars from which on a film counts as liked."""

_FEWEST, _MOST = 20, 250
"""Ratings an example has: enough to show a preference, and no more than one can look through."""

_PRIOR = 10.0
"""Liked films, spread over the genres as everybody's are, that are added to each person's own: a
preference that shows in a few films counts little."""


@dataclasses.dataclass(frozen=True)
class Person:
    """Somebody to show recommendations for.

    Attributes:
      user: their id.
      genre: the one they like more than others do.
      rated: stars by movie id, in training and validation, which the model is fitted on.
      later: stars by movie id, in test.
    """

    user: int
    genre: str
    rated: Mapping[int, float]
    later: Mapping[int, float]

    def liked(self, popularity: Mapping[int, int]) -> list[int]:
        """Returns the movies they gave most stars, the best known first among equals."""
        return sorted(
            (movie for movie, stars in self.rated.items() if stars >= LIKED),
            key=lambda movie: (-self.rated[movie], -popularity.get(movie, 0), movie),
        )


def find_people(
    ratings: Path, genres: Mapping[int, Sequence[str]], count: int, table: FeatureTable
) -> tuple[Person, ...]:
    """Returns people whose favourite genres differ most from everybody's, and from each other.

    Only the first batch of the training ratings is looked at, since ratings of one person
    lie together; so the cost does not grow with ratings.

    Args:
      ratings: the Examples artifact.
      genres: of each movie.
      count: how many people at most.
      table: the columns of the ratings.
    """
    folders = splits(ratings)
    rated = _first_batch(folders.get(TRAIN), table)
    for user, stars in _first_batch(folders.get(VALIDATION), table).items():
        rated.get(user, {}).update(stars)
    later = _first_batch(folders.get(TEST), table)
    people = [
        (user, stars)
        for user, stars in rated.items()
        if _FEWEST <= len(stars) <= _MOST and any(value >= LIKED for value in stars.values())
    ]
    chosen = choose([stars for _, stars in people], genres, count)
    return tuple(
        Person(people[place][0], genre, people[place][1], later.get(people[place][0], {}))
        for place, genre in chosen
    )


def choose(
    people: Sequence[Mapping[int, float]], genres: Mapping[int, Sequence[str]], count: int
) -> list[tuple[int, str]]:
    """Returns the place and genre of those who like a genre most beyond everybody's liking.

    Args:
      people: stars by movie id, each.
      genres: of each movie.
      count: how many at most; all of different genres.
    """
    names = sorted({genre for listed in genres.values() for genre in listed})
    if not people or not names:
        return []
    liked = np.zeros([len(people), len(names)])
    column = {name: number for number, name in enumerate(names)}
    for row, stars in enumerate(people):
        films = [movie for movie, value in stars.items() if value >= LIKED]
        for genre, times in Counter(g for film in films for g in genres.get(film, ())).items():
            liked[row, column[genre]] = times
    surplus = _surplus(liked)
    chosen: list[tuple[int, str]] = []
    while len(chosen) < min(count, len(people), len(names)):
        place, best = divmod(int(np.argmax(surplus)), len(names))
        if not np.isfinite(surplus[place, best]):
            break
        chosen.append((place, names[best]))
        surplus[place, :] = -np.inf
        surplus[:, best] = -np.inf
    return chosen


def _surplus(liked: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns how much larger each genre's share is with a person than with everybody."""
    everybody = liked.sum(axis=0) / max(liked.sum(), 1.0)
    own = liked + _PRIOR * everybody
    return np.asarray(own / np.maximum(own.sum(axis=1, keepdims=True), 1e-9) - everybody)


def _first_batch(folder: Path | None, table: FeatureTable) -> dict[int, dict[int, float]]:
    """Returns stars by user and movie of a split's first batch, whole people only."""
    for shard in files_of_split(folder) if folder else ():
        for batch in read(shard, table):
            users = batch[table.user_id.name].numpy()
            movies = batch[table.item_id.name].numpy().tolist()
            stars = batch[table.rating.name].numpy().tolist()
            found: dict[int, dict[int, float]] = {}
            for user, movie, value in zip(users.tolist(), movies, stars, strict=True):
                found.setdefault(user, {})[movie] = value
            if len(users) == BATCH:
                del found[int(users[-1])]  # the batch may have cut them off
            return found
    return {}
