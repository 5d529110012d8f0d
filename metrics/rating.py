"""Metrics of predicted ratings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def clip(predicted: Floats, scale: tuple[float, float]) -> Floats:
    """Returns predictions within the rating scale, as they are served.

    >>> clip(np.array([0.2, 3.0, 9.0]), (1.0, 5.0)).tolist()
    [1.0, 3.0, 5.0]
    """
    return np.clip(predicted, *scale)


def rmse(predicted: Floats, ratings: Floats) -> float:
    """Returns the root of the mean squared error; NaN without rows.

    >>> rmse(np.array([4.0, 2.0]), np.array([5.0, 5.0])).__round__(4)
    2.2361
    """
    return rmse_from_sums(float(np.sum((predicted - ratings) ** 2, dtype=np.float64)), ratings.size)


def mae(predicted: Floats, ratings: Floats) -> float:
    """Returns the mean absolute error; NaN without rows.

    >>> mae(np.array([4.0, 2.0]), np.array([5.0, 5.0]))
    2.0
    """
    if not ratings.size:
        return float("nan")
    return float(np.mean(np.abs(predicted - ratings), dtype=np.float64))


def rmse_from_sums(squared_error: float, rows: float) -> float:
    """Returns the RMSE from the sum of squared errors over `rows` rows; NaN without rows.

    >>> rmse_from_sums(8.0, 2)
    2.0
    """
    return float(np.sqrt(squared_error / rows)) if rows else float("nan")
