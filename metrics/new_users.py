"""Users held out of training: which movies they name, and which are to be found in their lists."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metrics.ranking import Floats, Ints


class NamedMovies(NamedTuple):
    """Which ratings are known and which are to be found.

    Attributes:
      named: `[named]` rows of the movies that the users name, ascending.
      wanted: `[wanted]` rows of everything else that the same users rated, ascending.
    """

    named: Ints
    wanted: Ints


def named_movies(users: Ints, ratings: Floats, order: Ints, count: int) -> NamedMovies:
    """Returns the first movies in event order that users rated at least their own mean.

    Users with fewer than `count` such movies, or with no other rating, are left out.

    Args:
      users: `[rows]` whole numbers from 0 on: whose rating each row is.
      ratings: `[rows]` stars.
      order: the rows that count, by ascending user and of each user in event order; all rows of
        a user or none.
      count: how many movies each user names.

    >>> users, stars = np.array([0, 0, 0, 1]), np.array([3.0, 5.0, 4.0, 2.0])
    >>> found = named_movies(users, stars, np.array([0, 1, 2, 3]), 1)
    >>> found.named.tolist(), found.wanted.tolist()
    ([1], [0, 2])
    """
    of_order = users[order]
    totals = np.bincount(of_order)
    means = np.bincount(of_order, ratings[order]) / np.maximum(totals, 1)
    liked = order[ratings[order] >= means[of_order]]
    of_liked = users[liked]
    place = np.arange(len(liked)) - np.searchsorted(of_liked, of_liked)
    enough = (np.bincount(of_liked, minlength=len(totals)) >= count) & (totals > count)
    named = liked[(place < count) & enough[of_liked]]
    return NamedMovies(np.sort(named), np.setdiff1d(order[enough[of_order]], named))
