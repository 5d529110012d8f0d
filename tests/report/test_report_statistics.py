"""The page's statistics are TFDV's own, and those are what pandas counts."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from example_artifacts import Written
from google.protobuf import text_format
from tensorflow_data_validation.utils import stats_util
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.types import standard_artifacts

from components.report.context import Context
from components.report.page import Figure, Note, Page, Table, render
from components.report.sections import statistics as module
from components.report.sources import Sources, find_sources
from components.report.tfdv_numbers import changes, feature_numbers
from schema import features as raw

pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def sources(run_output):
    return find_sources(run_output)


@pytest.fixture(scope="module")
def context(sources):
    return Context(sources)


@pytest.fixture(scope="module")
def section(context):
    return module.build(context)


@pytest.fixture(scope="module")
def frames(sources):
    """The examples themselves, by split."""
    examples = standard_artifacts.Examples()
    examples.uri = str(sources.ratings)
    return {split: pd.DataFrame(Written(examples).rows(split)) for split in ("train", "test")}


def block(section, key):
    (found,) = (b for b in section.blocks if getattr(b, "key", None) == key)
    return found


def notes(section):
    return " ".join(b.text for b in section.blocks if isinstance(b, Note))


def table(section, key):
    found = block(section, key)
    return [
        dict(zip([column.title for column in found.columns], row, strict=True))
        for row in found.rows
    ]


# --- numbers


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_numbers_are_those_that_tfdvs_own_reader_gives(context, sources, split):
    path = sources.statistics / f"Split-{split}" / "FeatureStats.pb"
    view = stats_util.DatasetListView(tfdv.load_stats_binary(str(path))).get_default_slice()
    found = {
        numbers.feature: numbers for numbers in feature_numbers(split, context.statistics[split])
    }
    assert found.keys() == set(raw.MOVIELENS.names)
    for name, numbers in found.items():
        feature = view.get_feature(name)
        common = (feature.numeric_statistics() or feature.string_statistics()).common_stats
        assert (numbers.present, numbers.missing) == (common.num_non_missing, common.num_missing)
        if feature.numeric_statistics():
            own = feature.numeric_statistics()
            assert (numbers.mean, numbers.sd, numbers.low, numbers.median, numbers.high) == (
                own.mean, own.std_dev, own.min, own.median, own.max,
            )  # fmt: skip
            assert numbers.zeros == own.num_zeros
        else:
            own = feature.string_statistics()
            assert numbers.unique == own.unique
            assert list(numbers.top) == [(top.value, top.frequency) for top in own.top_values]


@pytest.mark.parametrize("split", ["train", "test"])
def test_numbers_are_what_pandas_counts_in_the_examples(context, frames, split):
    frame = frames[split]
    for numbers in feature_numbers(split, context.statistics[split]):
        lists = (
            frame[numbers.feature] if numbers.feature in frame else pd.Series([None] * len(frame))
        )
        held = lists.dropna()
        values = pd.Series([value for row in held for value in row])
        assert (numbers.rows, numbers.present) == (len(frame), len(held)), numbers.feature
        if numbers.mean is None:
            counts = values.value_counts()
            assert numbers.unique == len(counts)
            assert all(counts[value] == count for value, count in numbers.top)
            assert numbers.top[0][1] == counts.max()
            assert numbers.counts == counts.to_dict()
        else:
            assert numbers.mean == pytest.approx(values.mean())
            assert numbers.sd == pytest.approx(values.std(ddof=0))
            assert (numbers.low, numbers.high) == (values.min(), values.max())
            assert numbers.zeros == (values == 0).sum()
            low, high = values.quantile([0.49, 0.51], interpolation="nearest")
            assert low <= numbers.median <= high
            assert sum(count for _, _, count in numbers.histogram) == pytest.approx(len(values))


def test_features_missing_everywhere_have_no_numbers():
    empty = text_format.Parse(
        'name: "a" num_stats { common_stats { num_missing: 5 } }',
        statistics_pb2.FeatureNameStatistics(),
    )
    (numbers,) = feature_numbers("train", statistics_pb2.DatasetFeatureStatistics(features=[empty]))
    assert (numbers.rows, numbers.missing, numbers.mean, numbers.histogram) == (5, 5, None, ())


# --- the page


def test_table_has_every_feature_of_every_split_side_by_side(context, section):
    found = table(section, "features")
    names = sorted(raw.MOVIELENS.names)
    splits = ["train", "validation", "test"]
    assert [(row["Feature"], row["Split"]) for row in found] == [
        (n, s) for n in names for s in splits
    ]
    own = {
        (split, numbers.feature): numbers
        for split in splits
        for numbers in feature_numbers(split, context.statistics[split])
    }
    for row in found:
        numbers = own[row["Split"], row["Feature"]]
        assert row["Unique"] == numbers.unique
        assert row["Missing"] == numbers.missing / numbers.rows
        if numbers.mean is None:
            assert row["Mean"] is None
        else:
            assert row["Mean"] == pytest.approx(numbers.mean, abs=0.5 if numbers.mean > 9999 else 0)
            assert (row["Min"], row["Max"]) == (numbers.low, numbers.high)


def test_every_feature_is_drawn_with_all_its_splits(section):
    for name in raw.MOVIELENS.names:
        figure = block(section, f"feature-{name}")
        assert {row["split"] for row in figure.spec["data"]["values"]} == {
            "train",
            "validation",
            "test",
        }


def test_a_value_is_drawn_for_each_split_that_has_it(section, frames):
    drawn = block(section, "feature-movie_title").spec["data"]["values"]
    for split, frame in frames.items():
        counts = frame["movie_title"].str[0].value_counts()
        shown = {row["value"]: row["share"] * len(frame) for row in drawn if row["split"] == split}
        for value, count in shown.items():
            if not value.endswith("…"):
                assert counts[value] == pytest.approx(count)


def test_seconds_are_read_as_dates(section, frames):
    mean = pd.to_datetime(frames["train"]["timestamp"].str[0].mean(), unit="s")
    assert f"{mean:%Y-%m-%d} in train" in block(section, "feature-timestamp").reading
    assert block(section, "feature-timestamp").spec["encoding"]["x"]["type"] == "temporal"


# --- changes between data sets


def test_distance_of_texts_is_the_largest_difference_of_shares(context, frames):
    found = changes(context.statistics["train"], context.statistics["test"], context.schema)
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


def test_same_data_is_at_no_distance_and_every_feature_is_measured(context):
    found = changes(context.statistics["train"], context.statistics["train"], context.schema)
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
    measure, value = changes(low.datasets[0], high.datasets[0], schema)["a"]
    assert measure == "Jensen-Shannon"
    assert value == pytest.approx(1.0, abs=0.05)


def test_drift_is_shown_beside_skew_when_there_was_a_run_before(context, section):
    keys = {b.key for b in section.blocks if isinstance(b, Figure)}
    assert "skew" in keys
    assert "drift" not in keys
    assert "no earlier run" in notes(section)
    later = Context(
        dataclasses.replace(context.sources, previous_statistics=context.sources.statistics)
    )
    found = module.build(later)
    assert {row["distance"] for row in block(found, "drift").spec["data"]["values"]} == {0.0}
    assert "no earlier run" not in notes(found)
    render(Page("t", "s", Note("v"), (found,)))


# --- schemas and anomalies


def test_inferred_schema_stands_beside_the_curated_one(section, context):
    found = {row["Feature"]: row for row in table(section, "schemas")}
    assert found.keys() == {feature.name for feature in context.schema.feature}
    columns = [column.title for column in block(section, "schemas").columns]
    assert columns == ["Feature", "Curated", "Values per row", "Domain",
                       "Inferred", "Values per row", "Domain"]  # fmt: skip
    row = next(row for row in block(section, "schemas").rows if row[0] == "user_rating")
    assert row[1].startswith("float, required")
    assert row[3] == "1 to 5"


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
    found = module.build(Context(dataclasses.replace(sources, findings=path)))
    (row,) = table(found, "anomalies")
    assert row["Feature"] == "user_gender"
    assert row["The data holds"] == "X; <b>Y</b>"
    assert "1 error and 0 warnings" in notes(found)
    assert "<b>Y</b>" not in render(Page("t", "s", Note("v"), (found,)))


def test_without_the_gate_the_validators_anomalies_are_shown(sources):
    assert "No anomalies" in notes(
        module.build(Context(dataclasses.replace(sources, findings=None)))
    )


def test_a_run_that_stopped_before_counting_says_so():
    found = module.build(Context(Sources()))
    assert not any(isinstance(b, Figure | Table) for b in found.blocks)
    for words in ("as validating", "as counting", "as importing"):
        assert words in notes(found)
