"""The one reader of tf.Examples: files of a split, records, columns."""

import numpy as np
import pytest
import tensorflow as tf

from components.examples.reading import files_of_split, parse, parse_first, serialized_batches
from schema import features as raw
from schema.features import MOVIELENS


def record(**columns):
    example = tf.train.Example()
    for name, values in columns.items():
        feature = example.features.feature[name]
        if isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return example.SerializeToString()


EMPTY = record()
FULL = record(
    user_id=[b"7"],
    raw_user_age=[31.0],
    movie_genres=[b"Comedy", b"Drama"],
    movie_year_release=[1995],
)


def write(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for one in records:
            writer.write(one)
    return str(path)


@pytest.mark.parametrize("folder", ["plain", "a [1]*?{b,c}", "100 %, really"])
def test_files_of_a_split_are_those_complete_in_order_whatever_the_folder_is_called(
    tmp_path, folder
):
    place = tmp_path / folder
    second, first = write(place / "data-1.gz", FULL), write(place / "data-0.gz", EMPTY)
    write(place / ".data-2.gz.partial", FULL)
    write(place / ".hidden.gz", FULL)
    (place / "notes.txt").write_text("no records")
    assert files_of_split(place) == files_of_split(str(place)) == [first, second]
    batches = serialized_batches(files_of_split(place), 8).as_numpy_iterator()
    assert [batch.tolist() for batch in batches] == [[EMPTY, FULL]]


def test_a_folder_that_is_not_there_has_no_files(tmp_path):
    assert files_of_split(tmp_path / "no such") == []
    assert list(serialized_batches([], 8)) == []


def test_batches_go_on_from_file_to_file(tmp_path):
    records = [record(user_id=[str(number).encode()]) for number in range(5)]
    files = [write(tmp_path / "a.gz", *records[:3]), write(tmp_path / "b.gz", *records[3:])]
    found = [batch.tolist() for batch in serialized_batches(files, 2).as_numpy_iterator()]
    assert found == [records[:2], records[2:4], records[4:]]


def test_parsing_gives_a_missing_feature_an_empty_value_or_none():
    parsed = parse(tf.constant([EMPTY]), MOVIELENS.features)
    assert parsed.keys() == set(MOVIELENS.names)
    assert parsed["user_id"].numpy().tolist() == [b""]
    assert parsed["user_gender"].numpy().tolist() == [b""]
    assert parsed["timestamp"].numpy().tolist() == [0]
    assert parsed["user_rating"].numpy().tolist() == [0.0]
    assert parsed["raw_user_age"].dense_shape.numpy().tolist() == [1, 0]
    assert parsed["movie_genres"].dense_shape.numpy().tolist() == [1, 0]


def test_a_reader_may_say_what_stands_for_missing_values():
    missing = {"string": "?", "int64": -1, "float32": float("nan")}
    columns = (raw.USER_ID, raw.AGE, raw.RELEASE_YEAR, raw.GENRES)
    parsed = parse(tf.constant([FULL, EMPTY]), columns, missing)
    assert parsed["user_id"].numpy().tolist() == [b"7", b"?"]
    np.testing.assert_array_equal(parsed["raw_user_age"].numpy(), [31.0, np.nan])
    assert parsed["movie_year_release"].numpy().tolist() == [1995, -1]
    genres = tf.RaggedTensor.from_sparse(parsed["movie_genres"])
    assert genres.to_list() == [[b"Comedy", b"Drama"], []]


def test_the_first_value_is_taken_of_records_of_any_origin():
    columns = (raw.USER_ID, raw.AGE, raw.RELEASE_YEAR)
    many = record(user_id=[b"1", b"2"], raw_user_age=[5.0, 6.0])
    parsed = parse_first(tf.constant([many, EMPTY, FULL]), columns)
    assert parsed["user_id"].numpy().tolist() == [b"1", b"", b"7"]
    assert parsed["raw_user_age"].numpy().tolist() == [5.0, 0.0, 31.0]
    assert parsed["movie_year_release"].numpy().tolist() == [0, 0, 1995]
