"""Which split a rating belongs to: a function of the pair (user, movie) and the seed alone.

Never of the serialized record: adding a feature, reordering rows or re-sharding files must
not move a rating from test to train, or a new model would be compared with an older one
that has seen the answers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from components.errors import InputError
from components.names import SPLITS, SplitMethod

SHARES: tuple[float, ...] = (0.7, 0.1, 0.2)
"""Share of the ratings in each of `SPLITS`."""

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
    state = _mix(np.full(len(user_id), seed, np.int64).view(np.uint64) + _GOLDEN)
    for ids in (user_id, movie_id):
        state = _mix(state + np.ascontiguousarray(ids, np.int64).view(np.uint64) + _GOLDEN)
    return state


def random_splits(user_id: _IntArray, movie_id: _IntArray, seed: int) -> npt.NDArray[np.int8]:
    """Returns the position in `SPLITS` `[n]` of each rating, by its hash."""
    # The top 53 bits make a float64 in [0, 1) without rounding.
    uniform = (pair_hash(user_id, movie_id, seed) >> np.uint64(11)) * 2.0**-53
    return np.searchsorted(np.cumsum(SHARES)[:-1], uniform, side="right").astype(np.int8)


def temporal_splits(
    user_id: _IntArray, movie_id: _IntArray, timestamp: _IntArray, seed: int
) -> npt.NDArray[np.int8]:
    """Returns the position in `SPLITS` `[n]`: each user's last 20 % by time is test.

    The 10 % before are validation. All ratings of a user must be in the arrays. Shares of
    a user's ratings are rounded half up; equal times are ordered by the pair's hash, so
    that the order of rows does not matter.
    """
    order = np.lexsort((pair_hash(user_id, movie_id, seed), timestamp, user_id))
    _, first, counts = np.unique(user_id[order], return_index=True, return_counts=True)
    position = np.arange(len(order)) - np.repeat(first, counts)
    from_end = np.repeat(counts, counts) - 1 - position
    test = np.floor(counts * SHARES[2] + 0.5)
    held_out = np.floor(counts * (SHARES[1] + SHARES[2]) + 0.5)
    splits = np.zeros(len(order), np.int8)
    splits[order[from_end < np.repeat(held_out, counts)]] = 1
    splits[order[from_end < np.repeat(test, counts)]] = 2
    return splits


_NEEDS: Mapping[SplitMethod, str] = {
    "random": "about 30 ratings or more: each is in a split with that probability",
    "temporal": "a user of 9 ratings or more: each user's are split by time, and shares rounded",
}
_ACTIONS: Mapping[SplitMethod, str] = {
    "random": "give more ratings, or try another --seed",
    "temporal": "give more ratings, or use --split random",
}


def check_rows(kind: SplitMethod, rows: Mapping[str, int]) -> None:
    """Refuses to go on where a split has no ratings.

    Args:
      kind: the protocol that made them.
      rows: number of ratings of each of `SPLITS`.

    Raises:
      InputError: a split is empty.
    """
    empty = [split for split in SPLITS if not rows[split]]
    if empty:
        shares = ", ".join(
            f"{share:.0%} {name}" for name, share in zip(SPLITS, SHARES, strict=True)
        )
        raise InputError(
            f"the {kind} split ({shares}) leaves no ratings for {' and '.join(empty)}",
            expected=_NEEDS[kind],
            found="usable ratings: " + ", ".join(f"{rows[name]:,} {name}" for name in SPLITS),
            action=_ACTIONS[kind],
        )


def assign_splits(
    kind: SplitMethod,
    user_id: _IntArray,
    movie_id: _IntArray,
    timestamp: _IntArray,
    seed: int,
) -> npt.NDArray[np.int8]:
    """Returns the position in `SPLITS` `[n]` of each rating under the protocol `kind`."""
    if kind == "random":
        return random_splits(user_id, movie_id, seed)
    return temporal_splits(user_id, movie_id, timestamp, seed)
