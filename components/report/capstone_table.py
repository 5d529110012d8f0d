"""The summary table of the capstone that this project comes from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from schema import features

COLUMNS: tuple[str, ...] = features.names(
    (
        features.AGE_BUCKET,
        features.MOVIE_ID,
        features.AGE,
        features.USER_ID,
        features.OCCUPATION_LABEL,
        features.RATING,
        features.ZIP_CODE,
    )
)
"""The columns of the capstone's table, in its order."""

_QUARTILES = (0.25, 0.5, 0.75)


def capstone_describe(ratings: pd.DataFrame) -> pd.DataFrame:
    """Returns count, mean, std, min, quartiles and max of the capstone's seven columns.

    Args:
      ratings: one row for each rating, joined with the columns of its user. Zip codes that
        are not numbers count as missing, as do occupations without a label.

    Returns:
      The statistics (float64) by row, `COLUMNS` by column.
    """
    return pd.DataFrame({name: _numbers(ratings[name]) for name in COLUMNS}).describe()


def describe_counted(values: pd.Series, counts: npt.NDArray[np.int64]) -> pd.Series:
    """Returns what `capstone_describe` says of a column, from its values and their counts.

    The column itself would be `values` repeated `counts` times each; it is never made, so
    that the cost grows with the different values only.

    Args:
      values: `[n]`, as in a column of `ratings`.
      counts: how often each occurs, `[n]`.

    Returns:
      The statistics (float64), by name as pandas has them.
    """
    numbers = _numbers(values).to_numpy()
    held = ~np.isnan(numbers) & (counts > 0)
    order = np.argsort(numbers[held])
    ordered, weights = numbers[held][order], counts[held][order]
    total = int(weights.sum())
    found = pd.Series(np.nan, ("count", "mean", "std", "min", "25%", "50%", "75%", "max"))
    found["count"] = total
    if total:
        found["mean"] = mean = float(weights @ ordered) / total
        found["min"], found["max"] = ordered[0], ordered[-1]
        found[["25%", "50%", "75%"]] = _quantiles(ordered, weights, _QUARTILES)
        if total > 1:
            found["std"] = np.sqrt(weights @ (ordered - mean) ** 2 / (total - 1))
    return found


def _numbers(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column, errors="coerce").astype("float64")


def _quantiles(
    ordered: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
    shares: tuple[float, ...],
) -> npt.NDArray[np.float64]:
    """Returns quantiles by linear interpolation between order statistics, pandas' default."""
    ends = np.cumsum(counts)
    place = np.array(shares) * (ends[-1] - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, ends[-1] - 1)
    below, above = (ordered[np.searchsorted(ends, at, side="right")] for at in (low, high))
    return np.asarray(below + (above - below) * (place - low))
