"""The curated schema of a run: whose it is, when it is made, and what of it is refused."""

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.config import OutputPaths
from pipeline.pipeline import SCHEMA_FILE
from pipeline.schema_file import curated_schema
from schema.features import MOVIELENS
from sources import movielens_csv, movielens_dat
from sources.errors import InputError

CSV, ML_1M = movielens_csv.SPEC.features, movielens_dat.ML_1M.features


@pytest.fixture
def paths(tmp_path):
    return OutputPaths(tmp_path)


def names_in(path):
    schema = text_format.Parse(path.read_text(), schema_pb2.Schema())
    return tuple(feature.name for feature in schema.feature)


def test_movielens_100k_keeps_the_committed_schema(paths):
    assert curated_schema(MOVIELENS, None, paths).path == SCHEMA_FILE
    assert not paths.schema.exists()


def test_the_first_run_makes_a_schema_and_later_ones_use_it(paths):
    first = curated_schema(CSV, None, paths)
    assert (first.shown, first.made) == (paths.schema, True)
    assert "edit it" in first.describe()
    assert names_in(first.path) == names_in(paths.schema) == CSV.names
    again = curated_schema(CSV, None, paths)
    assert (again.path, again.made) == (first.path, False)


def test_an_edited_schema_stays_and_has_another_path(paths):
    first = curated_schema(CSV, None, paths)
    edited = paths.schema.read_text().replace("max: 5.0", "max: 4.0", 1)
    paths.schema.write_text(edited)
    again = curated_schema(CSV, None, paths)
    assert (again.path != first.path, again.made) == (True, False)
    assert paths.schema.read_text() == again.path.read_text() == edited


def test_a_schema_that_nobody_edited_is_made_again_for_other_data(paths):
    curated_schema(CSV, None, paths)
    again = curated_schema(ML_1M, None, paths)
    assert again.made
    assert names_in(again.path) == ML_1M.names


def test_an_edited_schema_of_other_data_is_refused_and_stays(paths):
    curated_schema(CSV, None, paths)
    edited = paths.schema.read_text() + "# mine\n"
    paths.schema.write_text(edited)
    with pytest.raises(
        InputError, match=r"(?s)schema.pbtxt: the schema lacks features.*user_gender"
    ):
        curated_schema(ML_1M, None, paths)
    assert paths.schema.read_text() == edited


def test_a_schema_that_is_given_goes_before_all_others(paths, tmp_path):
    given = tmp_path / "mine.pbtxt"
    given.write_text(SCHEMA_FILE.read_text().replace("max: 120.0", "max: 99.0"))
    found = curated_schema(MOVIELENS, given, paths)
    assert found.shown == given
    assert found.path.read_text() == given.read_text()
    assert not paths.schema.exists()
    with pytest.raises(InputError, match="(?s)has features that this data lacks.*user_gender"):
        curated_schema(CSV, given, paths)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("shape {\n  }", "value_count { min: 1 max: 1 }", "(?s)in another form.*user_id"),
        ("type: FLOAT", "type: INT", "(?s)in another form.*user_rating"),
        ("min_fraction: 1.0", "min_fraction: 0.5", "(?s)cannot be read.*min_fraction"),
        ("feature {", "feature [", "(?s)cannot be read.*schema as text"),
    ],
)
def test_a_schema_by_which_the_records_cannot_be_read_is_refused(paths, old, new, message):
    curated_schema(CSV, None, paths)
    text = paths.schema.read_text()
    assert old in text
    paths.schema.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        curated_schema(CSV, None, paths)
