"""Which split a rating belongs to: a function of the user, the movie, the time and the seed.

Never of the serialized record or of the order of rows: adding a feature, reordering rows or
re-sharding files must not move a rating from test to train, or a new model would be compared
with an older one that has seen the answers.

| method | test | validation | knows |
|---|---|---|---|
| random | 20 % of the pairs, by hash | 10 % | ratings from before and after the test rating |
| temporal | each user's last 20 % | the 10 % before | other users' ratings from after it |
| timeline | from a time T on | the last eighth of what is before T | the past alone |
| leave-one-out | each user's last rating | the one before | other users' ratings from after it |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from components.names import SPLITS, SplitMethod
from schema.hashing import event_order, pair_hash
from sources import cleaning_log
from sources.description import Repeats
from sources.errors import InputError
from sources.ratings import RatingsChunk
from sources.repeats import in_first_split, without_repeats

SHARES: tuple[float, ...] = (0.7, 0.1, 0.2)
"""Share of the ratings in each of `SPLITS`."""

LEAST_LEFT_OUT = 3
"""`leave-one-out` holds nothing out of users with fewer ratings: all of theirs are train."""

_IntArray = npt.NDArray[np.int64]


class SplitTimes(NamedTuple):
    """Where the splits of a timeline begin.

    Attributes:
      validation: unix seconds of the first second of validation.
      test: unix seconds of the first second of test, T.
    """

    validation: int
    test: int


def random_splits(user_id: _IntArray, movie_id: _IntArray, seed: int) -> npt.NDArray[np.int8]:
    """Returns the position in `SPLITS` `[n]` of each rating, by its hash."""
    # The top 53 bits make a float64 in [0, 1) without rounding.
    uniform = (pair_hash(user_id, movie_id, seed) >> np.uint64(11)) * 2.0**-53
    return np.searchsorted(np.cumsum(SHARES)[:-1], uniform, side="right").astype(np.int8)


class _EventOrder(NamedTuple):
    """Ratings in event order: by user, and of each user by time.

    Attributes:
      rows: `[n]` the rows in that order.
      from_end: `[n]` how many ratings of the same user come after each.
      counts: `[n]` number of ratings of the same user.
    """

    rows: _IntArray
    from_end: _IntArray
    counts: _IntArray


def _event_order(
    user_id: _IntArray,
    movie_id: _IntArray,
    timestamp: _IntArray,
    seed: int,
    position: _IntArray | None,
) -> _EventOrder:
    """Sorts by (user, timestamp, position); what is equal then, by the pair's hash."""
    rows = event_order(user_id, movie_id, timestamp, seed, position)
    _, first, counts = np.unique(user_id[rows], return_index=True, return_counts=True)
    place = np.arange(len(rows)) - np.repeat(first, counts)
    per_rating = np.repeat(counts, counts)
    return _EventOrder(rows, per_rating - 1 - place, per_rating)


def temporal_splits(
    user_id: _IntArray,
    movie_id: _IntArray,
    timestamp: _IntArray,
    seed: int,
    position: _IntArray | None = None,
) -> npt.NDArray[np.int8]:
    """Returns the position in `SPLITS` `[n]`: each user's last 20 % by time is test.

    The 10 % before are validation. All ratings of a user must be in the arrays. Shares of
    a user's ratings are rounded half up; equal times are ordered by `position` where it is
    given, else by the pair's hash, so that the order of rows does not matter.

    Users end at different times, so training has ratings of other users from after a test
    rating: a model may know how popular a movie became. `timeline_splits` knows the past alone.
    """
    order = _event_order(user_id, movie_id, timestamp, seed, position)
    test = np.floor(order.counts * SHARES[2] + 0.5)
    held_out = np.floor(order.counts * (SHARES[1] + SHARES[2]) + 0.5)
    splits = np.zeros(len(order.rows), np.int8)
    splits[order.rows[order.from_end < held_out]] = 1
    splits[order.rows[order.from_end < test]] = 2
    return splits


def leave_one_out_splits(
    user_id: _IntArray,
    movie_id: _IntArray,
    timestamp: _IntArray,
    seed: int,
    position: _IntArray | None = None,
) -> npt.NDArray[np.int8]:
    """Returns the position in `SPLITS` `[n]`: each user's last rating is test.

    The one before is validation. Users with fewer than `LEAST_LEFT_OUT` ratings are train
    only. Equal times are ordered as by `temporal_splits`; other users' later ratings are in
    training here as well.
    """
    order = _event_order(user_id, movie_id, timestamp, seed, position)
    of_many = order.counts >= LEAST_LEFT_OUT
    splits = np.zeros(len(order.rows), np.int8)
    splits[order.rows[of_many & (order.from_end == 1)]] = 1
    splits[order.rows[of_many & (order.from_end == 0)]] = 2
    return splits


def split_times(timestamp: _IntArray, test: int | None = None) -> SplitTimes:
    """Returns where validation and test of a timeline begin, in whole seconds.

    Test begins at T, the time of the first rating after the first 80 % of all ratings by time.
    Validation is the last eighth of the ratings before T, so that it begins after 70 % of all.
    Ratings of one second are never divided: shares may be off by as many.

    Args:
      timestamp: `[n]` unix seconds of all ratings.
      test: T, where it was decided before; None: after 80 % of these ratings.
    """
    if test is None:
        test = time_after(timestamp, 1.0 - SHARES[2])
    before = timestamp[timestamp < test]
    return SplitTimes(time_after(before, SHARES[0] / (SHARES[0] + SHARES[1]), test), test)


def time_after(timestamp: _IntArray, share: float, otherwise: int = 0) -> int:
    """Returns the time of the first rating after a share of all by time, rounded half up.

    Args:
      timestamp: `[n]` unix seconds of all ratings.
      share: 0 to 1.
      otherwise: what is returned where there are no ratings.
    """
    if not len(timestamp):
        return otherwise
    # One is always left, however few there are.
    place = min(int(np.floor(len(timestamp) * share + 0.5)), len(timestamp) - 1)
    return int(np.partition(timestamp, place)[place])


def timeline_splits(timestamp: _IntArray, times: SplitTimes) -> npt.NDArray[np.int8]:
    """Returns the position in `SPLITS` `[n]`: the same times for all users.

    What is later than training, for everybody, is what is tested: users and movies that
    appear after T have no training ratings.
    """
    return np.searchsorted(np.array(times), timestamp, side="right").astype(np.int8)


_NEEDS: Mapping[SplitMethod, str] = {
    "random": "about 30 ratings or more: each is in a split with that probability",
    "temporal": "a user of 9 ratings or more: each user's are split by time, and shares rounded",
    "timeline": "ratings of three different seconds or more, before and after --split-time",
    "leave-one-out": f"a user of {LEAST_LEFT_OUT} ratings or more",
}
_ACTIONS: Mapping[SplitMethod, str] = {
    "random": "give more ratings, or try another --split-seed",
    "temporal": "give more ratings, or use --split random",
    "timeline": "give ratings of more times, another --split-time, or use --split random",
    "leave-one-out": "give more ratings, or use --split random",
}
_MAKES: Mapping[SplitMethod, str] = {
    "leave-one-out": "each user's last rating test, the one before validation",
}


def check_rows(
    method: SplitMethod, rows: Mapping[str, int], what: Literal["ratings", "events"] = "ratings"
) -> None:
    """Refuses to go on where a split has no ratings.

    Args:
      method: the split method that made them.
      rows: number of ratings of each of `SPLITS`.
      what: the rows are: "ratings" or "events".

    Raises:
      InputError: a split is empty.
    """
    empty = [split for split in SPLITS if not rows[split]]
    if empty:
        shares = ", ".join(
            f"{share:.0%} {name}" for name, share in zip(SPLITS, SHARES, strict=True)
        )
        made = _MAKES.get(method, shares).replace("rating", what[:-1])
        raise InputError(
            f"the {method} split ({made}) leaves no {what} for " + " and ".join(empty),
            expected=_NEEDS[method].replace("ratings", what),
            found=f"usable {what}: " + ", ".join(f"{rows[name]:,} {name}" for name in SPLITS),
            action=_ACTIONS[method].replace("ratings", what),
        )


def assign_splits(
    method: SplitMethod,
    user_id: _IntArray,
    movie_id: _IntArray,
    timestamp: _IntArray,
    seed: int,
    *,
    position: _IntArray | None = None,
    times: SplitTimes | None = None,
) -> npt.NDArray[np.int8]:
    """Returns the position in `SPLITS` `[n]` of each rating under a split method.

    Args:
      method: the split method.
      user_id: `[n]` ids.
      movie_id: `[n]` ids.
      timestamp: `[n]` unix seconds.
      seed: of the hash that splits at random and orders equal times.
      position: `[n]` places in the file, where its order means something.
      times: where validation and test begin; needed for a timeline.

    Raises:
      ValueError: a timeline without times.
    """
    if method == "random":
        return random_splits(user_id, movie_id, seed)
    if method == "timeline":
        if times is None:
            raise ValueError("expected the times of a timeline, received None")
        return timeline_splits(timestamp, times)
    by_event_order = {"temporal": temporal_splits, "leave-one-out": leave_one_out_splits}[method]
    return by_event_order(user_id, movie_id, timestamp, seed, position)


def split_ratings(
    chunk: RatingsChunk,
    repeats: Repeats,
    method: SplitMethod,
    seed: int,
    times: SplitTimes | None = None,
) -> tuple[RatingsChunk, npt.NDArray[np.int8], dict[str, int]]:
    """Returns ratings without repeats, their splits, and how many were dropped for which reason.

    Args:
      chunk: all ratings of some users.
      repeats: what becomes of several of one user and movie.
      method: the split method.
      seed: see `assign_splits`.
      times: see `assign_splits`.

    Returns:
      The ratings `[n]` by user and movie, the position `[n]` of each in `SPLITS`, and the counts.
    """
    chunk, dropped = without_repeats(chunk, repeats)
    split = assign_splits(
        method,
        chunk.user_id,
        chunk.movie_id,
        chunk.timestamp,
        seed,
        position=chunk.position,
        times=times,
    )
    if repeats == "keep":
        kept = in_first_split(chunk, split)
        dropped[cleaning_log.REPEATED] = int((~kept).sum())
        chunk, split = chunk.take(kept), split[kept]
    return chunk, split, dropped
