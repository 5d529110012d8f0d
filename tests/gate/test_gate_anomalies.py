import copy

import gate_fixtures as fixtures
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.gate.anomalies import (
    MAX_MESSAGE_LINES,
    WHOLE_DATA_SET,
    Severity,
    blocking_anomalies,
    describe,
    find_anomalies,
    find_changes,
)


def find(columns, schema=fixtures.SCHEMA, previous=None, split="train"):
    statistics = fixtures.statistics_of(columns)
    found = tfdv.validate_statistics(
        statistics,
        schema,
        previous_statistics=None if previous is None else fixtures.statistics_of(previous),
    )
    return find_anomalies({split: found}, {split: statistics}, schema)


def only(found):
    (anomaly,) = found
    return anomaly


def test_clean_data_has_no_anomaly():
    assert find(fixtures.GOOD) == ()


@pytest.mark.parametrize(
    ("columns", "feature", "kind", "says", "example", "remedy"),
    [
        (
            fixtures.NEW_GENDER,
            "user_gender",
            "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
            "Diverse (~10%)",
            "commonest values 'Male', 'Diverse'",
            "add the values to string_domain 'gender'",
        ),
        (
            fixtures.HIGH_RATING,
            "user_rating",
            "FLOAT_TYPE_BIG_FLOAT",
            "50>5",
            "values from 4 to 50",
            "widen float_domain { min, max }",
        ),
        (
            fixtures.NO_MOVIE,
            "movie_id",
            "SCHEMA_MISSING_COLUMN",
            "completely missing",
            None,
            "lower presence { min_fraction, min_count }",
        ),
        (
            fixtures.GAPS,
            "movie_id",
            "FEATURE_TYPE_LOW_FRACTION_PRESENT",
            "actual = 0.750000",
            "missing in 5 rows",
            "lower presence { min_fraction, min_count }",
        ),
        (
            fixtures.EXTRA,
            "shoe_size",
            "SCHEMA_NEW_COLUMN",
            "New column",
            "commonest values '44'",
            "add an entry of feature 'shoe_size'",
        ),
        (
            fixtures.WRONG_TYPE,
            "user_rating",
            "UNEXPECTED_DATA_TYPE",
            "STRING",
            "commonest values 'four'",
            "change type",
        ),
    ],
)
def test_an_anomaly_names_feature_kind_values_and_remedy(
    columns, feature, kind, says, example, remedy
):
    anomaly = only(blocking_anomalies(find(columns)))
    assert anomaly.split == "train"
    assert anomaly.feature == feature
    assert kind in anomaly.kinds
    assert says in anomaly.description
    assert (example in anomaly.examples) if example else (anomaly.examples == ())
    assert remedy in anomaly.remedy
    assert anomaly.remedy.endswith(f"of feature '{feature}' in schema/schema.pbtxt")


def test_drift_from_earlier_data_is_named_with_its_comparator():
    drifted = {**fixtures.GOOD, "user_gender": ["Male"] * 20}
    anomaly = only(blocking_anomalies(find(drifted, previous=fixtures.GOOD)))
    assert anomaly.kinds == ("COMPARATOR_L_INFTY_HIGH",)
    assert "0.5" in anomaly.description
    assert "threshold in drift_comparator" in anomaly.remedy


MEN_ONLY = {**fixtures.GOOD, "user_gender": ["Male"] * 20}


def changes(splits, previous):
    return find_changes(
        {name: fixtures.statistics_of(columns) for name, columns in splits.items()},
        {name: fixtures.statistics_of(columns) for name, columns in previous.items()},
        fixtures.SCHEMA,
    )


def test_drift_since_the_run_before_is_a_warning_and_does_not_block():
    found = changes({"train": MEN_ONLY}, {"train": fixtures.GOOD})
    assert [(a.split, a.feature, a.severity) for a in found] == [
        ("train since the last run", "user_gender", Severity.WARNING)
    ]
    assert blocking_anomalies(found) == ()


def test_the_same_data_again_does_not_drift():
    assert changes({"train": fixtures.GOOD}, {"train": fixtures.GOOD}) == ()


def test_only_comparators_speak_of_change_not_what_the_validator_found_already():
    assert changes({"train": fixtures.HIGH_RATING}, {}) == ()


def test_warnings_are_found_and_do_not_block():
    schema = copy.deepcopy(fixtures.SCHEMA)
    # TFDV lets a schema lower the severity of one kind of anomaly.
    statistics = fixtures.statistics_of(fixtures.HIGH_RATING)
    found = tfdv.validate_statistics(statistics, schema)
    found.anomaly_info["user_rating"].severity = anomalies_pb2.AnomalyInfo.WARNING
    anomaly = only(find_anomalies({"train": found}, {"train": statistics}, schema))
    assert anomaly.severity is Severity.WARNING
    assert blocking_anomalies([anomaly]) == ()


def test_an_anomaly_of_unknown_severity_blocks():
    found = anomalies_pb2.Anomalies()
    found.anomaly_info["x"].description = "odd"
    assert len(blocking_anomalies(find_anomalies({"train": found}, {}, schema_pb2.Schema()))) == 1


def test_a_split_without_rows_blocks():
    found = tfdv.validate_statistics(
        statistics_pb2.DatasetFeatureStatisticsList(
            datasets=[statistics_pb2.DatasetFeatureStatistics(num_examples=0)]
        ),
        fixtures.SCHEMA,
    )
    blocking = blocking_anomalies(find_anomalies({"test": found}, {}, fixtures.SCHEMA))
    assert (blocking[0].split, blocking[0].feature) == ("test", WHOLE_DATA_SET)
    assert blocking[0].description == "The split has no rows"


def test_too_few_rows_point_to_the_dataset_constraints():
    schema = copy.deepcopy(fixtures.SCHEMA)
    schema.dataset_constraints.min_examples_count = 1000
    anomaly = only(find(fixtures.GOOD, schema))
    assert anomaly.feature == WHOLE_DATA_SET
    assert anomaly.remedy == "edit dataset_constraints in schema/schema.pbtxt"


def test_the_message_is_one_line_per_anomaly_with_its_splits():
    found = [
        *find(fixtures.HIGH_RATING, split="train"),
        *find(fixtures.HIGH_RATING, split="test"),
    ]
    lines = describe(found, None).splitlines()
    assert lines == [
        "The data does not agree with the schema; nothing was trained.",
        "  train, test: user_rating: Unexpectedly high value: 50>5(upto six significant digits) "
        "[values from 4 to 50]. Fix the data; or, if it is right, widen float_domain "
        "{ min, max } of feature 'user_rating' in schema/schema.pbtxt.",
    ]


@pytest.mark.parametrize("count", [8, 9, 50])
def test_the_message_is_capped_and_says_where_the_rest_is(count):
    found = find({**fixtures.GOOD, **{f"extra_{i:02}": ["a"] * 20 for i in range(count)}})
    lines = describe(found, "output/anomalies.json").splitlines()
    assert len(lines) <= MAX_MESSAGE_LINES
    assert "see output/anomalies.json" in lines[-1]
    assert (f"and {count - 8} more" in lines[-1]) == (count > 8)


def test_a_description_with_thousands_of_values_is_cut():
    columns = {**fixtures.GOOD, "user_gender": [f"kind-{i}" for i in range(20)]}
    (line,) = describe(find(columns), None).splitlines()[1:]
    assert len(line) < 600
    assert "…" in line
