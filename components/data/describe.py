"""The summary table of the capstone that this project comes from."""

from __future__ import annotations

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


def capstone_describe(ratings: pd.DataFrame) -> pd.DataFrame:
    """Returns count, mean, std, min, quartiles and max of the capstone's seven columns.

    Args:
      ratings: one row for each rating, joined with the columns of its user. Zip codes that
        are not numbers count as missing, as do occupations without a label.

    Returns:
      The statistics (float64) by row, `COLUMNS` by column.
    """
    numbers = {
        name: pd.to_numeric(ratings[name], errors="coerce").astype("float64") for name in COLUMNS
    }
    return pd.DataFrame(numbers).describe()
