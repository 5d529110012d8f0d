"""How sure the metrics of a slice are: 95 % intervals by a bootstrap over people."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from components.report.served import Predictions
from metrics import bootstrap, ranking, rating
from schema import features as raw

FloatArray = npt.NDArray[np.float64]

TOP_K = 10
MIN_PEOPLE = 5
"""Of fewer, drawing anew says nothing: one person drawn again is the same person."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Metrics of a slice on the rows that were asked about, with 95 % intervals.

    Attributes:
      rows: how many rows.
      rmse: in stars.
      rmse_range: its interval.
      top_10: share of rows whose movie is in the top 10 among unseen ones.
      top_10_range: its interval.
    """

    rows: int
    rmse: float
    rmse_range: tuple[float, float]
    top_10: float
    top_10_range: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class PersonSums:
    """Sums over each person's rows, `[people]` each; `people` ascending.

    Attributes:
      people: ids.
      rows: how many rows.
      squared_error: of the prediction clipped to the scale of stars.
      hits: rows whose movie is in the top 10 among unseen ones.
      share: share of all people that are here; intervals are for all of them.
    """

    people: npt.NDArray[np.int64]
    rows: FloatArray
    squared_error: FloatArray
    hits: FloatArray
    share: float


def person_sums(predictions: Predictions) -> PersonSums:
    """Returns the sums per person, as the Evaluator's metrics count them."""
    predicted = rating.clip(predictions.predicted, (raw.RATING_MIN, raw.RATING_MAX))
    counts, (squared_error, hits) = ranking.sums_by_user(
        predictions.user,
        (predicted - predictions.rating) ** 2,
        ranking.hits(predictions.rank_unseen, TOP_K),
    )
    return PersonSums(
        people=np.unique(predictions.user),
        rows=counts.astype(np.float64),
        squared_error=squared_error,
        hits=hits,
        share=predictions.share,
    )


def estimate(sums: PersonSums, chosen: npt.NDArray[np.bool_], seed: int = 0) -> Estimate | None:
    """Returns the metrics of the chosen people with their intervals.

    Args:
      sums: all people's sums.
      chosen: which of them are in the slice, `[people]`.
      seed: of the draws.

    Returns:
      The estimate; None where the slice has too few people.
    """
    parts = np.stack([sums.rows, sums.squared_error, sums.hits], axis=1)[chosen]
    if len(parts) < MIN_PEOPLE:
        return None
    rows, errors, hits = parts.sum(axis=0).tolist()
    drawn = bootstrap.drawn_sums(parts, seed)
    return Estimate(
        rows=int(rows),
        rmse=rating.rmse_from_sums(errors, rows),
        rmse_range=bootstrap.interval(np.sqrt(drawn[:, 1] / drawn[:, 0]), sums.share),
        top_10=hits / rows,
        top_10_range=bootstrap.interval(drawn[:, 2] / drawn[:, 0], sums.share),
    )
