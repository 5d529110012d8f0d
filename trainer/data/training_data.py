"""The training data as compact arrays.

The Trainer holds ratings as a few numbers each (user, movie, rating, time and its indices), 26
bytes, 8 more with a position, 2 or 4 more for each context feature and 1 more where validation is
marked, users and movies as tables of feature indices.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_transform as tft

from schema.features import CONTEXT_KINDS, FeatureTable, Owner
from transform import outputs as out
from transform.outputs import Output, OutputTable, Unknown, outputs_of

IntArray = npt.NDArray[np.int64]
SmallInts = npt.NDArray[np.signedinteger[Any]]
"""Integers in as few bytes as their values need; int64 before anything is multiplied."""
Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.bytes_]


@dataclasses.dataclass(frozen=True)
class Users:
    """The users of some ratings.

    Attributes:
      ids: `[users]` bytes, ascending.
      features: transformed user features by name, `[users]` int64.
      spellings: of each category by its name, the values in the vocabulary as the data spells them
        most often.
    """

    ids: Bytes
    features: Mapping[str, IntArray]
    spellings: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Every movie, rated or not; a movie's row is its position here.

    Attributes:
      ids: `[movies]` bytes, ascending.
      titles: `[movies]` bytes, UTF-8.
      features: transformed movie features by name, `[movies]` int64; of multi-valued
        ones a list of arrays, one per movie.
      years: `[movies]` int64 release years, 0 or less where they are not known.
      left_out: how many movies are left out of the model, because there are too many.
      left_out_ratings: how many training ratings these have together.
    """

    ids: Bytes
    titles: Bytes
    features: Mapping[str, IntArray | list[IntArray]]
    years: IntArray
    left_out: int = 0
    left_out_ratings: int = 0

    def of_rows(self, rows: IntArray, left_out_ratings: int) -> Catalogue:
        """Returns some of the movies, with the indices of their ids numbered again.

        Args:
          rows: `[movies]` ascending rows.
          left_out_ratings: training ratings of the others.
        """
        features: dict[str, IntArray | list[IntArray]] = {
            name: [values[row] for row in rows] if isinstance(values, list) else values[rows]
            for name, values in self.features.items()
        }
        ids = np.asarray(features[out.ITEM_ID_INDEX])
        # The last index is that of all movies without a training rating.
        features[out.ITEM_ID_INDEX] = np.searchsorted(np.unique(ids), ids).astype(np.int64)
        left_out = self.left_out + len(self.ids) - len(rows)
        return Catalogue(
            self.ids[rows],
            self.titles[rows],
            features,
            self.years[rows],
            left_out,
            left_out_ratings,
        )


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Ratings by user, and of each user in event order: by time, then by position.

    Attributes:
      user_row: `[ratings]` rows in `Users`, ascending; int32 is enough.
      movie_row: `[ratings]` rows in `Catalogue`; int32 is enough.
      rating: `[ratings]` float32, stars from 1 to 5 whatever the data's scale
        (`schema.features.RatingScale.to_stars`); zeros where the data has no ratings, so that every
        residual is 0 and every event weighs the same.
      timestamp: `[ratings]` unix seconds; zeros where the data has none.
      context: transformed features of the context by name, `[ratings]`; int16 is mostly enough.
      offsets: `[users + 1]`; the ratings of user u are `offsets[u]:offsets[u + 1]`.
      position: `[ratings]` places in the file, which order ratings of one second; zeros (also
        if none are given) where the order of the file means nothing.
      validation: `[ratings]` bool, which of the fitted ratings are those of validation, on which
        a model may choose; none if not given.

    Raises:
      ValueError: there are positions of some ratings only.
    """

    user_row: SmallInts
    movie_row: SmallInts
    rating: npt.NDArray[np.float32]
    timestamp: IntArray
    context: Mapping[str, SmallInts]
    offsets: IntArray
    position: IntArray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    validation: npt.NDArray[np.bool_] = dataclasses.field(
        default_factory=lambda: np.zeros(0, np.bool_)
    )

    def __post_init__(self) -> None:
        for name in ("position", "validation"):
            values = getattr(self, name)
            if not len(values):
                nothing = np.broadcast_to(values.dtype.type(0), len(self))
                object.__setattr__(self, name, nothing)
        if len(self.position) != len(self):
            raise ValueError(
                f"expected a position of each of {len(self)} ratings, received {len(self.position)}"
            )

    def __len__(self) -> int:
        return len(self.user_row)

    def of_movies(self, rows: IntArray, movies: int) -> Interactions:
        """Returns the ratings of some movies, of the same users.

        Args:
          rows: `[kept movies]` ascending rows of the catalogue, which become 0, 1, and so on.
          movies: number of movies before.
        """
        new_row = np.full(movies, -1, np.int32)
        new_row[rows] = np.arange(len(rows), dtype=np.int32)
        movie_row = new_row[self.movie_row]
        kept = movie_row >= 0
        found = self.where(kept)
        return dataclasses.replace(
            found, movie_row=movie_row[kept], validation=self.validation[kept]
        )

    def where(self, rows: npt.NDArray[np.bool_]) -> Interactions:
        """Returns the ratings at which `[ratings]` `rows` is true, of the same users."""
        user_row = self.user_row[rows]
        return Interactions(
            user_row=user_row,
            movie_row=self.movie_row[rows],
            rating=self.rating[rows],
            timestamp=self.timestamp[rows],
            context={name: values[rows] for name, values in self.context.items()},
            offsets=np.searchsorted(user_row, np.arange(len(self.offsets))),
            position=self.position[rows],
        )

    @functools.cached_property
    def ties(self) -> IntArray:
        """`[ratings]` how many ratings just before each are not known to be earlier.

        They are of the same user, second and position.
        """
        differs = np.ones(len(self), np.bool_)
        same = np.ones(max(len(self) - 1, 0), np.bool_)
        for key in (self.user_row, self.timestamp, self.position):
            same &= key[1:] == key[:-1]
        differs[1:] = ~same
        rows = np.arange(len(self))
        return rows - np.maximum.accumulate(np.where(differs, rows, 0))


def mean_ratings(interactions: Interactions) -> npt.NDArray[np.float64]:
    """Returns `[users]` the mean of each user's ratings, in stars."""
    users = len(interactions.offsets) - 1
    totals = np.bincount(interactions.user_row, interactions.rating, users)
    means: npt.NDArray[np.float64] = totals / np.maximum(np.diff(interactions.offsets), 1)
    return means


def rating_residuals(interactions: Interactions) -> Floats:
    """Returns `[ratings]` how many stars each rating is above its user's mean."""
    means = mean_ratings(interactions)
    return (interactions.rating - means[interactions.user_row]).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Everything that a model is fitted to, or everything that is known when it is served.

    Attributes:
      catalogue: every movie.
      users: the users of the ratings.
      interactions: the ratings; of what is fitted, all that is learned from.
      transform_output: the preprocessing graph.
      features: the feature table of all these.
    """

    catalogue: Catalogue
    users: Users
    interactions: Interactions
    transform_output: tft.TFTransformOutput
    features: FeatureTable

    @functools.cached_property
    def outputs(self) -> OutputTable:
        """The transformed features."""
        return outputs_of(self.features)

    @functools.cached_property
    def feature_sizes(self) -> dict[str, int]:
        """Number of indices of each transformed feature, by name."""
        sizes = {one.name: one.size(self.transform_output) for one in self.outputs.outputs}
        if self.catalogue.left_out:
            # One more than the movies, for those without a training rating.
            sizes[out.ITEM_ID_INDEX] = len(self.catalogue.ids) + 1
        return sizes

    @functools.cached_property
    def unknown_context(self) -> dict[Output, Unknown]:
        """The transformed context features but those of the time, and what is unknown of them.

        Of a number that no training row has, every value is: nothing was learned of any.
        """
        found = unknown_context(self.outputs, self.transform_output)
        return {
            one: unknown
            if one.vocabulary or np.any(self.interactions.context.get(one.name, 0))
            else Unknown(unknown.value, unknown.value + 1)
            for one, unknown in found.items()
        }

    @functools.cached_property
    def ratings_per_movie(self) -> IntArray:
        """`[movies]` number of training ratings of each."""
        counts: IntArray = np.bincount(
            self.interactions.movie_row, minlength=len(self.catalogue.ids)
        )
        return counts

    def of_movies(self, rows: IntArray, catalogue: Catalogue) -> TrainingData:
        """Returns the data of some movies and the same users.

        Args:
          rows: `[kept movies]` ascending rows of the catalogue.
          catalogue: these movies.
        """
        interactions = self.interactions.of_movies(rows, len(self.catalogue.ids))
        return dataclasses.replace(self, catalogue=catalogue, interactions=interactions)


def unknown_context(
    outputs: OutputTable, transform_output: tft.TFTransformOutput
) -> dict[Output, Unknown]:
    """Returns the transformed context features, not those of the time, and what is unknown."""
    found = outputs.of_kinds(Owner.CONTEXT, CONTEXT_KINDS)
    return {one: one.unknown(transform_output) for one in found}


def most_rated(ratings_per_movie: IntArray, limit: int) -> IntArray:
    """Returns the ascending rows of the `limit` movies with most ratings; of equals the first.

    Args:
      ratings_per_movie: `[movies]` number of training ratings of each.
      limit: how many, at most.
    """
    return np.sort(np.argsort(-ratings_per_movie, kind="stable")[:limit])
