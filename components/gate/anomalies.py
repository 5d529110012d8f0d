"""Anomalies in words: split, feature, values, and the edit of the schema that would allow them."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

WHOLE_DATA_SET = "(whole data set)"
"""The feature of an anomaly of the whole data set."""

SCHEMA_FILE = "schema/schema.pbtxt"
"""The committed schema, as messages name it where no other file is given."""

MAX_MESSAGE_LINES = 10
MAX_EXAMPLE_VALUES = 3
_MAX_TEXT = 240  # characters of a description, which may list any number of values


class Severity(enum.Enum):
    """Severity of an anomaly: errors stop the run."""

    ERROR = "error"
    WARNING = "warning"


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """One feature of one split that does not agree with the schema.

    Attributes:
      split: name of the split.
      feature: name of the feature, or `WHOLE_DATA_SET`.
      severity: whether it stops the run.
      kinds: TFDV's names of what is wrong, such as "FLOAT_TYPE_BIG_FLOAT".
      description: TFDV's description, with the offending values where it gives them.
      examples: commonest values or range, and missing values, from the statistics.
      remedy: what to edit in the schema if the data is right.
    """

    split: str
    feature: str
    severity: Severity
    kinds: tuple[str, ...]
    description: str
    examples: tuple[str, ...]
    remedy: str

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON types."""
        return {
            **dataclasses.asdict(self),
            "severity": self.severity.value,
            "kinds": list(self.kinds),
            "examples": list(self.examples),
        }


def find_anomalies(
    anomalies: Mapping[str, anomalies_pb2.Anomalies],
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList],
    schema: schema_pb2.Schema,
    file: str = SCHEMA_FILE,
) -> tuple[Anomaly, ...]:
    """Returns every anomaly, by split in the order given and then by feature.

    Args:
      anomalies: TFDV's anomalies by split.
      statistics: the statistics they were found in, by split; splits may be missing.
      schema: the schema that the data was validated against.
      file: the file of the schema that people edit, as advice names it.
    """
    found: list[Anomaly] = []
    for split, findings in anomalies.items():
        by_feature = _statistics_by_feature(statistics.get(split))
        if findings.data_missing:
            found.append(_no_data(split))
        if findings.HasField("dataset_anomaly_info"):
            found.append(
                _to_anomaly(split, WHOLE_DATA_SET, findings.dataset_anomaly_info, schema, file)
            )
        for feature, info in sorted(findings.anomaly_info.items()):
            found.append(_to_anomaly(split, feature, info, schema, file, by_feature.get(feature)))
    return tuple(found)


def find_changes(
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList],
    previous: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList],
    schema: schema_pb2.Schema,
    file: str = SCHEMA_FILE,
) -> tuple[Anomaly, ...]:
    """Returns drift and skew beyond the schema's comparators, as warnings.

    Drift: a split differs from the same split of the previous run. Skew: the first split (train)
    differs from the last (test). Neither means that the data is wrong, so neither stops a run.

    Args:
      statistics: this run's, by split, in order.
      previous: the previous run's, by split; empty if there was none.
      schema: its `drift_comparator` and `skew_comparator` set the limits.
      file: the file of the schema that people edit, as advice names it.
    """
    found: list[Anomaly] = []
    for split, current in statistics.items():
        if split in previous:
            drift = tfdv.validate_statistics(current, schema, previous_statistics=previous[split])
            found += _compared(f"{split} since the last run", drift, schema, file)
    if len(statistics) > 1:
        (first, here), *_, (last, there) = statistics.items()
        skew = tfdv.validate_statistics(here, schema, serving_statistics=there)
        found += _compared(f"{first} against {last}", skew, schema, file)
    return tuple(found)


def _compared(
    where: str, findings: anomalies_pb2.Anomalies, schema: schema_pb2.Schema, file: str
) -> list[Anomaly]:
    """Returns the anomalies of the comparators; ExampleValidator has reported the others."""
    types = anomalies_pb2.AnomalyInfo.Type
    compared = []
    for feature, info in sorted(findings.anomaly_info.items()):
        reasons = [r for r in info.reason if types.Name(r.type).startswith("COMPARATOR")]
        if reasons:
            only = anomalies_pb2.AnomalyInfo(
                severity=anomalies_pb2.AnomalyInfo.WARNING, reason=reasons
            )
            compared.append(_to_anomaly(where, feature, only, schema, file))
    return compared


def blocking_anomalies(anomalies: Sequence[Anomaly]) -> tuple[Anomaly, ...]:
    """Returns the anomalies that stop a run: those of severity ERROR."""
    return tuple(anomaly for anomaly in anomalies if anomaly.severity is Severity.ERROR)


def describe(blocking: Sequence[Anomaly], file: str | None) -> str:
    """Returns the message for users, at most `MAX_MESSAGE_LINES` lines.

    The same anomaly in several splits is one line.

    Args:
      blocking: the anomalies that stop the run, at least one.
      file: path of the file that lists all of them, or None.
    """
    grouped: dict[tuple[str, tuple[str, ...]], list[Anomaly]] = {}
    for anomaly in blocking:
        grouped.setdefault((anomaly.feature, anomaly.kinds), []).append(anomaly)
    lines = [_line(group) for group in grouped.values()]
    room = MAX_MESSAGE_LINES - 2  # beside the headline and the line about the rest
    shown, hidden = lines[:room], len(lines[room:])
    where = f" see {file}" if file else ""
    if hidden:
        shown.append(f"  and {hidden} more;{where or ' look at the other splits and features'}")
    elif file:
        shown.append(f"  all of it:{where}")
    return "\n".join(["The data does not agree with the schema; nothing was trained.", *shown])


def _line(group: Sequence[Anomaly]) -> str:
    first = group[0]
    splits = ", ".join(anomaly.split for anomaly in group)
    examples = f" [{'; '.join(first.examples)}]" if first.examples else ""
    return (
        f"  {splits}: {first.feature}: {_shorten(first.description)}{examples}. "
        f"Fix the data; or, if it is right, {first.remedy}."
    )


def _no_data(split: str) -> Anomaly:
    return Anomaly(
        split=split,
        feature=WHOLE_DATA_SET,
        severity=Severity.ERROR,
        kinds=("NO_DATA",),
        description="The split has no rows",
        examples=(),
        remedy="give more data: no schema allows an empty split",
    )


def _to_anomaly(
    split: str,
    feature: str,
    info: anomalies_pb2.AnomalyInfo,
    schema: schema_pb2.Schema,
    file: str,
    statistics: statistics_pb2.FeatureNameStatistics | None = None,
) -> Anomaly:
    types = anomalies_pb2.AnomalyInfo.Type
    kinds = tuple(types.Name(reason.type) for reason in info.reason) or ("UNKNOWN_TYPE",)
    return Anomaly(
        split=split,
        feature=feature,
        # An anomaly of unknown severity stops the run.
        severity=(
            Severity.WARNING
            if info.severity == anomalies_pb2.AnomalyInfo.WARNING
            else Severity.ERROR
        ),
        kinds=kinds,
        description=_description(info),
        examples=_examples(statistics),
        remedy=remedy(kinds, feature, schema, file),
    )


def _description(info: anomalies_pb2.AnomalyInfo) -> str:
    """Returns TFDV's description on one line, without the last full stop."""
    # A column with missing values has no shape either: that sentence says nothing more.
    reasons = [r for r in info.reason if r.type != anomalies_pb2.AnomalyInfo.INVALID_FEATURE_SHAPE]
    text = ". ".join(reason.description.strip().rstrip(".") for reason in reasons)
    return " ".join((text or info.description or info.short_description).split()).rstrip(".")


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _statistics_by_feature(
    statistics: statistics_pb2.DatasetFeatureStatisticsList | None,
) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    if statistics is None:
        return {}
    return {
        feature.name or ".".join(feature.path.step): feature
        for dataset in statistics.datasets
        for feature in dataset.features
    }


def _examples(statistics: statistics_pb2.FeatureNameStatistics | None) -> tuple[str, ...]:
    """Returns a feature's commonest texts or its range, and its number of missing values."""
    if statistics is None:
        return ()
    found: list[str] = []
    kind = statistics.WhichOneof("stats")
    if kind == "string_stats":
        top = [repr(entry.value) for entry in statistics.string_stats.top_values]
        if top:
            found.append(f"commonest values {', '.join(top[:MAX_EXAMPLE_VALUES])}")
    elif kind == "num_stats" and statistics.num_stats.common_stats.num_non_missing:
        found.append(f"values from {statistics.num_stats.min:g} to {statistics.num_stats.max:g}")
    missing = getattr(statistics, kind).common_stats.num_missing if kind in _COUNTED else 0
    if missing:
        found.append(f"missing in {missing} rows")
    return tuple(found)


_COUNTED = ("string_stats", "num_stats", "bytes_stats")


def remedy(kinds: Sequence[str], feature: str, schema: schema_pb2.Schema, file: str) -> str:
    """Returns what to edit in the schema so that it allows what was found.

    Args:
      kinds: TFDV's names of what is wrong.
      feature: name of the feature.
      schema: the schema as it is, for the names of its domains.
      file: the file to edit.
    """
    if feature == WHOLE_DATA_SET:
        return f"edit dataset_constraints in {file}"
    edits = list(dict.fromkeys(_edit(kind, feature, schema) for kind in kinds))
    return f"{' and '.join(edits)} of feature {feature!r} in {file}"


def _edit(kind: str, feature: str, schema: schema_pb2.Schema) -> str:
    """Returns the edit that allows one kind of anomaly, as "edit <field>"."""
    if kind == "SCHEMA_NEW_COLUMN":
        return "add an entry"
    if kind == "ENUM_TYPE_UNEXPECTED_STRING_VALUES":
        return f"add the values to {_domain_name(feature, schema)}"
    for prefixes, edit in _EDITS:
        if kind.startswith(prefixes):
            return edit
    return "edit the entry"


# First match wins; prefixes of TFDV's names in anomalies.proto.
_EDITS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (
            "SCHEMA_MISSING_COLUMN",
            "FEATURE_TYPE_LOW_FRACTION_PRESENT",
            "FEATURE_TYPE_LOW_NUMBER_PRESENT",
            "FEATURE_TYPE_NOT_PRESENT",
        ),
        "lower presence { min_fraction, min_count }",
    ),
    (("INVALID_FEATURE_SHAPE",), "replace shape by value_count { min, max }"),
    (
        ("FEATURE_TYPE_HIGH_NUMBER", "FEATURE_TYPE_LOW_NUMBER_VALUES", "FEATURE_TYPE_NO_VALUES"),
        "widen value_count { min, max }",
    ),
    (("FEATURE_TYPE_HIGH_UNIQUE", "FEATURE_TYPE_LOW_UNIQUE"), "widen unique_constraints"),
    (("FLOAT_TYPE_BIG", "FLOAT_TYPE_SMALL"), "widen float_domain { min, max }"),
    (("FLOAT_TYPE_HAS",), "edit float_domain { disallow_nan, disallow_inf }"),
    (("INT_TYPE_BIG", "INT_TYPE_SMALL"), "widen int_domain { min, max }"),
    (
        ("COMPARATOR_",),
        "raise the threshold in drift_comparator or skew_comparator",
    ),
    (
        ("UNEXPECTED_DATA_TYPE", "INT_TYPE", "FLOAT_TYPE", "STRING_TYPE", "ENUM_TYPE"),
        "change type",
    ),
)


def _domain_name(feature: str, schema: schema_pb2.Schema) -> str:
    for entry in schema.feature:
        if entry.name == feature and entry.domain:
            return f"string_domain {entry.domain!r}"
    return "string_domain"
