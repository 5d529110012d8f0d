"""The curated schema: it agrees with the feature table, passes clean data, catches dirty data."""

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from example_artifacts import needs_real_data, real_dirs, run_ratings
from google.protobuf import text_format
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.coders import example_coder

from schema import features as raw
from sources import ratings, tables, wrangling
from sources.sample import generate_sample

pytestmark = pytest.mark.xdist_group("schema")

HERE = Path(__file__).parent
SCHEMA = text_format.Parse(
    (HERE.parents[1] / "schema" / "schema.pbtxt").read_text(), schema_pb2.Schema()
)
BY_NAME = {feature.name: feature for feature in SCHEMA.feature}
REQUIRED = [f for f in raw.MOVIELENS.features if not (f.optional or f.multivalued)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The cleaned ratings of a sample, dirt and all before the cleanup, as one batch."""
    folder = tmp_path_factory.mktemp("schema")
    generate_sample(folder / "sample", ratings=1000, seed=9)
    metadata = str(folder / "sample" / "metadata")
    return read(run_ratings(folder / "sample", folder / "examples", metadata_dir=metadata))


def read(written):
    records = [record for split in written.splits for record in written.serialized(split)]
    return example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(records)


def statistics(batch):
    return stats_impl.generate_statistics_in_memory(batch)


def errors(batch, environment=None, schema=SCHEMA, previous=None):
    """Returns {feature: names of what is wrong with it}, errors only."""
    found = tfdv.validate_statistics(
        statistics(batch),
        schema,
        environment=environment,
        previous_statistics=None if previous is None else statistics(previous),
    )
    infos = dict(found.anomaly_info)
    if found.HasField("dataset_anomaly_info"):
        infos["(data set)"] = found.dataset_anomaly_info
    name = anomalies_pb2.AnomalyInfo.Type.Name
    return {
        feature: {name(reason.type) for reason in info.reason}
        for feature, info in infos.items()
        if info.severity == anomalies_pb2.AnomalyInfo.ERROR
    }


def with_value(batch, name, *values):
    """Returns the batch with the feature's value(s) in the last row replaced."""
    position = batch.schema.get_field_index(name)
    kind = batch.schema.field(name).type
    row = [v.encode() if isinstance(v, str) else v for v in values]
    column = pa.concat_arrays([batch.column(position)[:-1], pa.array([row or None], kind)])
    return replaced(batch, name, column)


def replaced(batch, name, column):
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | {name: column}
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def without(batch, name):
    columns = {n: c for n, c in zip(batch.schema.names, batch.columns, strict=True) if n != name}
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


# Agreement with the table


def test_the_schema_has_the_features_of_the_table_in_its_order():
    assert list(BY_NAME) == list(raw.MOVIELENS.names)


@pytest.mark.parametrize("feature", raw.MOVIELENS.features, ids=lambda feature: feature.name)
def test_type_and_presence_are_those_of_the_table(feature):
    entry = BY_NAME[feature.name]
    types = {"string": schema_pb2.BYTES, "int64": schema_pb2.INT, "float32": schema_pb2.FLOAT}
    assert entry.type == types[feature.dtype]
    required = feature in REQUIRED
    assert entry.presence.min_fraction == (1.0 if required else 0.0)
    assert entry.HasField("shape") == required
    if feature.optional:
        assert (entry.value_count.min, entry.value_count.max) == (1, 1)


def test_the_label_alone_is_absent_when_serving():
    assert list(SCHEMA.default_environment) == ["TRAINING", "SERVING"]
    absent = {e.name: list(e.not_in_environment) for e in SCHEMA.feature if e.not_in_environment}
    assert absent == {raw.RATING.name: ["SERVING"]}


def test_the_ranges_are_those_that_the_cleanup_keeps():
    rating, age = BY_NAME[raw.RATING.name].float_domain, BY_NAME[raw.AGE.name].float_domain
    assert (rating.min, rating.max) == (raw.RATING_MIN, raw.RATING_MAX)
    assert (age.min, age.max) == (tables.AGE_MIN, tables.AGE_MAX)
    end = datetime.datetime(2100, 1, 1, tzinfo=datetime.timezone.utc).timestamp()
    assert BY_NAME[raw.TIMESTAMP.name].int_domain.max == ratings.TIMESTAMP_END == end
    label = BY_NAME[raw.OCCUPATION_LABEL.name].int_domain
    assert (label.min, label.max) == (0, len(wrangling.OCCUPATION_LABELS) - 1)
    bucket = BY_NAME[raw.AGE_BUCKET.name].int_domain
    assert (bucket.min, bucket.max) == (raw.AGE_BUCKETS[0], raw.AGE_BUCKETS[-1])


def test_the_genders_are_those_that_the_cleanup_writes():
    (domain,) = SCHEMA.string_domain
    written = {wrangling.normalize_gender(s) for s in wrangling._MALE | wrangling._FEMALE}
    assert set(domain.value) == written | {raw.UNKNOWN}


def test_what_is_compared_between_runs_can_be_compared():
    for entry in SCHEMA.feature:
        for comparator in ("drift_comparator", "skew_comparator"):
            if not entry.HasField(comparator):
                continue
            value = getattr(entry, comparator)
            # TFDV measures text by its commonest values and numbers by their distribution.
            is_text = entry.type == schema_pb2.BYTES
            measure = "infinity_norm" if is_text else "jensen_shannon_divergence"
            assert 0 < getattr(value, measure).threshold < 1, entry.name
    assert BY_NAME[raw.RATING.name].HasField("drift_comparator")


def test_records_are_parsed_as_the_golden_file_says(golden):
    spec = schema_utils.schema_as_feature_spec(SCHEMA).feature_spec
    text = "".join(f"{name}: {spec[name]}\n" for name in sorted(spec))
    golden(HERE / "feature_spec.golden.txt", text)


# Clean data


def test_the_sample_has_no_anomaly_after_the_cleanup(sample):
    assert sample.num_rows > 990
    assert errors(sample) == {}


def test_requests_without_a_label_are_fine_when_serving_only(sample):
    requests = without(sample, raw.RATING.name)
    assert errors(requests, environment="SERVING") == {}
    assert errors(requests, environment="TRAINING") == {raw.RATING.name: {"SCHEMA_MISSING_COLUMN"}}


def test_a_users_own_data_without_optional_columns_is_fine(sample):
    batch = sample
    for feature in raw.MOVIELENS.features:
        if feature.optional or feature.multivalued:
            batch = without(batch, feature.name)
    assert errors(batch) == {}


def test_text_that_is_unknown_throughout_is_fine(sample):
    batch = sample
    unknown = pa.array([[raw.UNKNOWN.encode()]] * sample.num_rows, pa.list_(pa.binary()))
    for feature in (raw.GENDER, raw.OCCUPATION, raw.ZIP_CODE, raw.TITLE):
        batch = replaced(batch, feature.name, unknown)
    assert errors(batch) == {}


def test_new_occupations_titles_and_people_are_fine(sample):
    batch = sample
    for name in ("user_occupation_text", "movie_title", "director", "star", "user_zip_code"):
        batch = with_value(batch, name, "never seen before")
    assert errors(batch) == {}


@pytest.mark.exhaustive
@needs_real_data
def test_the_real_data_has_no_anomaly(tmp_path):
    data, metadata = real_dirs()
    batch = read(run_ratings(data, tmp_path, metadata_dir=metadata))
    assert batch.num_rows == 100_000
    assert errors(batch) == {}


# Dirty data


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("user_gender", ["Diverse"], "ENUM_TYPE_UNEXPECTED_STRING_VALUES"),
        ("user_gender", ["male"], "ENUM_TYPE_UNEXPECTED_STRING_VALUES"),
        ("user_rating", [5.5], "FLOAT_TYPE_BIG_FLOAT"),
        ("user_rating", [0.5], "FLOAT_TYPE_SMALL_FLOAT"),
        ("timestamp", [880_000_000_000], "INT_TYPE_BIG_INT"),
        ("timestamp", [-1], "INT_TYPE_SMALL_INT"),
        ("raw_user_age", [121.0], "FLOAT_TYPE_BIG_FLOAT"),
        ("raw_user_age", [0.0], "FLOAT_TYPE_SMALL_FLOAT"),
        ("bucketized_user_age", [57], "INT_TYPE_BIG_INT"),
        ("user_occupation_label", [22], "INT_TYPE_BIG_INT"),
        ("movie_year_release", [1066], "INT_TYPE_SMALL_INT"),
        ("movie_year_release", [20_230], "INT_TYPE_BIG_INT"),
        ("movie_year_release", [1994, 1995], "FEATURE_TYPE_HIGH_NUMBER_VALUES"),
        ("user_id", ["1", "2"], "INVALID_FEATURE_SHAPE"),
    ],
)
def test_one_wrong_value_among_all_rows_is_an_error(sample, name, values, kind):
    found = errors(with_value(sample, name, *values))
    assert set(found) == {name}
    assert kind in found[name]


@pytest.mark.parametrize("name", raw.names(REQUIRED))
def test_a_missing_column_and_a_single_gap_in_it_are_errors(sample, name):
    assert errors(without(sample, name)) == {name: {"SCHEMA_MISSING_COLUMN"}}
    found = errors(with_value(sample, name))
    assert "FEATURE_TYPE_LOW_FRACTION_PRESENT" in found[name]


def test_a_column_that_nobody_knows_is_an_error(sample):
    extra = pa.array([[44]] * sample.num_rows, pa.list_(pa.int64()))
    assert errors(replaced(sample, "shoe_size", extra)) == {"shoe_size": {"SCHEMA_NEW_COLUMN"}}


def test_ids_as_numbers_are_an_error(sample):
    numbers = pa.array([[number] for number in range(sample.num_rows)], pa.list_(pa.int64()))
    assert "user_id" in errors(replaced(sample, "user_id", numbers))


def test_data_that_drifts_from_the_run_before_is_found(sample):
    assert errors(sample, previous=sample) == {}
    female = pa.array([[b"Female"]] * sample.num_rows, pa.list_(pa.binary()))
    drifted = replaced(sample, "user_gender", female)
    assert "user_gender" in errors(drifted, previous=sample)
    ones = pa.array([[1.0]] * sample.num_rows, pa.list_(pa.float32()))
    assert "user_rating" in errors(replaced(sample, "user_rating", ones), previous=sample)


def test_half_of_the_data_does_not_drift_from_the_other_half(sample):
    order = np.random.default_rng(1).permutation(sample.num_rows)
    half = sample.num_rows // 2
    batch = pa.Table.from_batches([sample])
    first, second = (
        batch.take(pa.array(rows)).combine_chunks().to_batches()[0]
        for rows in (order[:half], order[half:])
    )
    assert errors(first, previous=second) == {}
