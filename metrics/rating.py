"""Metrics of predicted ratings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BIN_WIDTH = 0.5
"""Stars per bin of predictions, for calibration."""


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


def rmse_from_sums(squared_error: float, rows: float) -> float:
    """Returns the RMSE from the sum of squared errors over `rows` rows; NaN without rows.

    >>> rmse_from_sums(8.0, 2)
    2.0
    """
    return float(np.sqrt(squared_error / rows)) if rows else float("nan")


def bias(predicted: Floats, ratings: Floats) -> float:
    """Returns the mean of predicted minus given; NaN without rows.

    >>> bias(np.array([4.0, 3.0]), np.array([5.0, 1.0]))
    0.5
    """
    return float(np.mean(predicted - ratings)) if ratings.size else float("nan")


def bin_count(scale: tuple[float, float]) -> int:
    """Returns how many bins of half a star there are.

    >>> bin_count((1.0, 5.0))
    8
    """
    return int(np.ceil((scale[1] - scale[0]) / BIN_WIDTH))


def bins(predicted: Floats, scale: tuple[float, float]) -> npt.NDArray[np.int64]:
    """Returns the bin of half a star of each prediction, from 0 on.

    The last bin holds its upper end as well. What is no number is in the first.

    >>> bins(np.array([1.0, 1.49, 1.5, 5.0]), (1.0, 5.0)).tolist()
    [0, 0, 1, 7]
    """
    place = np.floor((clip(predicted, scale) - scale[0]) / BIN_WIDTH)
    last = bin_count(scale) - 1
    return np.minimum(np.where(np.isnan(place), 0, place), last).astype(np.int64)


def calibration_error_from_sums(sums: Floats, rows: Floats) -> Floats:
    """Returns the expected calibration error of several sets of rows, in stars.

    The mean over rows of |mean prediction - mean rating| of the bin that the prediction is in
    (Naeini, Cooper & Hauskrecht: Obtaining well calibrated probabilities using Bayesian binning,
    2015, with stars in place of probabilities).

    Args:
      sums: `[sets, bins]` sums of predicted minus given over the rows of each bin.
      rows: `[sets]` how many rows there are.

    >>> calibration_error_from_sums(np.array([[0.0, -1.0, 1.0]]), np.array([4.0])).tolist()
    [0.5]
    """
    errors: Floats = np.sum(np.abs(sums), axis=1) / rows
    return errors


def r_squared_from_sums(
    squared_error: Floats, rows: Floats, total: Floats, squares: Floats
) -> Floats:
    """Returns the share of the ratings' variance that is explained, of several sets of rows.

    0 is what predicting the mean reaches. NaN where all ratings are the same.

    The difference of a mean square and a squared mean is not exact: both are rounded before
    they cancel. `rows`·Σx² - (Σx)² is, for whole and half stars up to 2⁵¹. Of other values,
    what is no larger than the rounding of the sums is taken for no variance.

    Args:
      squared_error: `[sets]` sums of squared errors.
      rows: `[sets]` how many rows there are.
      total: `[sets]` sums of ratings.
      squares: `[sets]` sums of squared ratings.

    >>> r_squared_from_sums(*(np.array([x]) for x in (1.0, 2.0, 4.0, 10.0))).tolist()
    [0.5]
    """
    scaled = rows * squares
    spread = scaled - total**2
    exact = (2 * total % 1 == 0) & (4 * squares % 1 == 0) & (scaled < 2**51)
    smallest = np.where(exact, 0.0, rows * np.finfo(np.float64).eps * scaled)
    spread = np.where(spread > smallest, spread, np.nan)
    explained: Floats = 1.0 - squared_error * rows / spread
    return explained
