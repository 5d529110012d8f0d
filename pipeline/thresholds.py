"""What a model must reach to be blessed, by data set, split method and what the data has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from components.evaluation.config import Thresholds
from components.names import SplitMethod
from schema.features import FeatureTable
from sources.names import ML_100K

_ANY_DATA = Thresholds(
    min_rating_r_squared=0.0,
    min_recall_at_10_over_popularity=0.0,
    min_recall_at_100_over_popularity=0.0,
)
"""What a sound model reaches on any data: it predicts ratings better than their mean does, and
recommends no fewer of the test movies than plain popularity, beyond chance. (At a k of all movies
that are left to rank, both find everything: `components.evaluation.verdict` leaves that out.)"""

_ML_100K: Mapping[SplitMethod, Thresholds] = {
    # Seed 42 reaches 0.869, 0.182 and 0.644; standard errors over users 0.008, 0.004, 0.006.
    "random": Thresholds(max_rating_rmse=0.885, min_recall_at_10=0.17, min_recall_at_100=0.62),
    # Seed 42 reaches 0.917, 0.083, 0.430, and 0.118 in session; 0.011, 0.0025, 0.007 and 0.003.
    "temporal": Thresholds(
        max_rating_rmse=0.94,
        min_recall_at_10=0.077,
        min_recall_at_100=0.41,
        min_in_session_recall_at_10=0.108,
    ),
    # Seed 42 reaches 0.941, 0.154, 0.543, and 0.183 in session; 0.024, 0.012, 0.017 and 0.012.
    "leave-one-out": Thresholds(
        max_rating_rmse=1.0,
        min_recall_at_10=0.125,
        min_recall_at_100=0.5,
        min_in_session_recall_at_10=0.155,
    ),
}
"""Two to three standard errors worse than the shipped configuration reaches. The session
retrieval has a bound of its own where nothing later than the test row was fitted: the next
visit's bounds do not depend on it. `timeline` has neither: its test has 109 known users, so their
metrics are too uncertain for a bound, and no event of a test row's session is known."""


def thresholds_for(dataset: str, split: SplitMethod, table: FeatureTable) -> Thresholds:
    """Returns the thresholds of a data set ("ml-100k", "sample", "custom") and split method.

    Absolute bounds exist for known data and splits. On other data a model is compared with the
    mean rating and with popularity; without ratings, with popularity alone. What RMSE may rise by
    is in units of the scale: that of MovieLens's stars times the ratio of the scales' ranges.
    """
    known = _ML_100K if dataset == ML_100K else {}
    found = known.get(split, _ANY_DATA)
    if not table.has_rating:
        return dataclasses.replace(
            found, max_rating_rmse=None, min_rating_r_squared=None, rating_rmse_worsening=None
        )
    if found.rating_rmse_worsening is None:
        return found
    worsening = found.rating_rmse_worsening * table.scale.units_per_star
    return dataclasses.replace(found, rating_rmse_worsening=worsening)
