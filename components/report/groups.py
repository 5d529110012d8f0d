"""Ratings by what is known of those who gave or got them: counts, means, how unequal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.special

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_SURE = 0.975  # 95 % intervals


@dataclasses.dataclass(frozen=True)
class Group:
    """The ratings of some people, or of some films.

    Attributes:
      value: what they have in common.
      members: how many people or films.
      counts: ratings by stars, `[levels]`.
      mean: mean stars.
      low, high: its 95 % interval; NaN with fewer than two members.
    """

    value: str
    members: int
    counts: IntArray
    mean: float
    low: float
    high: float

    @property
    def ratings(self) -> int:
        """How many ratings."""
        return int(self.counts.sum())


def grouped(
    values: Sequence[str], rows: IntArray, by_member: IntArray, stars: FloatArray
) -> list[Group]:
    """Returns the groups by the values that occur, in order of their first appearance.

    A group's ratings are not independent: some people are kinder, some films better. The
    intervals take members as drawn at random, each with all its ratings (the ratio
    estimator of cluster sampling; Cochran, Sampling Techniques, 3rd ed., section 6.3).

    Args:
      values: value of each membership, `[memberships]`; a member may be in several groups.
      rows: row of the member in `by_member`, `[memberships]`.
      by_member: ratings by stars, `[members, levels]`.
      stars: `[levels]`.
    """
    codes, names = pd.factorize(np.asarray(values, dtype=object))
    codes = codes.astype(np.int64)
    size = len(names)
    counts = np.zeros([size, len(stars)], np.int64)
    np.add.at(counts, codes, by_member[rows])
    ratings = counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = counts @ stars / ratings
        # How far each member's sum of stars is from what its group's mean would give.
        deviation = by_member[rows] @ stars - mean[codes] * by_member[rows].sum(axis=1)
        members = np.bincount(codes, minlength=size)
        variance = np.bincount(codes, deviation**2, size) * members / (members - 1) / ratings**2
        width = scipy.special.stdtrit(members - 1, _SURE) * np.sqrt(variance)
    width = np.where(members > 1, width, np.nan)
    return [
        Group(str(name), int(members[n]), counts[n], float(mean[n]), *_around(mean[n], width[n]))
        for n, name in enumerate(names)
    ]


def _around(middle: float, width: float) -> tuple[float, float]:
    return float(middle - width), float(middle + width)


def leading_share(totals: IntArray, share: float) -> float:
    """Returns the part of a total that the largest `share` of its parts (at least one) make up.

    Args:
      totals: the parts, `[n]`.
      share: 0 to 1.
    """
    ordered = np.sort(totals)[::-1]
    first = max(1, round(share * len(ordered)))
    return float(ordered[:first].sum() / max(ordered.sum(), 1))


def cumulative_shares(totals: IntArray, points: int = 60) -> list[tuple[float, float]]:
    """Returns (share of the parts, share of the total), largest parts first, from 0 to 1.

    Args:
      totals: the parts, `[n]`.
      points: about how many pairs.
    """
    sums = np.concatenate([[0], np.cumsum(np.sort(totals)[::-1])])
    places = np.unique(np.linspace(0, len(totals), points).round().astype(np.int64))
    whole = max(int(sums[-1]), 1)
    return [(int(n) / max(len(totals), 1), int(sums[n]) / whole) for n in places]


def binned(totals: IntArray) -> list[tuple[int, int, int]]:
    """Returns (first, last, how many parts) of bins 1–2, 3–5, 6–10, 11–20, 21–50, and so on.

    Bins before the first and after the last that hold anything are left out.

    Args:
      totals: whole numbers from 1.
    """
    ends = [0]
    while ends[-1] < totals.max(initial=1):
        ends.append((2, 5, 10)[(len(ends) - 1) % 3] * 10 ** ((len(ends) - 1) // 3))
    counts, _ = np.histogram(totals, np.array(ends) + 0.5)
    held = np.flatnonzero(counts)
    if not len(held):
        return []
    return [
        (ends[n] + 1, ends[n + 1], int(counts[n])) for n in range(int(held[0]), int(held[-1]) + 1)
    ]
