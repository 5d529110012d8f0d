"""Metrics of all recommendations together: share of the catalogue, and popularity."""

from __future__ import annotations

from metrics.ranking import Floats, Ints


def coverage(recommended: Ints, movies: int) -> float:
    """Returns the share of the catalogue that is in any list; NaN without a catalogue.

    Args:
      recommended: rows of the catalogue that were recommended; one may be there several times.
      movies: how many movies the catalogue has.

    >>> import numpy as np
    >>> coverage(np.array([3, 1, 3]), 8)
    0.25
    """
    return len(set(recommended.tolist())) / movies if movies else float("nan")


def popularity_bias(listed: Floats, rated: Floats) -> Floats:
    """Returns by how much what is recommended is more popular than what users choose.

    The difference of group average popularity, ΔGAP = (GAP_r - GAP_p) / GAP_p, of Abdollahpouri
    et al.: The unfairness of popularity bias in recommendation, 2019. 0 means as popular, 1 twice
    as popular. GAP is a mean over users of the mean popularity of a user's movies.

    Args:
      listed: sum over users of the mean popularity of the movies recommended to each.
      rated: sum over the same users of that of the movies that they rated.

    >>> import numpy as np
    >>> popularity_bias(np.array([30.0]), np.array([20.0])).tolist()
    [0.5]
    """
    return listed / rated - 1.0
