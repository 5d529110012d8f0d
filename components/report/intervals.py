"""How sure the metrics of a slice are: a bootstrap over people.

Ratings of one person go together, so drawing single rows again would make intervals too
narrow; people are drawn instead (a cluster bootstrap: Cameron, Gelbach & Miller 2008).
Sums per person are enough for it, so its cost does not grow with ratings.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from components.report.served import Predictions
from schema import features as raw

FloatArray = npt.NDArray[np.float64]

TOP_K = 10
DRAWS = 400
MIN_PEOPLE = 5
"""Of fewer, drawing anew says nothing: one person drawn again is the same person."""

_TAIL = 2.5  # per cent on either side: 95 % intervals


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
    people, row = np.unique(predictions.user, return_inverse=True)
    predicted = np.clip(predictions.predicted, raw.RATING_MIN, raw.RATING_MAX)
    hits = (predictions.rank_unseen >= 1) & (predictions.rank_unseen <= TOP_K)
    size = len(people)
    return PersonSums(
        people=people,
        rows=np.bincount(row, minlength=size).astype(np.float64),
        squared_error=_sums(row, (predicted - predictions.rating) ** 2, size),
        hits=_sums(row, hits.astype(np.float64), size),
        share=predictions.share,
    )


def _sums(row: npt.NDArray[np.int64], values: FloatArray, size: int) -> FloatArray:
    return np.bincount(row, values, size).astype(np.float64, copy=False)


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
    size = len(parts)
    draws = np.random.default_rng(seed).multinomial(size, np.full(size, 1.0 / size), DRAWS)
    drawn = draws @ parts
    return Estimate(
        rows=int(rows),
        rmse=float(np.sqrt(errors / rows)),
        rmse_range=_range(np.sqrt(drawn[:, 1] / drawn[:, 0]), sums.share),
        top_10=hits / rows,
        top_10_range=_range(drawn[:, 2] / drawn[:, 0], sums.share),
    )


def _range(values: FloatArray, share: float) -> tuple[float, float]:
    """Returns the middle 95 %, drawn in as far as all people say more than a share of them."""
    low, high = np.percentile(values, [_TAIL, 100.0 - _TAIL]).tolist()
    middle = float(np.mean(values))
    narrower = float(np.sqrt(share))
    return middle + (low - middle) * narrower, middle + (high - middle) * narrower
