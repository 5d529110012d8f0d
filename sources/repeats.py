"""Several events of one user and item: which stay, and what is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from sources import cleaning_log
from sources.description import Repeats
from sources.ratings import BoolArray, RatingsChunk

_INT64_MAX = 2**63 - 1


def without_repeats(chunk: RatingsChunk, repeats: Repeats) -> tuple[RatingsChunk, dict[str, int]]:
    """Returns ratings by user and movie, and how many were dropped for which reason.

    Args:
      chunk: all ratings of some users.
      repeats: what becomes of several of one user and movie.
    """
    if repeats == "count":
        chunk, counted = count_events(chunk)
        return chunk, {cleaning_log.COUNTED: counted}
    if repeats == "keep":
        chunk, duplicates = drop_exact_duplicates(chunk)
        return chunk, {cleaning_log.EXACT_DUPLICATE: duplicates}
    chunk, duplicates, superseded = keep_latest_rating(chunk)
    return chunk, {
        cleaning_log.EXACT_DUPLICATE: duplicates,
        cleaning_log.SUPERSEDED: superseded,
    }


def keep_latest_rating(chunk: RatingsChunk) -> tuple[RatingsChunk, int, int]:
    """Keeps one rating for each pair of user and movie: the newest.

    Of ratings given in the same second the highest is kept. Of equal ratings in the same second,
    the one with the greatest values of the context features, compared feature by feature, is kept.
    So the result does not depend on the order of the rows.

    Args:
      chunk: ratings in any order, all those of its users.

    Returns:
      The ratings by ascending user and movie; the number of exact duplicates dropped; the
      number of ratings dropped because the user rated the movie again.
    """
    chunk = chunk.take(_order_of_pairs(chunk))
    same_pair = _same_pair(chunk)
    if not same_pair.any():
        return chunk, 0, 0
    chunk = _sort_within_pairs(chunk, same_pair)
    exact = same_pair & _is_exact(chunk)
    # In every pair the newest rating comes last: one that is followed by its pair goes.
    kept = np.append(~same_pair, True)
    duplicates = int(exact.sum())
    return chunk.take(kept), duplicates, int(same_pair.sum()) - duplicates


MOST_COUNTED = 10
"""The greatest rating that is a number of events: who played a song more often likes it as much."""


def count_events(chunk: RatingsChunk) -> tuple[RatingsChunk, int]:
    """Returns one row for each pair of user and movie, and how many rows were counted with others.

    Its rating is the sum of the ratings, which are the weights of the events, from 1 to
    `MOST_COUNTED`; its time and position are those of the newest.

    Args:
      chunk: events in any order, all those of their users.
    """
    chunk = chunk.take(_order_of_pairs(chunk))
    same_pair = _same_pair(chunk)
    if len(same_pair):
        chunk = _sort_within_pairs(chunk, same_pair)
    first = np.flatnonzero(np.append(True, ~same_pair)[: len(chunk.user_id)])
    kept = chunk.take(np.append(first[1:] - 1, len(chunk.user_id) - 1)[: len(first)])
    sums = np.add.reduceat(chunk.user_rating, first) if len(first) else chunk.user_rating
    counted = np.clip(sums, 1, MOST_COUNTED).astype(np.float32)
    return kept._replace(user_rating=counted), len(chunk.user_id) - len(first)


def drop_exact_duplicates(chunk: RatingsChunk) -> tuple[RatingsChunk, int]:
    """Returns the events by user, movie and time without exact repeats, and how many those were."""
    chunk = chunk.take(_order_of_pairs(chunk))
    same_pair = _same_pair(chunk)
    if not same_pair.any():
        return chunk, 0
    chunk = _sort_within_pairs(chunk, same_pair)
    exact = same_pair & _is_exact(chunk)
    return chunk.take(np.append(~exact, True)), int(exact.sum())


def in_first_split(chunk: RatingsChunk, split: npt.NDArray[np.int8]) -> BoolArray:
    """Returns which events `[n]` are in the first split that their user and movie have one in.

    Args:
      chunk: events by user and movie.
      split: `[n]` position of each in the splits.
    """
    if not len(split):
        return np.zeros(0, np.bool_)
    pair = np.cumsum(np.append(0, ~_same_pair(chunk)))
    first = np.full(pair[-1] + 1, 127, np.int8)
    np.minimum.at(first, pair, split)
    return np.asarray(split == first[pair])


def _repeats(values: npt.NDArray[np.generic]) -> BoolArray:
    """Returns [n - 1]: whether each value is equal to the next one."""
    return np.asarray(values[:-1] == values[1:])


def _is_exact(chunk: RatingsChunk) -> BoolArray:
    """Returns [n - 1]: whether each row has the time, rating and context of the next one."""
    same = _repeats(chunk.timestamp) & _repeats(chunk.user_rating)
    for codes in _context_codes(chunk):
        same &= _repeats(codes)
    return same


def _context_codes(chunk: RatingsChunk) -> list[npt.NDArray[np.uint64]]:
    """Returns, for each context feature, `[n]` ranks of its values; equal values have one rank."""
    columns = () if chunk.context is None else chunk.context.columns
    return [pc.rank(one.combine_chunks(), tiebreaker="dense").to_numpy() for one in columns]


def _same_pair(chunk: RatingsChunk) -> BoolArray:
    """Returns [n - 1]: whether each row has the user and movie of the next one."""
    return _repeats(chunk.user_id) & _repeats(chunk.movie_id)


def _order_of_pairs(chunk: RatingsChunk) -> npt.NDArray[np.intp]:
    """Returns the order of the rows by user and movie."""
    users, movies = chunk.user_id, chunk.movie_id
    if not len(users):
        return np.empty(0, np.intp)
    first_user, first_movie = int(users.min()), int(movies.min())
    width = int(movies.max()) - first_movie + 1
    if (int(users.max()) - first_user + 1) * width <= _INT64_MAX:
        # One key instead of two sorts in less than half of the time.
        return np.argsort((users - first_user) * width + (movies - first_movie), kind="stable")
    return np.lexsort((movies, users))


def _sort_within_pairs(chunk: RatingsChunk, same_pair: BoolArray) -> RatingsChunk:
    """Returns the rows with those of the same pair in order of time, rating and context."""
    in_pairs = np.flatnonzero(np.append(same_pair, False) | np.append(False, same_pair))
    part = chunk.take(in_pairs)
    keys: list[npt.NDArray[Any]] = [
        *_context_codes(part),
        *(part.user_rating, part.timestamp, part.movie_id, part.user_id),
    ]
    order = np.arange(len(chunk.user_id))
    order[in_pairs] = in_pairs[np.lexsort(keys)]
    return chunk.take(order)
