"""95 % intervals of metrics by resampling users (a cluster bootstrap).

Rows of one user go together, so drawing single rows would make intervals too narrow; users are
drawn instead (Cameron, Gelbach & Miller: Bootstrap-based improvements for inference with clustered
errors, 2008). It needs sums per user only, so its cost does not grow with the rows. Two models that
are evaluated on the same users are compared draw by draw: the same seed draws the same users.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DRAWS = 400
_TAIL = 2.5  # per cent on either side
_NUMBERS_AT_ONCE = 4_000_000
"""How often each user was drawn, held at a time: 32 MB."""


def drawn_sums(sums: Floats, seed: int = 0, draws: int = DRAWS) -> Floats:
    """Returns `[draws, columns]`: sums over as many users, drawn with replacement.

    Args:
      sums: `[users, columns]` sums over each user's rows; at least one user.
      seed: of the draws; which users are drawn depends on it and on their number alone.
      draws: how many.
    """
    users = len(sums)
    random, shares = np.random.default_rng(seed), np.full(users, 1.0 / users)
    at_once = max(1, _NUMBERS_AT_ONCE // users)
    parts = [
        random.multinomial(users, shares, min(at_once, draws - start)) @ sums
        for start in range(0, draws, at_once)
    ]
    drawn: Floats = np.concatenate(parts)
    return drawn


def interval(values: Floats) -> tuple[float, float]:
    """Returns the middle 95 % of a metric's drawn values; NaN if one of them is.

    Args:
      values: `[draws]` the metric of each draw.
    """
    low, high = np.percentile(values, [_TAIL, 100.0 - _TAIL]).tolist()
    return low, high
