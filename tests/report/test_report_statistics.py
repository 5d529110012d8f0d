"""The page's statistics are TFDV's own, and those are what pandas counts."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from example_artifacts import Written
from google.protobuf import text_format
from report_blocks import block, charts, column, drawn, notes, rows, section_of, tables
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.types import standard_artifacts

from components.report.context import Context
from components.report.page import Note, render
from components.report.sections import statistics as module
from components.report.sources import Sources
from schema import features as raw

pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def sources(context):
    return context.sources


@pytest.fixture(scope="module")
def section(context):
    return section_of("Statistics", context)


@pytest.fixture(scope="module")
def frames(sources):
    """The examples themselves, by split."""
    examples = standard_artifacts.Examples()
    examples.uri = str(sources.ratings)
    return {split: pd.DataFrame(Written(examples).rows(split)) for split in ("train", "test")}


# --- numbers


@pytest.fixture(scope="module")
def read(sources):
    """TFDV's statistics by split."""
    return module.read_statistics(sources.statistics)


def numbers(read, split):
    """What the page has of each feature of a split."""
    features = read[split].features
    return {module.name_of(feature): module.feature_numbers(feature) for feature in features}


@pytest.mark.parametrize("split", ["train", "test"])
def test_numbers_are_what_pandas_counts_in_the_examples(read, frames, split):
    frame = frames[split]
    found = numbers(read, split)
    assert found.keys() == set(raw.MOVIELENS.names)
    for name, row in found.items():
        lists = frame[name] if name in frame else pd.Series([None] * len(frame))
        held = lists.dropna()
        values = pd.Series([value for row in held for value in row])
        known = held[held.map(lambda value: list(value) != [raw.UNKNOWN])]
        assert row["Share missing"] == pytest.approx(1 - len(known) / len(frame)), name
        if row["Mean"] is None:
            counts = values[values != raw.UNKNOWN].value_counts()
            assert row["Different values"] == len(counts)
            first, count = row["Most frequent"].split(", ")[0].rsplit("\u00a0(", 1)
            assert int(count.rstrip(")").replace(",", "")) == counts.max()
            assert first.endswith("…") or counts[first.replace("\u00a0", " ")] == counts.max()
        else:
            assert row["Mean"] == pytest.approx(values.mean())
            assert row["Sd"] == pytest.approx(values.std(ddof=0))
            assert (row["Minimum"], row["Maximum"]) == (values.min(), values.max())
            assert row["Share of zeros"] == pytest.approx((values == 0).mean())
            low, high = values.quantile([0.49, 0.51], interpolation="nearest")
            assert low <= row["Median"] <= high


def test_a_feature_that_is_missing_everywhere_has_no_numbers():
    empty = text_format.Parse(
        'name: "a" num_stats { common_stats { num_missing: 5 } }',
        statistics_pb2.FeatureNameStatistics(),
    )
    found = module.feature_numbers(empty)
    assert (found["Share missing"], found["Mean"], found["Median"]) == (1.0, None, None)


def test_text_that_is_unknown_is_missing_and_no_value():
    device = text_format.Parse(
        """name: "d" type: STRING string_stats { common_stats { num_non_missing: 8 } unique: 2
        top_values { value: "unknown" frequency: 6 } top_values { value: "tv" frequency: 2 }
        rank_histogram { buckets { label: "unknown" sample_count: 6 }
        buckets { label: "tv" sample_count: 2 } } }""",
        statistics_pb2.FeatureNameStatistics(),
    )
    found = module.feature_numbers(device)
    assert (found["Share missing"], found["Different values"]) == (0.75, 1)
    assert found["Most frequent"] == "tv\u00a0(2)"


# --- the page


def test_the_table_has_every_feature_of_every_split_side_by_side(section):
    names, splits = sorted(raw.MOVIELENS.names), ("train", "validation", "test")
    both = [*rows(section, "numbers-by-split"), *rows(section, "texts-by-split")]
    found = sorted((row["Feature"], row["Split"]) for row in both)
    assert found == sorted((name, split) for name in names for split in splits)


def test_a_value_is_drawn_for_each_split_that_has_it(section, frames):
    for split, frame in frames.items():
        counts = frame["movie_title"].str[0].value_counts()
        for row in drawn(section, "feature-movie_title"):
            if not row["Value"].endswith("…"):
                share = row[f"Share in {split}"]
                assert counts.get(row["Value"], 0) == pytest.approx(share * len(frame))


def test_unknown_values_are_counted_in_words_and_hide_no_bar(section, frames):
    chart = block(section, "feature-director")
    share = (frames["train"]["director"].str[0] == "unknown").mean()
    assert f"Unknown in {100 * share:.1f}\u00a0% of rows" in chart.reading
    assert "unknown" not in [row["Value"] for row in drawn(section, "feature-director")]


def test_a_feature_of_one_value_is_named_and_not_drawn(context, monkeypatch):
    one = text_format.Parse(
        """name: "a" type: STRING string_stats { common_stats { num_non_missing: 3 } unique: 1
        top_values { value: "none" frequency: 3 }
        rank_histogram { buckets { label: "none" sample_count: 3 } } }""",
        statistics_pb2.FeatureNameStatistics(),
    )
    of_one = {"train": statistics_pb2.DatasetFeatureStatistics(features=[one])}
    monkeypatch.setattr(module, "read_statistics", lambda folder: of_one if folder else {})
    found = section_of("Statistics", context)
    assert "Not drawn, having one known value at most: a." in notes(found)
    assert "feature-a" not in charts(found)


def test_seconds_are_read_as_dates(section, frames):
    mean = pd.to_datetime(frames["train"]["timestamp"].str[0].mean(), unit="s")
    assert f"{mean:%Y-%m-%d} in train" in block(section, "feature-timestamp").reading
    assert block(section, "feature-timestamp").spec["encoding"]["x"]["type"] == "temporal"


# --- changes between data sets


def test_distance_of_texts_is_the_largest_difference_of_shares(sources, read, frames):
    found = module.distances(read["train"], read["test"], module.read_schema(sources.schema))
    for name in ("user_gender", "user_occupation_text", "movie_genres"):
        shares = [
            frame[name].dropna().explode().value_counts(normalize=True) for frame in frames.values()
        ]
        train, test = (
            share.reindex(shares[0].index.union(shares[1].index), fill_value=0) for share in shares
        )
        measure, value = found[name]
        assert measure == "L-infinity"
        assert value == pytest.approx((train - test).abs().max(), abs=1e-6)


def test_same_data_is_at_no_distance_and_every_feature_is_measured(sources, read):
    found = module.distances(read["train"], read["train"], module.read_schema(sources.schema))
    assert found.keys() == set(raw.MOVIELENS.names)
    assert [value for _, value in found.values()] == pytest.approx([0.0] * len(found), abs=1e-9)


def test_numbers_that_share_no_value_are_as_far_apart_as_can_be(context):
    schema = schema_pb2.Schema(feature=[schema_pb2.Feature(name="a", type=schema_pb2.FLOAT)])
    low, high = (
        tfdv.generate_statistics_from_dataframe(
            pd.DataFrame({"a": np.linspace(start, start + 1, 200)})
        )
        for start in (0.0, 100.0)
    )
    measure, value = module.distances(low.datasets[0], high.datasets[0], schema)["a"]
    assert measure == "Jensen-Shannon"
    assert value == pytest.approx(1.0, abs=0.05)


def test_drift_is_shown_beside_skew_when_there_was_a_run_before(context, section):
    drift = "train since the run before"
    assert "train to test" in block(section, "changes").columns
    assert drift not in block(section, "changes").columns
    assert "no earlier run" in notes(section)
    later = Context(
        dataclasses.replace(context.sources, previous_statistics=context.sources.statistics)
    )
    found = section_of("Statistics", later)
    assert set(column(found, "changes", drift)) == {0.0}
    assert "no earlier run" not in notes(found)
    render("t", "s", Note("v"), (found,))


# --- schemas and anomalies


def test_the_inferred_schema_is_beside_the_curated_one(section, sources):
    found = {row["Feature"]: row for row in rows(section, "schemas")}
    for title, folder in (("Curated", sources.schema), ("Inferred", sources.inferred_schema)):
        [path] = folder.glob("*.pbtxt")
        schema = text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
        assert found.keys() == {feature.name for feature in schema.feature}
        for feature in schema.feature:
            text = found[feature.name][title].partition(" (")[0]
            assert text_format.Parse(text, schema_pb2.Feature(name=feature.name)) == feature


def test_the_values_of_a_domain_are_shown_where_it_is_used():
    schema = text_format.Parse(
        """string_domain { name: "moods" value: "glad" value: "sad" }
        feature { name: "a" type: BYTES domain: "moods" } feature { name: "b" type: INT }""",
        schema_pb2.Schema(),
    )
    assert module.described_features(schema) == {
        "a": 'type: BYTES domain: "moods" (glad, sad)',
        "b": "type: INT",
    }


def test_data_that_agrees_with_the_schema_has_no_anomalies(section):
    assert "No anomalies" in notes(section)


def test_findings_of_the_gate_are_listed(sources, tmp_path):
    finding = {
        "severity": "error",
        "split": "train",
        "feature": "user_gender",
        "description": "Examples contain values missing from the schema: X (~2%)",
        "examples": ["X", "<b>Y</b>"],
        "remedy": "add it",
    }
    path = tmp_path / "anomalies.json"
    path.write_text(json.dumps({"anomalies": [finding]}))
    found = section_of("Statistics", Context(dataclasses.replace(sources, findings=path)))
    (row,) = rows(found, "anomalies-found")
    assert row["Feature"] == "user_gender"
    assert row["Values in the data"] == "X; <b>Y</b>"
    assert "1 error and 0 warnings" in notes(found)
    assert "<b>Y</b>" not in render("t", "s", Note("v"), (found,))


def test_a_run_that_stopped_before_counting_says_so():
    found = section_of("Statistics", Context(Sources()))
    assert not charts(found)
    assert not tables(found)
    for words in ("as validating", "as counting", "as importing"):
        assert words in notes(found)
