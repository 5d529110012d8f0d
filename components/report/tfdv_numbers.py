"""TFDV's statistics as rows of plain numbers, and its measures of change between data sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.report.context import Statistics

_KINDS: Mapping[int, str] = {
    statistics_pb2.FeatureNameStatistics.INT: "integer",
    statistics_pb2.FeatureNameStatistics.FLOAT: "number",
    statistics_pb2.FeatureNameStatistics.STRING: "text",
    statistics_pb2.FeatureNameStatistics.BYTES: "bytes",
    statistics_pb2.FeatureNameStatistics.STRUCT: "group",
}
_MEASURES: Mapping[int, str] = {
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "L-infinity",
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon",
}
# TFDV's quantiles histogram holds as many values per bucket: ten buckets, so deciles.
_DECILES = 10


@dataclasses.dataclass(frozen=True)
class FeatureNumbers:
    """One feature of one split, as TFDV counted it.

    Attributes:
      feature: its name.
      split: the split.
      kind: type in words.
      present: rows that have it.
      missing: rows that do not.
      unique: different values; None for numbers, of which TFDV does not count them.
      zeros: values that are 0; None for text.
      mean, sd, low, decile, median, last_decile, high: None for text.
      histogram: (low, high, count) per bucket of equal width; empty for text.
      top: (value, count) of the most frequent texts; empty for numbers.
      counts: count by text, of the 1,000 most frequent ones that TFDV keeps.
    """

    feature: str
    split: str
    kind: str
    present: int
    missing: int
    unique: int | None = None
    zeros: int | None = None
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    decile: float | None = None
    median: float | None = None
    last_decile: float | None = None
    high: float | None = None
    histogram: tuple[tuple[float, float, float], ...] = ()
    top: tuple[tuple[str, float], ...] = ()
    counts: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows the split has."""
        return self.present + self.missing


def feature_numbers(split: str, statistics: Statistics) -> list[FeatureNumbers]:
    """Returns every feature of a split, by name."""
    found = [_numbers(split, feature) for feature in statistics.features]
    return sorted(found, key=lambda numbers: numbers.feature)


def _numbers(split: str, feature: statistics_pb2.FeatureNameStatistics) -> FeatureNumbers:
    kind = feature.WhichOneof("stats")
    common = getattr(feature, kind).common_stats if kind else statistics_pb2.CommonStatistics()
    numbers = FeatureNumbers(
        feature=name_of(feature),
        split=split,
        kind=_KINDS.get(feature.type, "unknown"),
        present=int(common.num_non_missing),
        missing=int(common.num_missing),
    )
    if kind == "string_stats":
        texts = feature.string_stats
        return dataclasses.replace(
            numbers,
            unique=int(texts.unique),
            top=tuple((entry.value, entry.frequency) for entry in texts.top_values),
            counts={entry.label: entry.sample_count for entry in texts.rank_histogram.buckets},
        )
    if kind == "num_stats" and numbers.present:
        return _of_numbers(numbers, feature.num_stats)
    return numbers


def _of_numbers(
    numbers: FeatureNumbers, statistics: statistics_pb2.NumericStatistics
) -> FeatureNumbers:
    by_type = {histogram.type: histogram.buckets for histogram in statistics.histograms}
    quantiles = by_type.get(statistics_pb2.Histogram.QUANTILES, ())
    deciles = len(quantiles) == _DECILES
    return dataclasses.replace(
        numbers,
        zeros=int(statistics.num_zeros),
        mean=statistics.mean,
        sd=statistics.std_dev,
        low=statistics.min,
        decile=quantiles[0].high_value if deciles else None,
        median=statistics.median,
        last_decile=quantiles[-1].low_value if deciles else None,
        high=statistics.max,
        histogram=tuple(
            (bucket.low_value, bucket.high_value, bucket.sample_count)
            for bucket in by_type.get(statistics_pb2.Histogram.STANDARD, ())
        ),
    )


def name_of(feature: statistics_pb2.FeatureNameStatistics) -> str:
    """Returns a feature's name, which may be a path."""
    return str(feature.name or ".".join(feature.path.step))


def changes(
    statistics: Statistics, other: Statistics, schema: schema_pb2.Schema
) -> dict[str, tuple[str, float]]:
    """Returns how far each feature is from that of another data set, as TFDV measures it.

    TFDV measures only features for which the schema has a comparator, so each is given
    one that never fires: the L-infinity distance of the shares of values for text, the
    Jensen-Shannon divergence for numbers. Both are 0 for the same distribution, at most 1.

    Args:
      statistics: of the one data set.
      other: of the other.
      schema: names and types of the features.

    Returns:
      Feature to name of the measure and value.
    """
    import tensorflow_data_validation as tfdv

    open_schema = schema_pb2.Schema()
    open_schema.CopyFrom(schema)
    for feature in open_schema.feature:
        comparator = feature.skew_comparator
        comparator.Clear()
        if feature.type == schema_pb2.BYTES:
            comparator.infinity_norm.threshold = 1.0
        else:
            comparator.jensen_shannon_divergence.threshold = 1.0
    found = tfdv.validate_statistics(
        _listed(statistics), open_schema, serving_statistics=_listed(other)
    )
    return {
        ".".join(info.path.step): (_MEASURES.get(measured.type, "distance"), measured.value)
        for info in found.drift_skew_info
        for measured in info.skew_measurements
    }


def _listed(statistics: Statistics) -> statistics_pb2.DatasetFeatureStatisticsList:
    return statistics_pb2.DatasetFeatureStatisticsList(datasets=[statistics])
