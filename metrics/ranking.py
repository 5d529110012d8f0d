"""Metrics of ranked lists, from the rank of each movie to be found.

A *rank* is the 1-based position of a test row's movie in the list it is looked for in; a rank
below 1 means that the movie is unknown to the model: it counts as a miss. Every mean here is
over rows or over users with at least one row; of no rows it is NaN.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Ranks: TypeAlias = npt.NDArray[np.int64] | npt.NDArray[np.float64]


def hits(ranks: Ranks, k: int) -> Bools:
    """Returns `[rows]`: whether each row's movie is among the first `k`.

    >>> hits(np.array([1, 10, 11, -1]), 10).tolist()
    [True, True, False, False]
    """
    found: Bools = (ranks >= 1) & (ranks <= k)
    return found


def reciprocal_ranks(ranks: Ranks) -> Floats:
    """Returns `[rows]`: 1 / rank, 0 for a miss; their mean is the MRR.

    >>> reciprocal_ranks(np.array([1, 4, -1])).tolist()
    [1.0, 0.25, 0.0]
    """
    return np.where(ranks >= 1, 1.0 / np.maximum(ranks, 1), 0.0)


def discounted_gains(ranks: Ranks, k: int) -> Floats:
    """Returns `[rows]`: 1 / log2(1 + rank) up to rank `k`, 0 beyond.

    The gain of a relevant movie at that rank (Järvelin & Kekäläinen: Cumulated gain-based
    evaluation of IR techniques, 2002, with binary relevance and base 2).

    >>> discounted_gains(np.array([1, 3, 11]), 10).tolist()
    [1.0, 0.5, 0.0]
    """
    return np.where(hits(ranks, k), 1.0 / np.log2(1.0 + np.maximum(ranks, 1)), 0.0)


def ideal_gains(relevant: Ints, k: int) -> Floats:
    """Returns `[users]`: the DCG@k of the best order, which has all relevant movies first.

    Args:
      relevant: `[users]` how many movies are to be found.
      k: length of the list.

    >>> ideal_gains(np.array([0, 1, 3]), 10).round(4).tolist()
    [0.0, 1.0, 2.1309]
    """
    gains = 1.0 / np.log2(np.arange(k) + 2.0)
    best: Floats = np.concatenate([[0.0], np.cumsum(gains)])
    return best[np.minimum(relevant, k)]


def filtered_ranks(scores: Floats, seen: Bools, users: Ints, movies: Ints) -> Ints:
    """Returns the rank `[rows]` of each row's movie among those that the user has not seen.

    1 + the number of other unseen movies with a score at least as high: ties count against the
    movie. A score that is NaN is below all others and ties with its like. The row's own movie
    always stays in the list.

    Args:
      scores: `[users, movies]`, higher is better.
      seen: `[users, movies]`, which movies are not in the user's list.
      users: `[rows]` whose list each row is looked for in.
      movies: `[rows]` the movie to be found.

    >>> scores, seen = np.array([[0.9, 0.7, 0.8]]), np.array([[True, False, False]])
    >>> filtered_ranks(scores, seen, np.array([0, 0]), np.array([1, 2])).tolist()
    [2, 1]
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


def seen_matrix(users: Ints, movies: Ints, shape: tuple[int, int]) -> Bools:
    """Returns `[users, movies]`: which pairs are among the given ones."""
    seen = np.zeros(shape, np.bool_)
    seen[users, movies] = True
    return seen


def recall_at_k(ranks: Ranks, k: int) -> float:
    """Returns the share of rows whose movie is among the first `k` of its list.

    >>> recall_at_k(np.array([1, 10, 11, -1]), 10)
    0.5
    """
    return _mean(hits(ranks, k))


def row_ndcg(ranks: Ranks, k: int) -> float:
    """Returns NDCG@k of lists with one relevant movie each, averaged over rows.

    The best order has that movie first, so the ideal DCG is 1.

    >>> row_ndcg(np.array([1, 3, 11]), 10)
    0.5
    """
    return _mean(discounted_gains(ranks, k))


def user_ndcg(ranks: Ranks, users: Ints, k: int) -> float:
    """Returns NDCG@k of each user's list, averaged over users.

    The DCG of the user's movies within the first k over that of the best order, with
    min(k, movies to be found) first (Järvelin & Kekäläinen 2002). Meaningful only where all rows
    of a user are looked for in one list; where lists differ, several rows can have rank 1 and
    the value exceeds 1.

    Args:
      ranks: `[rows]`.
      users: `[rows]` the user of each row.
      k: length of the lists.

    >>> user_ndcg(np.array([1, 3, 2]), np.array([7, 7, 8]), 10).__round__(4)
    0.7753
    """
    return _mean(ndcg_per_user(ranks, users, k))


def ndcg_per_user(ranks: Ranks, users: Ints, k: int) -> Floats:
    """Returns `[users]` NDCG@k of each user's list, by ascending user; see `user_ndcg`."""
    counts, (gains,) = sums_by_user(users, discounted_gains(ranks, k))
    found: Floats = gains / ideal_gains(counts, k)
    return found


def user_only_ceiling(counts: Ints, k: int) -> float:
    """Returns the highest recall@k of lists that depend on the user alone.

    Such a list is the same for each of a user's rows, so at most k of them are hits: the sum of
    min(k, rows of the user) over all rows.

    Args:
      counts: `[users]` rows of each user.
      k: length of the lists.

    >>> user_only_ceiling(np.array([25, 4]), 10).__round__(4)
    0.4828
    """
    total = counts.sum()
    return float(np.minimum(counts, k).sum() / total) if total else float("nan")


def sums_by_user(users: Ints, *values: Floats | Bools) -> tuple[Ints, list[Floats]]:
    """Adds values up by user.

    Args:
      users: `[rows]` the user of each row.
      values: `[rows]` each.

    Returns:
      `[users]` how many rows each user has, by ascending user, and the sums in that order.
    """
    _, place, counts = np.unique(users, return_inverse=True, return_counts=True)
    sums = [np.bincount(place, value, len(counts)).astype(np.float64) for value in values]
    return counts, sums


def _mean(values: Floats | Bools) -> float:
    return float(np.mean(values, dtype=np.float64)) if values.size else float("nan")
