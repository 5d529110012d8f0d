"""TFDV's statistics per split, changes between data sets, anomalies and schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.names import TRAIN
from components.report import charts
from components.report.context import Context
from components.report.page import Block, Chart, Note, Row, Table, Text
from components.report.sections import percent
from components.report.sources import read_json, splits
from schema import features as raw
from schema.dataset import number_of

_TOP_VALUES, _LABEL = 6, 26
_TIMES = (raw.Kind.TIME, raw.Kind.DATE)
"""Kinds of features that are seconds since 1970."""
_SHOWN = 0.0005
"""Share from which on it is not 0.0 %."""
# TFDV's quantiles histogram holds as many values per bucket: ten buckets, so deciles.
_DECILES = 10
_KINDS = {"INT": "integer", "FLOAT": "number", "STRING": "text"}
_MEASURES = {"L_INFTY": "L-infinity", "JENSEN_SHANNON_DIVERGENCE": "Jensen-Shannon"}
"""By the names of TFDV's types of features and of its measures."""

_STATISTICS_FILE = "FeatureStats.pb"  # of TFX 1.15

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatistics
Feature: TypeAlias = statistics_pb2.FeatureNameStatistics


def blocks(context: Context) -> Iterator[Block]:
    """Yields what the section shows."""
    yield from _anomalies(context)
    yield from _features(context)
    yield from _changes(context)
    yield from _schemas(context)


def _anomalies(context: Context) -> Iterator[Block]:
    if context.sources.findings is None:
        yield Note("No anomalies to show: the run did not get as far as validating.", "warn")
        return
    found = read_json(context.sources.findings).get("anomalies", ())
    if not found:
        yield Note("No anomalies: every split agrees with the schema.", "good")
        return
    errors = sum(anomaly["severity"] == "error" for anomaly in found)
    counts = f"{number_of(errors, 'error')} and {number_of(len(found) - errors, 'warning')}."
    yield Note(counts, "bad" if errors else "warn")
    rows = [
        {
            "Severity": anomaly["severity"],
            "Split": anomaly["split"],
            "Feature": anomaly["feature"],
            "What is wrong": anomaly["description"],
            "Values in the data": "; ".join(anomaly["examples"]),
            "If the data is right": anomaly["remedy"],
        }
        for anomaly in found
    ]
    caption = "Anomalies against the schema, drift and skew"
    yield Table("anomalies-found", caption, rows, searchable=len(found) > 10)


def _features(context: Context) -> Iterator[Block]:
    statistics = read_statistics(context.sources.statistics)
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
        for name, by_split in sorted(by_feature.items())
        for split, feature in by_split.items()
    ]
    # Numbers and texts have hardly a column in common.
    for kind, is_text in (("numbers", False), ("text", True)):
        chosen = [row for row in numbers if (row["Kind"] == "text") == is_text]
        if chosen:
            caption = f"Every feature of {kind} in every split"
            yield Table(f"{kind.removesuffix('s')}s-by-split", caption, chosen, searchable=True)
    times = {one.name for one in context.sources.features.features if one.kind in _TIMES}
    charts_of = {name: _chart(name, of, name in times) for name, of in sorted(by_feature.items())}
    yield from filter(None, charts_of.values())
    constant = ", ".join(name for name, chart in charts_of.items() if chart is None)
    if constant:
        yield Note(f"Not drawn, having one known value at most: {constant}.")


def name_of(feature: Feature) -> str:
    """Returns a feature's name, which may be a path."""
    return str(feature.name or ".".join(feature.path.step))


def feature_numbers(feature: Feature) -> Row:
    """Returns what TFDV counted of a feature; None where a number does not apply."""
    present, missing = _present(feature), int(_common(feature).num_missing)
    unknown = _unknown(feature)
    numbers = feature.num_stats if feature.HasField("num_stats") and present else None
    texts = feature.string_stats if feature.HasField("string_stats") else None
    frequent = [t for t in (texts.top_values if texts else ()) if t.value != raw.UNKNOWN]
    quantiles = _buckets(feature, statistics_pb2.Histogram.QUANTILES)
    deciles = quantiles if len(quantiles) == _DECILES else ()
    return {
        "Kind": _KINDS.get(feature.Type.Name(feature.type), "other"),
        "Share missing": (missing + unknown) / (present + missing) if present + missing else None,
        "Different values": int(texts.unique) - bool(unknown) if texts else None,
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
            for top in frequent[:2]
        ),
    }


def _unknown(feature: Feature) -> int:
    """Returns how many rows of text have the value that stands for a missing one."""
    ranked = feature.string_stats.rank_histogram.buckets
    return int(sum(one.sample_count for one in ranked if one.label == raw.UNKNOWN))


def _buckets(feature: Feature, kind: int) -> Sequence[statistics_pb2.Histogram.Bucket]:
    return next((h.buckets for h in feature.num_stats.histograms if h.type == kind), ())


def _common(feature: Feature) -> statistics_pb2.CommonStatistics:
    return getattr(feature, feature.WhichOneof("stats") or "num_stats").common_stats


def _present(feature: Feature) -> int:
    return int(_common(feature).num_non_missing)


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
    shares = pd.DataFrame(
        {
            f"Share in {split}": {
                bucket.label: bucket.sample_count / _present(feature)
                for bucket in feature.string_stats.rank_histogram.buckets
            }
            for split, feature in held.items()
        }
    ).fillna(0.0)
    # A bar of what is not known would hide the others.
    known = shares.drop(index=raw.UNKNOWN, errors="ignore")
    if len(known) < 2:
        return None
    first = next(iter(shares))
    drawn = known.nlargest(_TOP_VALUES, first)
    rows = drawn.rename(_cut).rename_axis("Value").reset_index().to_dict("records")
    unknown = shares[first].get(raw.UNKNOWN, 0.0)
    unique = ", ".join(f"{f.string_stats.unique:,} in {split}" for split, f in held.items())
    return Chart(
        f"feature-{name}",
        f"{name}: its most frequent values",
        f"“{rows[0]['Value']}” comes first with {percent(rows[0][first], 1)} of rows; different "
        f"values: {unique}."
        + (f" Unknown in {percent(unknown, 1)} of rows." if unknown >= _SHOWN else ""),
        charts.bars(rows, "Value", list(shares), title="share of rows"),
    )


def _histogram(name: str, held: Mapping[str, Feature], is_time: bool) -> Chart:
    # Vega-Lite has times in milliseconds.
    unit = 1000 if is_time else 1
    kind: charts.Kind = "temporal" if is_time else "quantitative"
    rows: list[Row] = []
    for split, feature in held.items():
        buckets = _buckets(feature, statistics_pb2.Histogram.STANDARD)
        # The last step holds until the end of its bucket.
        ends = [*((b.low_value, b) for b in buckets), *((b.high_value, b) for b in buckets[-1:])]
        rows += [
            {name: unit * end, "Share of rows": b.sample_count / _present(feature), "Split": split}
            for end, b in ends
        ]
    means = [f"{_mean(feature, is_time)} in {split}" for split, feature in held.items()]
    return Chart(
        f"feature-{name}",
        f"{name}: share of rows per tenth of its range{', UTC' if is_time else ''}",
        f"The mean is {', '.join(means)}.",
        charts.lines(rows, name, "Share of rows", series="Split", kind=kind),
        rows=(),
    )


def _mean(feature: Feature, is_time: bool) -> str:
    mean = feature.num_stats.mean
    return str(np.datetime64(int(mean), "s"))[:10] if is_time else f"{mean:.2f}"


def _cut(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"


def _changes(context: Context) -> Iterator[Block]:
    statistics = read_statistics(context.sources.statistics)
    earlier = read_statistics(context.sources.previous_statistics)
    schema = read_schema(context.sources.schema)
    if TRAIN not in statistics or schema is None:
        return
    yield Text(
        "Skew and drift",
        "Skew is a difference between the training data and other data of this run, drift one "
        "from the run before. TFDV measures the distance of each feature's distributions: "
        "L-infinity for text, Jensen-Shannon for numbers; 0 for the same distribution, 1 at most.",
    )
    measured = {
        f"{TRAIN} to {name}": distances(statistics[TRAIN], found, schema)
        for name, found in statistics.items()
        if name != TRAIN
    }
    measured |= {
        f"{name} since the run before": distances(statistics[name], previous, schema)
        for name, previous in earlier.items()
        if name in statistics
    }
    rows: dict[str, dict[str, Any]] = {}
    for of, found in measured.items():
        for name, (measure, distance) in found.items():
            empty = {"Feature": name, "Measure": measure, **dict.fromkeys(measured)}
            rows.setdefault(name, empty)[of] = distance
    caption = "Distance between distributions; the limits that warn are in the schema, below"
    yield Table("changes", caption, [rows[n] for n in sorted(rows)], dict.fromkeys(measured, ".4f"))
    if not earlier:
        yield Note("Drift is not shown: there is no earlier run on other data.")


def distances(
    statistics: Statistics, other: Statistics, schema: schema_pb2.Schema
) -> dict[str, tuple[str, float]]:
    """Returns measure and distance of each feature from that of another data set, by its name.

    TFDV measures only features for which the schema has a comparator, so each is given
    one that never fires: the L-infinity distance of the shares of values for text, the
    Jensen-Shannon divergence for numbers. Both are 0 for the same distribution, at most 1.
    """
    open_schema = schema_pb2.Schema.FromString(schema.SerializeToString())
    for feature in open_schema.feature:
        feature.ClearField("skew_comparator")
        is_text = feature.type == schema_pb2.BYTES
        measure = "infinity_norm" if is_text else "jensen_shannon_divergence"
        getattr(feature.skew_comparator, measure).threshold = 1.0
    listed = statistics_pb2.DatasetFeatureStatisticsList
    one, two = listed(datasets=[statistics]), listed(datasets=[other])
    found = tfdv.validate_statistics(one, open_schema, serving_statistics=two)
    return {
        ".".join(info.path.step): (_MEASURES[measured.Type.Name(measured.type)], measured.value)
        for info in found.drift_skew_info
        for measured in info.skew_measurements
    }


def _schemas(context: Context) -> Iterator[Block]:
    schema = read_schema(context.sources.schema)
    inferred = read_schema(context.sources.inferred_schema)
    if schema is None:
        yield Note("No schema: the run did not get as far as importing it.", "warn")
        return
    # A schema that a run has made from the features of the data is none that somebody curated.
    which, named = "Of this data", "schema of this data"
    if context.sources.features == raw.MOVIELENS:
        which, named = "Curated", "curated schema"
    if inferred is None:
        yield Note(f"No inferred schema to show beside the {named}.", "warn")
    schemas = {which: schema, "Inferred": inferred}
    described = pd.DataFrame({n: described_features(s) for n, s in schemas.items() if s})
    yield Text("Schema", "What each schema says of a feature, as it is written in the file.")
    rows = described.fillna("not there").rename_axis("Feature").reset_index().to_dict("records")
    caption = f"The {named}, which data must agree with, and the one inferred from training data"
    yield Table("schemas", caption, rows, searchable=True)


def described_features(schema: schema_pb2.Schema) -> dict[str, str]:
    """Returns what a schema says of each feature, with the values of the domains that it names."""
    domains = {domain.name: ", ".join(domain.value) for domain in schema.string_domain}
    found = {}
    for feature in schema.feature:
        unnamed = schema_pb2.Feature.FromString(feature.SerializeToString())
        unnamed.ClearField("name")
        text = text_format.MessageToString(unnamed, as_one_line=True, as_utf8=True)
        values = domains.get(feature.domain)
        found[feature.name] = f"{text} ({values})" if values else text
    return found


def read_statistics(folder: Path | None) -> dict[str, Statistics]:
    """Returns the statistics of each split of an artifact that has any."""
    paths = {name: split / _STATISTICS_FILE for name, split in splits(folder).items()}
    read = {n: tfdv.load_stats_binary(str(p)) for n, p in paths.items() if p.exists()}
    return {name: found.datasets[0] for name, found in read.items() if found.datasets}


def read_schema(folder: Path | None) -> schema_pb2.Schema | None:
    """Returns the schema in the one text file of its artifact; None if there is none."""
    paths = sorted(folder.glob("*.pbtxt")) if folder is not None else []
    return tfdv.load_schema_text(str(paths[0])) if paths else None
