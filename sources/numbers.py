"""Groups of numbers, for slices and reports."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from schema import features as raw

QUARTERS = 4


def quarters(values: Sequence[float | None]) -> list[str]:
    """Returns the quarter `[n]` in which each number lies, in words; "unknown" for a missing one.

    The bounds are the quartiles of the numbers; where many are equal there are fewer groups. The
    words sort as the numbers do.
    """
    known = np.array([one for one in values if one is not None], np.float64)
    if not len(known):
        return [raw.UNKNOWN] * len(values)
    shares = np.arange(1, QUARTERS) / QUARTERS
    bounds = np.unique(np.quantile(known, shares, method="inverted_cdf"))
    bounds = bounds[bounds < known.max()]
    shown = [f"{bound:,.0f}" if abs(bound) >= 1000 else f"{bound:.3g}" for bound in bounds]
    ends = [f"at most {shown[0]}" if shown else "all"]
    ends += [f"over {low} to {high}" for low, high in itertools.pairwise(shown)]
    ends += [f"over {shown[-1]}"] if shown else []
    names = [f"{place}. {words}" for place, words in enumerate(ends, 1)]
    return [
        raw.UNKNOWN if one is None else names[int(np.searchsorted(bounds, one))] for one in values
    ]
