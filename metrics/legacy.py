"""Formulas that are kept until the scenarios replace them, under the names they are reported by.

`user_ndcg_at_10` of the rows asked with times applies `ranking.user_ndcg_from_sums` to rows whose
lists differ, so it can exceed 1. `user_recall_at_10` divides by all of a user's test movies, so
users with more than ten cannot reach 1. Neither is compared with figures of papers.
"""

from __future__ import annotations

import numpy as np

from metrics.ranking import Floats


def uncapped_user_recall(found: Floats, counts: Floats) -> float:
    """Returns the mean over users of the share of their test movies that was found.

    Args:
      found: `[users]` how many test movies are within the first k.
      counts: `[users]` how many test movies there are, at least one.

    >>> uncapped_user_recall(np.array([10.0, 1.0]), np.array([20.0, 2.0]))
    0.5
    """
    return float(np.mean(found / counts))
