"""What a model must reach to be blessed, by data set and protocol."""

from __future__ import annotations

from components.evaluation.config import Thresholds
from pipeline.config import Split


def thresholds_for(dataset: str, split: Split) -> Thresholds:
    """Returns the thresholds of a data set ("ml-100k", "sample", "custom") and protocol."""
    if dataset == "ml-100k" and split == "random":
        return Thresholds()
    return Thresholds(max_rmse=1.1, min_unseen_top_10_accuracy=0.0, min_unseen_top_100_accuracy=0.0)
