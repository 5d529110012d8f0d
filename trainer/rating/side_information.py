"""Side information of users and movies, on which the prior means of the factorisation depend.

Of a user: how many movies and which ones they rated, whatever the stars, and the profile. It
follows from events and profile, so that new users have it as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse

from trainer.rating.principal_components import principal_components

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class CountScale:
    """Turns numbers of ratings into a feature: log(1 + n), standardised.

    Numbers beyond those that were fitted count as the nearest fitted one: nothing is
    extrapolated.

    Attributes:
      mean: mean of log(1 + n) of what was fitted.
      spread: its standard deviation; 1 where all are the same.
      lowest: least log(1 + n) that was fitted.
      highest: greatest.
    """

    mean: float
    spread: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, counts: Ints) -> CountScale:
        """Fits the scale to the numbers of ratings of those with at least one."""
        logs = np.log1p(counts[counts > 0])
        return cls(
            float(logs.mean()), float(logs.std()) or 1.0, float(logs.min()), float(logs.max())
        )

    def __call__(self, counts: Ints) -> Array:
        """Returns the feature of each number of ratings, of the same shape."""
        logs = np.clip(np.log1p(counts), self.lowest, self.highest)
        scaled: Array = (logs - self.mean) / self.spread
        return scaled


@dataclasses.dataclass(frozen=True)
class UserHistories:
    """Rated movies of users, one user after the other.

    Attributes:
      offsets: `[users + 1]`; the events of user u are `offsets[u]:offsets[u + 1]`.
      movie: `[events]` rows of movies.
    """

    offsets: Ints
    movie: Ints

    @property
    def counts(self) -> Ints:
        """`[users]` number of events of each."""
        found: Ints = np.diff(self.offsets)
        return found


@dataclasses.dataclass(frozen=True)
class HistoryFeatures:
    """Side information that follows from which movies a user rated, without their ratings.

    Attributes:
      event_weights: `[movies, components]`; a user's principal components are the sum of these
        over the history, over √n.
      count_scale: of the number of events.
    """

    event_weights: Floats
    count_scale: CountScale

    @property
    def width(self) -> int:
        """How many features there are."""
        return self.event_weights.shape[1] + 1

    def __call__(self, histories: UserHistories) -> Array:
        """Returns `[users, components + 1]`: principal components, and the number of events."""
        counts, movies = histories.counts, len(self.event_weights)
        seen = scipy.sparse.csr_matrix(
            (np.ones(len(histories.movie)), histories.movie, histories.offsets),
            (len(counts), movies),
        )
        sums = seen @ self.event_weights.astype(np.float64)
        sums /= np.sqrt(np.maximum(counts, 1))[:, np.newaxis]
        return np.concatenate([sums, self.count_scale(counts)[:, np.newaxis]], axis=1)


def fit_history_features(
    histories: UserHistories, movies: int, components: int
) -> tuple[HistoryFeatures, Array]:
    """Finds the principal components of who rated what.

    Args:
      histories: what the users rated.
      movies: number of movies.
      components: how many.

    Returns:
      The features of users, and `[movies, components + 1]` those of movies.
    """
    user = np.repeat(np.arange(len(histories.counts)), histories.counts)
    of_users, of_movies = principal_components(
        user, histories.movie, len(histories.counts), movies, components
    )
    counts = np.bincount(histories.movie, minlength=movies)
    # U = M V / σ, each scaled: the columns of U and of M V differ by a factor.
    weights = of_movies / np.sqrt(np.maximum(counts, 1))[:, np.newaxis]
    scale = CountScale.of(histories.counts)
    unscaled = HistoryFeatures(weights.astype(np.float32), scale)(histories)[:, :components]
    squares = (unscaled**2).sum(axis=0)
    factor = (unscaled * of_users).sum(axis=0) / np.where(squares > 0, squares, 1.0)
    features = HistoryFeatures((weights * factor).astype(np.float32), scale)
    popularity = CountScale.of(counts)(counts)
    return features, np.concatenate([of_movies, popularity[:, np.newaxis]], axis=1)


def one_hot(values: Ints | Sequence[Ints], size: int) -> Floats:
    """Returns `[rows + 1, size]`; of the last row, the unknown one, nothing is known.

    Args:
      values: `[rows]` an index each, or several.
      size: number of indices.
    """
    marks = np.zeros([len(values) + 1, size], np.float32)
    for row, value in enumerate(values):
        marks[row, value] = 1.0
    return marks
