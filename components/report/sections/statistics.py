"""TFDV's statistics per split, changes between data sets, anomalies and schemas."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, TypeAlias

import pandas as pd
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.gate.anomalies import find_anomalies
from components.names import ANOMALIES_FILE, TEST, TRAIN
from components.report import charts
from components.report.context import Context, Statistics
from components.report.page import Block, Chart, Note, Row, Section, Table, Text, Tone
from components.report.sections import percent, sources_of
from components.report.sources import existing, read_json, splits
from schema import features as raw
from schema.dataset import number_of

_TOP_VALUES = 6
_LABEL = 26
_TIMES = (raw.Kind.TIME, raw.Kind.DATE)
"""Kinds of features that are seconds since 1970."""
_MILLISECONDS = 1000
_LARGE = 10_000
_SHOWN = 0.0005
"""Share from which on it is not 0.0 %."""
_ANOMALIES_FILE = "SchemaDiff.pb"  # of TFX 1.15's ExampleValidator
# TFDV's quantiles histogram holds as many values per bucket: ten buckets, so deciles.
_DECILES = 10
_KINDS: Mapping[int, str] = {
    statistics_pb2.FeatureNameStatistics.INT: "integer",
    statistics_pb2.FeatureNameStatistics.FLOAT: "number",
    statistics_pb2.FeatureNameStatistics.STRING: "text",
}
_MEASURES: Mapping[int, str] = {
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "L-infinity",
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon",
}

Feature: TypeAlias = statistics_pb2.FeatureNameStatistics


def build(context: Context) -> Section:
    """Returns the section."""
    return Section(
        key="statistics",
        title="Statistics",
        lead="What TensorFlow Data Validation counted in each split, and how it compares with the "
        "schema and with other data. An anomaly is data that disagrees with the schema.",
        sources=sources_of(
            context.sources,
            "statistics",
            "previous_statistics",
            "schema",
            "inferred_schema",
            "anomalies",
            "findings",
        ),
        blocks=(
            *_anomalies(context),
            *_features(context),
            *_changes(context),
            *_schemas(context),
        ),
    )


# --- anomalies


def _anomalies(context: Context) -> Iterator[Block]:
    found = _found_anomalies(context)
    if found is None:
        yield Note("No anomalies to show: the run did not get as far as validating.", "warn")
        return
    if not found:
        yield Note("No anomalies: every split agrees with the schema.", "good")
        return
    errors = sum(anomaly["severity"] == "error" for anomaly in found)
    tone: Tone = "bad" if errors else "warn"
    warnings = len(found) - errors
    yield Note(f"{number_of(errors, 'error')} and {number_of(warnings, 'warning')}.", tone)
    yield Table(
        "anomalies-found",
        "Anomalies against the schema, drift and skew",
        [
            {
                "Severity": anomaly["severity"],
                "Split": anomaly["split"],
                "Feature": anomaly["feature"],
                "What is wrong": anomaly["description"],
                "Values in the data": "; ".join(anomaly["examples"]),
                "If the data is right": anomaly["remedy"],
            }
            for anomaly in found
        ],
        searchable=len(found) > 10,
    )


def _found_anomalies(context: Context) -> Sequence[Mapping[str, Any]] | None:
    """Returns the gate's findings, else the validator's; None if neither has run."""
    if context.sources.findings is not None:
        path = context.sources.findings
        found = read_json(path / ANOMALIES_FILE if path.is_dir() else path)
        return list(found.get("anomalies", ()))
    paths = {
        name: found_path
        for name, split in splits(context.sources.anomalies).items()
        if (found_path := existing(split / _ANOMALIES_FILE)) is not None
    }
    if not paths or context.schema is None:
        return None
    anomalies = {
        name: anomalies_pb2.Anomalies.FromString(path.read_bytes()) for name, path in paths.items()
    }
    return [anomaly.to_json() for anomaly in find_anomalies(anomalies, {}, context.schema)]


# --- features


def _features(context: Context) -> Iterator[Block]:
    statistics = context.statistics
    if not statistics:
        yield Note("No statistics: the run did not get as far as counting.", "warn")
        return
    by_feature: dict[str, dict[str, Feature]] = {}
    for split, found in statistics.items():
        for feature in found.features:
            by_feature.setdefault(name_of(feature), {})[split] = feature
    rows = ", ".join(f"{int(found.num_examples):,} {name}" for name, found in statistics.items())
    yield Text("Features", f"Rows: {rows}.")
    numbers = [
        {"Feature": name, "Split": split, **feature_numbers(feature)}
        for name in sorted(by_feature)
        for split, feature in by_feature[name].items()
    ]
    # Numbers and texts have hardly a column in common.
    for key, caption, is_text in (
        ("numbers-by-split", "Every feature of numbers in every split", False),
        ("texts-by-split", "Every feature of text in every split", True),
    ):
        chosen = [row for row in numbers if (row["Kind"] == "text") == is_text]
        if chosen:
            yield Table(key, caption, chosen, searchable=True)
    times = {one.name for one in context.sources.features.features if one.kind in _TIMES}
    constant = []
    for name in sorted(by_feature):
        chart = _chart(name, by_feature[name], name in times)
        if chart is None:
            constant.append(name)
        else:
            yield chart
    if constant:
        yield Note(f"Not drawn, having one known value at most: {', '.join(constant)}.")


def name_of(feature: Feature) -> str:
    """Returns a feature's name, which may be a path."""
    return str(feature.name or ".".join(feature.path.step))


def feature_numbers(feature: Feature) -> Row:
    """Returns what TFDV counted of a feature; None where a number does not apply."""
    kind = feature.WhichOneof("stats")
    common = getattr(feature, kind).common_stats if kind else statistics_pb2.CommonStatistics()
    present, missing = int(common.num_non_missing), int(common.num_missing)
    numbers = feature.num_stats if kind == "num_stats" and present else None
    texts = feature.string_stats if kind == "string_stats" else None
    quantiles = _buckets(feature, statistics_pb2.Histogram.QUANTILES)
    deciles = quantiles if len(quantiles) == _DECILES else ()
    return {
        "Kind": _KINDS.get(feature.type, "other"),
        "Share missing": missing / (present + missing) if present + missing else None,
        "Different values": int(texts.unique) if texts else None,
        "Share of zeros": numbers.num_zeros / present if numbers else None,
        "Mean": numbers.mean if numbers else None,
        "Sd": numbers.std_dev if numbers else None,
        "Minimum": numbers.min if numbers else None,
        "10 %": deciles[0].high_value if deciles else None,
        "Median": numbers.median if numbers else None,
        "90 %": deciles[-1].low_value if deciles else None,
        "Maximum": numbers.max if numbers else None,
        "Most frequent": ", ".join(
            f"{_cut(top.value)} ({top.frequency:,.0f})".replace(" ", "\u00a0")
            for top in (texts.top_values[:2] if texts else ())
        ),
    }


def _buckets(feature: Feature, kind: int) -> Sequence[statistics_pb2.Histogram.Bucket]:
    return next((h.buckets for h in feature.num_stats.histograms if h.type == kind), ())


def _present(feature: Feature) -> int:
    kind = feature.WhichOneof("stats")
    return int(getattr(feature, kind).common_stats.num_non_missing) if kind else 0


def _chart(name: str, by_split: Mapping[str, Feature], is_time: bool) -> Chart | None:
    """Returns the chart of a feature; None where all known values are the same."""
    held = {split: feature for split, feature in by_split.items() if _present(feature)}
    if any(feature.HasField("string_stats") for feature in held.values()):
        return _top_values(name, held)
    ranges = {(f.num_stats.min, f.num_stats.max) for f in held.values()}
    if not held or (len(ranges) == 1 and len(set(ranges.pop())) == 1):
        return None
    return _histogram(name, held, is_time)


def _top_values(name: str, held: Mapping[str, Feature]) -> Chart | None:
    counts = {
        split: {b.label: b.sample_count for b in feature.string_stats.rank_histogram.buckets}
        for split, feature in held.items()
    }
    first = next(iter(held.values()))
    unknown = counts[next(iter(held))].get(raw.UNKNOWN, 0.0) / _present(first)
    # A bar of what is not known would hide the others.
    ordered = [top.value for top in first.string_stats.top_values if top.value != raw.UNKNOWN]
    values = ordered[:_TOP_VALUES]
    if len({value for found in counts.values() for value in found} - {raw.UNKNOWN}) < 2:
        return None
    rows = [
        {
            "Value": _cut(value),
            **{
                split: counts[split].get(value, 0.0) / _present(feature)
                for split, feature in held.items()
            },
        }
        for value in values
    ]
    unique = ", ".join(f"{f.string_stats.unique:,} in {split}" for split, f in held.items())
    formats = dict.fromkeys(held, ".1%")
    share = rows[0][next(iter(held))]
    return Chart(
        f"feature-{name}",
        f"{name}: its most frequent values",
        f"“{_cut(values[0])}” comes first with {percent(share, 1)} of rows; different values: "
        f"{unique}." + (f" Unknown in {percent(unknown, 1)} of rows." if unknown >= _SHOWN else ""),
        charts.bars(rows, "Value", list(held), title="share of rows", formats=formats),
        rows,
        formats,
    )


def _histogram(name: str, held: Mapping[str, Feature], is_time: bool) -> Chart:
    unit = _MILLISECONDS if is_time else 1
    rows: list[Row] = []
    for split, feature in held.items():
        buckets = _buckets(feature, statistics_pb2.Histogram.STANDARD)
        ends = [(b.low_value, b.sample_count) for b in buckets]
        # The last step holds until the end of its bucket.
        ends += [(buckets[-1].high_value, buckets[-1].sample_count)] if buckets else []
        rows += [
            {name: unit * value, "Share of rows": count / _present(feature), "Split": split}
            for value, count in ends
        ]
    means = ", ".join(
        f"{_date(f.num_stats.mean) if is_time else f'{f.num_stats.mean:.2f}'} in {split}"
        for split, f in held.items()
    )
    largest = max(abs(f.num_stats.max) for f in held.values())
    spec = charts.lines(
        rows,
        name,
        "Share of rows",
        series="Split",
        kind="temporal" if is_time else "quantitative",
        formats={name: "%Y-%m-%d" if is_time else "~s" if largest >= _LARGE else "~f"},
        height=170,
        step=True,
    )
    title = f"{name}: share of rows per tenth of its range{', UTC' if is_time else ''}"
    return Chart(f"feature-{name}", title, f"The mean is {means}.", spec)


def _date(seconds: float) -> str:
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return f"{epoch + datetime.timedelta(seconds=seconds):%Y-%m-%d}"


def _cut(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"


# --- changes


def _changes(context: Context) -> Iterator[Block]:
    statistics, schema = context.statistics, context.schema
    if TRAIN not in statistics or schema is None:
        return
    yield Text(
        "Skew and drift",
        "Skew is a difference between the training data and other data of this run, drift one "
        "from the run before. TFDV measures the distance of each feature's distributions: "
        "L-infinity for text, Jensen-Shannon for numbers; 0 for the same distribution, 1 at most.",
    )
    train, test = statistics[TRAIN], f"{TRAIN} to {TEST}"
    since = {name: f"{name} since the run before" for name in context.previous_statistics}
    measured = {
        f"{TRAIN} to {name}": distances(train, found, schema)
        for name, found in statistics.items()
        if name != TRAIN
    }
    for name, previous in context.previous_statistics.items():
        if name in statistics:
            measured[since[name]] = distances(statistics[name], previous, schema)
    names = sorted({name for found in measured.values() for name in found})
    rows = [
        {
            "Feature": name,
            "Measure": next(found[name][0] for found in measured.values() if name in found),
            **{of: found[name][1] if name in found else None for of, found in measured.items()},
            "Warns above": _limit(schema, name),
        }
        for name in names
    ]
    formats = dict.fromkeys((*measured, "Warns above"), ".4f")
    caption = "Distance between distributions"
    if any(row["Warns above"] is not None for row in rows):
        caption += "; features without a limit in the schema cause no warning"
    yield Table("changes", caption, rows, formats)
    drawn = ("skew", test, "training and test"), (
        "drift", since.get(TRAIN, ""), "this run's training data and the run before's",
    )  # fmt: skip
    for key, column, between in drawn:
        if measured.get(column):
            yield _distances(key, between, column, [r for r in rows if r[column] is not None])
    if not measured.get(since.get(TRAIN, "")):
        yield Note("Drift is not shown: there is no earlier run on other data.")


def distances(
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
    one, two = (
        statistics_pb2.DatasetFeatureStatisticsList(datasets=[found])
        for found in (statistics, other)
    )
    found = tfdv.validate_statistics(one, open_schema, serving_statistics=two)
    return {
        ".".join(info.path.step): (_MEASURES.get(measured.type, "distance"), measured.value)
        for info in found.drift_skew_info
        for measured in info.skew_measurements
    }


def _limit(schema: schema_pb2.Schema, name: str) -> float | None:
    """Returns the smallest limit that the schema sets on a feature's drift or skew."""
    limits = [
        threshold
        for feature in schema.feature
        if feature.name == name
        for comparator in (feature.skew_comparator, feature.drift_comparator)
        for threshold in (
            comparator.infinity_norm.threshold,
            comparator.jensen_shannon_divergence.threshold,
        )
        if threshold
    ]
    return min(limits, default=None)


def _distances(key: str, between: str, column: str, rows: Sequence[Row]) -> Chart:
    drawn = sorted(
        ({"Feature": r["Feature"], "Distance": r[column], "Measure": r["Measure"]} for r in rows),
        key=lambda row: -row["Distance"],
    )
    middle = median(row["Distance"] for row in drawn)
    return Chart(
        key,
        f"Distance of each feature between {between}",
        f"{drawn[0]['Feature']} differs most, by {drawn[0]['Distance']:.4f}; half of the features "
        f"by at most {middle:.4f}.",
        charts.bars(drawn, "Feature", "Distance", formats={"Distance": ".2~g"}),
        wide=True,
    )


# --- schemas


def _schemas(context: Context) -> Iterator[Block]:
    if context.schema is None:
        yield Note("No schema: the run did not get as far as importing it.", "warn")
        return
    # A schema that a run has made from the features of the data is none that somebody curated.
    of_movielens = context.sources.features == raw.MOVIELENS
    which = "Curated" if of_movielens else "Of this data"
    named = "curated schema" if of_movielens else "schema of this data"
    schemas = {which: context.schema, "Inferred": context.inferred_schema}
    if context.inferred_schema is None:
        yield Note(f"No inferred schema to show beside the {named}.", "warn")
    described = pd.DataFrame(
        {name: described_features(schema) for name, schema in schemas.items() if schema is not None}
    )
    yield Text("Schema", f"In the terms of the file of the {named}.")
    yield Table(
        "schemas",
        f"The {named}, which data must agree with, and the one inferred from training data",
        described.fillna("not there").rename_axis("Feature").reset_index().to_dict("records"),
        searchable=True,
    )


_SHOWN_ELSEWHERE = ("name", "skew_comparator", "drift_comparator", "not_in_environment")


def described_features(schema: schema_pb2.Schema) -> dict[str, str]:
    """Returns what a schema says of each feature, with the values of the domains that it names."""
    domains = {domain.name: ", ".join(domain.value) for domain in schema.string_domain}
    found = {}
    for feature in schema.feature:
        said = schema_pb2.Feature()
        said.CopyFrom(feature)
        for field in _SHOWN_ELSEWHERE:
            said.ClearField(field)
        text = text_format.MessageToString(said, as_one_line=True, as_utf8=True)
        values = domains.get(feature.domain)
        found[feature.name] = f"{text} ({values})" if values else text
    return found
