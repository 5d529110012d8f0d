"""95 % intervals of metrics by drawing users again (a cluster bootstrap).

Rows of one user go together, so drawing single rows would make intervals too narrow; users are
drawn instead (Cameron, Gelbach & Miller: Bootstrap-based improvements for inference with clustered
errors, 2008). Sums per user are enough for it, so its cost does not grow with the rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DRAWS = 400
_TAIL = 2.5  # per cent on either side


def drawn_sums(sums: Floats, seed: int = 0, draws: int = DRAWS) -> Floats:
    """Returns `[draws, columns]`: sums over as many users, drawn with replacement.

    Args:
      sums: `[users, columns]` sums over each user's rows; at least one user.
      seed: of the draws.
      draws: how many.
    """
    users = len(sums)
    chosen = np.random.default_rng(seed).multinomial(users, np.full(users, 1.0 / users), draws)
    drawn: Floats = chosen @ sums
    return drawn


def interval(values: Floats, share: float = 1.0) -> tuple[float, float]:
    """Returns the middle 95 % of a metric's drawn values.

    Args:
      values: `[draws]` the metric of each draw.
      share: of all users, the share that was drawn from; the interval is for all of them, hence
        narrower by its root.
    """
    low, high = np.percentile(values, [_TAIL, 100.0 - _TAIL]).tolist()
    middle = float(np.mean(values))
    narrower = float(np.sqrt(share))
    return middle + (low - middle) * narrower, middle + (high - middle) * narrower
