"""What a model must reach to be blessed, by data set and protocol."""

from __future__ import annotations

from collections.abc import Mapping

from components.evaluation.config import Thresholds
from components.names import ML_100K, SplitMethod

_ML_100K: Mapping[SplitMethod, Thresholds] = {
    "random": Thresholds(
        max_rmse=0.88,
        min_unseen_top_10_accuracy=0.25,
        min_unseen_top_100_accuracy=0.73,
        min_untimed_top_10_accuracy=0.17,
        min_untimed_top_100_accuracy=0.62,
    ),
    "temporal": Thresholds(
        max_rmse=0.94,
        min_unseen_top_10_accuracy=0.1,
        min_unseen_top_100_accuracy=0.48,
        min_untimed_top_10_accuracy=0.075,
        min_untimed_top_100_accuracy=0.4,
    ),
}
"""Asked with times, the towers alone pass; asked without, taste must be there as well."""
_ANY_DATA = Thresholds(
    max_rmse=None,
    min_unseen_top_10_accuracy=None,
    min_unseen_top_100_accuracy=None,
    min_r_squared=0.0,
    min_unseen_top_100_lift=0.8,
)
"""What a sound model reaches on any data: it rates better than the mean rating does, and
does not lose to plain popularity by much (on a few films popularity is hard to beat)."""


def thresholds_for(dataset: str, split: SplitMethod) -> Thresholds:
    """Returns the thresholds of a data set ("ml-100k", "sample", "custom") and protocol.

    Absolute bounds make sense on data and splits that are known; on any other the model is
    held against what the data itself offers.
    """
    if dataset != ML_100K:
        return _ANY_DATA
    return _ML_100K.get(split, _ANY_DATA)
