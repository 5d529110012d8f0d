"""What a model must reach to be blessed, by data set and split method."""

from __future__ import annotations

from collections.abc import Mapping

from components.evaluation.config import Thresholds
from components.names import SplitMethod
from sources.names import ML_100K

_ANY_DATA = Thresholds(min_rating_r_squared=0.0, min_recall_at_100_over_popularity=0.0)
"""What a sound model reaches on any data: it rates better than the mean rating does, and finds
no fewer movies than plain popularity beyond chance (on a few movies popularity is hard to beat)."""

_ML_100K: Mapping[SplitMethod, Thresholds] = {
    "random": Thresholds(max_rating_rmse=0.885, min_recall_at_10=0.17, min_recall_at_100=0.62),
    "temporal": Thresholds(
        max_rating_rmse=0.96,
        min_recall_at_10=0.075,
        min_recall_at_100=0.4,
        min_in_session_recall_at_10=0.1,
    ),
}
"""Bounds on the next visit alone would let a model pass whose session part is broken; where a
session is honestly measured it has a floor of its own."""


def thresholds_for(dataset: str, split: SplitMethod) -> Thresholds:
    """Returns the thresholds of a data set ("ml-100k", "sample", "custom") and split method.

    Absolute bounds make sense on data and splits that are known; on any other the model is held
    against what the data itself offers.
    """
    if dataset != ML_100K:
        return _ANY_DATA
    return _ML_100K.get(split, _ANY_DATA)
