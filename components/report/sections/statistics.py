"""TFDV's statistics per split, what changed between data sets, anomalies and schemas."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from components.gate.anomalies import find_anomalies
from components.names import ANOMALIES_FILE, TEST, TRAIN
from components.report import charts
from components.report.charts import Channel
from components.report.context import Context
from components.report.page import Block, Column, Figure, Note, Section, Table, Text, Tone
from components.report.sections import percent, sources_of
from components.report.sections.figures import number_of
from components.report.sources import existing, read_json, splits
from components.report.tfdv_numbers import FeatureNumbers, changes, feature_numbers
from schema import features as raw

_TOP_VALUES = 6
_LABEL = 26
_LARGE = 10_000
_TIMES = frozenset({raw.TIMESTAMP.name, raw.RELEASE_DATE.name})
"""Features that are seconds since 1970."""
_MILLISECONDS = 1000
_ANOMALIES_FILE = "SchemaDiff.pb"  # of TFX 1.15's ExampleValidator


def build(context: Context) -> Section:
    """Returns the section."""
    return Section(
        key="statistics",
        title="Statistics",
        lead="What TensorFlow Data Validation counted in each split, side by side, and how it "
        "compares with the schema and with other data.",
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
            *_numbers(context),
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
        yield Note("No anomalies: every split agrees with the curated schema.", "good")
        return
    errors = sum(anomaly["severity"] == "error" for anomaly in found)
    tone: Tone = "bad" if errors else "warn"
    warnings = len(found) - errors
    yield Note(f"{number_of(errors, 'error')} and {number_of(warnings, 'warning')}.", tone)
    yield Table(
        "anomalies",
        "Anomalies against the curated schema, drift and skew",
        (
            Column("Severity"),
            Column("Split"),
            Column("Feature"),
            Column("What is wrong"),
            Column("The data holds"),
            Column("If the data is right"),
        ),
        tuple(
            (
                anomaly["severity"],
                anomaly["split"],
                anomaly["feature"],
                anomaly["description"],
                "; ".join(anomaly["examples"]),
                anomaly["remedy"],
            )
            for anomaly in found
        ),
        searchable=len(found) > 10,
    )


def _found_anomalies(context: Context) -> Sequence[Mapping[str, Any]] | None:
    """Returns the gate's findings, else the validator's; None if neither has looked."""
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


# --- numbers


def _numbers(context: Context) -> Iterator[Block]:
    statistics = context.statistics
    if not statistics:
        yield Note("No statistics: the run did not get as far as counting.", "warn")
        return
    by_feature: dict[str, list[FeatureNumbers]] = {}
    for split, found in statistics.items():
        for numbers in feature_numbers(split, found):
            by_feature.setdefault(numbers.feature, []).append(numbers)
    rows = ", ".join(f"{int(found.num_examples):,} {name}" for name, found in statistics.items())
    yield Text("Every feature, split by split", f"Rows: {rows}.")
    yield _table([numbers for name in sorted(by_feature) for numbers in by_feature[name]])
    for name in sorted(by_feature):
        yield _figure(name, by_feature[name], tuple(statistics))


_COLUMNS = (
    Column("Feature"),
    Column("Split"),
    Column("Kind"),
    Column("Missing", "share", 1),
    Column("Unique", "number"),
    Column("Zeros", "share", 1),
    Column("Mean", "number"),
    Column("Sd", "number"),
    Column("Min", "number", grouped=False),
    Column("10 %", "number", grouped=False),
    Column("Median", "number", grouped=False),
    Column("90 %", "number", grouped=False),
    Column("Max", "number", grouped=False),
    Column("Most frequent"),
)


def _table(numbers: Sequence[FeatureNumbers]) -> Table:
    return Table(
        "features",
        "Features",
        _COLUMNS,
        tuple(
            (
                n.feature,
                n.split,
                n.kind,
                n.missing / n.rows if n.rows else None,
                n.unique,
                n.zeros / n.present if n.zeros is not None and n.present else None,
                _rounded(n.mean),
                _rounded(n.sd),
                _short(n.low),
                _short(n.decile),
                _short(n.median),
                _short(n.last_decile),
                _short(n.high),
                _top(n),
            )
            for n in numbers
        ),
        searchable=True,
    )


def _short(value: float | None) -> float | int | None:
    """Returns a whole number as such, so that no decimals are shown."""
    return int(value) if value is not None and value == int(value) else value


def _rounded(value: float | None) -> float | int | None:
    """Returns a large number without decimals: nobody reads those of a time in seconds."""
    return round(value) if value is not None and abs(value) >= _LARGE else value


def _top(numbers: FeatureNumbers) -> str:
    # Not broken within a value: the rows would become high.
    return ", ".join(
        f"{_cut(value)} ({count:,.0f})".replace(" ", "\u00a0") for value, count in numbers.top[:2]
    )


def _figure(name: str, numbers: Sequence[FeatureNumbers], names: Sequence[str]) -> Figure:
    split = Channel("split", "", "nominal", domain=names)
    if any(n.top for n in numbers):
        return _top_values(name, numbers, split)
    return _histogram(name, numbers, split)


def _histogram(name: str, numbers: Sequence[FeatureNumbers], split: Channel) -> Figure:
    is_time = name in _TIMES
    unit = _MILLISECONDS if is_time else 1
    rows = [
        {"value": unit * low, "share": count / n.present, "split": n.split}
        for n in numbers
        for low, _, count in n.histogram
    ]
    # A step goes on to the end of the last bucket.
    rows += [
        {
            "value": unit * n.histogram[-1][1],
            "share": n.histogram[-1][2] / n.present,
            "split": n.split,
        }
        for n in numbers
        if n.histogram
    ]
    means = ", ".join(
        f"{_date(n.mean) if is_time else f'{n.mean:.2f}'} in {n.split}"
        for n in numbers
        if n.mean is not None
    )
    value = (
        Channel("value", f"{name}, UTC", "temporal", format="%Y-%m-%d")
        if is_time
        else Channel("value", name, zero=False, format="~s" if _is_large(numbers) else "~f")
    )
    return Figure(
        f"feature-{name}",
        f"{name}: share of rows per tenth of its range",
        f"The mean is {means}." if means else "It is missing everywhere.",
        charts.lines(
            rows,
            value,
            Channel("share", "share of rows", format=charts.PERCENT),
            split,
            height=170,
            step=True,
        ),
    )


def _date(seconds: float) -> str:
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return f"{epoch + datetime.timedelta(seconds=seconds):%Y-%m-%d}"


def _is_large(numbers: Sequence[FeatureNumbers]) -> bool:
    return any(n.high is not None and n.high >= _LARGE for n in numbers)


def _top_values(name: str, numbers: Sequence[FeatureNumbers], split: Channel) -> Figure:
    values = [value for value, _ in numbers[0].top[:_TOP_VALUES]]
    rows = [
        {"value": _cut(value), "share": n.counts[value] / n.present, "split": n.split}
        for value in values
        for n in numbers
        if value in n.counts and n.present
    ]
    unique = ", ".join(f"{n.unique:,} in {n.split}" for n in numbers if n.unique is not None)
    first = numbers[0]
    share = first.top[0][1] / max(first.present, 1) if first.top else 0.0
    leader = f"“{_cut(values[0])}” comes first with {percent(share, 1)} of rows" if values else ""
    return Figure(
        f"feature-{name}",
        f"{name}: its most frequent values",
        f"{leader}; different values: {unique}.",
        charts.bars(
            rows,
            Channel("value", name, "nominal", sort=[_cut(value) for value in values]),
            Channel("share", "share of rows", format=charts.PERCENT),
            split,
        ),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"


# --- changes


def _changes(context: Context) -> Iterator[Block]:
    statistics, schema = context.statistics, context.schema
    if TRAIN not in statistics or schema is None:
        return
    yield Text(
        "Skew and drift",
        "How far each feature's distribution is from that of other data, as TFDV measures it: "
        "the L-infinity distance for text, the Jensen-Shannon divergence for numbers; 0 is "
        "the same, 1 as different as can be.",
    )
    train = statistics[TRAIN]
    others = {f"{TRAIN} to {name}": found for name, found in statistics.items() if name != TRAIN}
    measured = {name: changes(train, other, schema) for name, other in others.items()}
    for name, previous in context.previous_statistics.items():
        if name in statistics:
            column = f"{name} since the run before"
            measured[column] = changes(statistics[name], previous, schema)
    limits = {f.name: _limit(f) for f in schema.feature}
    names = sorted({name for found in measured.values() for name in found})
    yield Table(
        "changes",
        "Distance between distributions",
        (
            Column("Feature"),
            Column("Measure"),
            *(Column(name, "number", 4) for name in measured),
            Column("Warns above", "number", 4),
        ),
        tuple(
            (
                name,
                next(found[name][0] for found in measured.values() if name in found),
                *(found[name][1] if name in found else None for found in measured.values()),
                limits.get(name),
            )
            for name in names
        ),
    )
    name = f"{TRAIN} to {TEST}"
    if measured.get(name):
        yield _distances("skew", "training and test", measured[name])
    name = f"{TRAIN} since the run before"
    if measured.get(name):
        yield _distances("drift", "this run's training data and the run before's", measured[name])
    else:
        yield Note("Drift is not shown: there is no earlier run on other data.")


def _limit(feature: schema_pb2.Feature) -> float | None:
    """Returns the smallest limit that the schema sets on a feature's drift or skew."""
    limits = [
        threshold
        for comparator in (feature.skew_comparator, feature.drift_comparator)
        for threshold in (
            comparator.infinity_norm.threshold,
            comparator.jensen_shannon_divergence.threshold,
        )
        if threshold
    ]
    return min(limits, default=None)


def _distances(key: str, between: str, found: Mapping[str, tuple[str, float]]) -> Figure:
    ordered = sorted(found.items(), key=lambda item: -item[1][1])
    rows = [{"feature": name, "distance": value, "measure": how} for name, (how, value) in ordered]
    first, (_, most) = ordered[0]
    middle = median(value for _, value in found.values())
    return Figure(
        key,
        f"Distance of each feature between {between}",
        f"{first} differs most, by {most:.4f}; half of the features by at most {middle:.4f}.",
        charts.bars(
            rows,
            Channel("feature", "Feature", "nominal", sort=[name for name, _ in ordered]),
            Channel("distance", "distance", format=".2~g"),
            more=(Channel("measure", "Measure", "nominal"),),
        ),
        wide=True,
    )


# --- schemas


def _schemas(context: Context) -> Iterator[Block]:
    if context.schema is None:
        yield Note("No schema: the run did not get as far as importing it.", "warn")
        return
    inferred = context.inferred_schema
    if inferred is None:
        yield Note("No inferred schema to set beside the curated one.", "warn")
    curated_features = {feature.name: feature for feature in context.schema.feature}
    inferred_features = {feature.name: feature for feature in inferred.feature} if inferred else {}
    rows = [
        (
            name,
            *_described(curated_features.get(name), context.schema),
            *_described(inferred_features.get(name), inferred),
        )
        for name in sorted(curated_features.keys() | inferred_features.keys())
    ]
    yield Table(
        "schemas",
        "The curated schema, which data must agree with, beside the one inferred from training",
        (
            Column("Feature"),
            Column("Curated"),
            Column("Values per row"),
            Column("Domain"),
            Column("Inferred"),
            Column("Values per row"),
            Column("Domain"),
        ),
        tuple(rows),
        searchable=True,
    )


def _described(
    feature: schema_pb2.Feature | None, schema: schema_pb2.Schema | None
) -> tuple[str, str, str]:
    """Returns type and presence, number of values, and domain."""
    if feature is None or schema is None:
        return ("not there", "", "")
    kind = schema_pb2.FeatureType.Name(feature.type).lower()
    present = feature.presence.min_fraction
    needed = (
        "required" if present == 1 else f"in {percent(present)} of rows" if present else "optional"
    )
    return f"{kind}, {needed}", _valency(feature), _domain(feature, schema)


def _valency(feature: schema_pb2.Feature) -> str:
    if feature.HasField("shape"):
        sizes = [str(dimension.size) for dimension in feature.shape.dim]
        return " × ".join(sizes) or "1"
    if feature.HasField("value_count"):
        low, high = feature.value_count.min, feature.value_count.max
        return f"{low} to {high}" if high else f"{low} or more"
    return "any"


def _domain(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> str:
    kind = feature.WhichOneof("domain_info")
    if kind in ("int_domain", "float_domain"):
        domain = getattr(feature, kind)
        low = f"{domain.min:g}" if domain.HasField("min") else "any"
        high = f"{domain.max:g}" if domain.HasField("max") else "any"
        return f"{low} to {high}"
    if kind == "domain":
        values = [v for d in schema.string_domain if d.name == feature.domain for v in d.value]
    elif kind == "string_domain":
        values = list(feature.string_domain.value)
    else:
        return "any"
    shown = ", ".join(values[:4])
    return f"{len(values)} values: {shown}{', …' if len(values) > 4 else ''}"
