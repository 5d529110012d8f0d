"""Hashes of ids, and what is decided by them: the order of events and the folds of users."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_IntArray = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable PRNGs, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def pair_hash(user_id: _IntArray, movie_id: _IntArray, seed: int) -> npt.NDArray[np.uint64]:
    """Returns a uniform 64-bit hash `[n]` of each (user, movie) and the seed."""
    return hash_columns((user_id, movie_id), seed)


def hash_columns(columns: Sequence[_IntArray], seed: int) -> npt.NDArray[np.uint64]:
    """Returns a uniform 64-bit hash `[n]` of the rows of int64 columns and the seed."""
    state = _mix(np.full(len(columns[0]), seed, np.int64).view(np.uint64) + _GOLDEN)
    for column in columns:
        state = _mix(state + np.ascontiguousarray(column, np.int64).view(np.uint64) + _GOLDEN)
    return state


def event_order(
    user_id: _IntArray,
    movie_id: _IntArray,
    timestamp: _IntArray,
    seed: int,
    position: _IntArray | None = None,
) -> _IntArray:
    """Returns the rows `[n]` in event order: by user, and of each user by time.

    Equal times are ordered by `position` where it is given, else by the pair's hash.
    """
    ties = pair_hash(user_id, movie_id, seed)
    keys = (ties, timestamp, user_id) if position is None else (ties, position, timestamp, user_id)
    return np.lexsort(keys)


def user_folds(user_id: _IntArray, folds: int, seed: int) -> _IntArray:
    """Returns the fold `[n]` of each user, from 0 on, by a hash of the id."""
    in_fold = pair_hash(user_id, np.zeros_like(user_id), seed) % np.uint64(folds)
    return in_fold.astype(np.int64)
