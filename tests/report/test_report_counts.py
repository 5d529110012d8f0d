"""Counts over the ratings equal those of pandas on the raw files."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from raw_sample import read_ratings, read_users, sample_folder

from components.report import counts as module
from components.report.context import Context
from components.report.counts import count_ratings
from components.report.sources import find_sources

pytestmark = pytest.mark.xdist_group("report")

STARS = [1, 2, 3, 4, 5]


@pytest.fixture(scope="module")
def context(run_output):
    return Context(find_sources(run_output))


@pytest.fixture(scope="module")
def raw(run_output):
    return read_ratings(sample_folder(run_output))


def table(raw, by):
    return pd.crosstab(by, raw["stars"]).reindex(columns=STARS, fill_value=0).sort_index()


def test_every_rating_is_counted_once(context, raw):
    assert context.counts.ratings == len(raw)
    assert context.counts.complete
    by_split = {name: int(found.sum()) for name, found in context.counts.by_split.items()}
    assert by_split == context.wrangling["rows"]


def test_counts_by_person_and_by_film_are_those_of_the_raw_files(context, raw):
    counts = context.counts
    assert counts.stars.tolist() == STARS
    for found, ids, column in (
        (counts.by_user, counts.users.index, "user"),
        (counts.by_movie, counts.movie_ids, "movie"),
    ):
        expected = table(raw, raw[column])
        assert list(ids) == expected.index.tolist()
        np.testing.assert_array_equal(found, expected)


def test_counts_by_time_are_those_of_pandas_calendar(context, raw):
    times = pd.to_datetime(raw["time"], unit="s")
    expected = np.zeros([7, 24, 5], int)
    np.add.at(expected, (times.dt.dayofweek, times.dt.hour, raw["stars"] - 1), 1)
    np.testing.assert_array_equal(context.counts.by_hour, expected)
    days = times.dt.normalize().value_counts().sort_index()
    epoch = pd.Timestamp(1970, 1, 1)
    found = {epoch + pd.Timedelta(days=day): n for day, n in context.counts.by_day.items()}
    assert found == days.to_dict()


def test_facts_of_people_are_those_of_the_raw_file(context, run_output):
    users = read_users(sample_folder(run_output)).set_index("user").loc[context.counts.users.index]
    found = context.counts.users
    assert found["raw_user_age"].tolist() == users["age"].tolist()
    letters = users["gender"].str.lower().str[0]  # the sample has several spellings
    genders = letters.map({"m": "Male", "t": "Male", "f": "Female"})
    assert found["user_gender"].tolist() == genders.tolist()
    assert found["user_occupation_text"].tolist() == users["occupation"].tolist()
    five_digits = users["zip"].str.fullmatch(r"\d{5}")
    assert found["user_zip_code"][five_digits].tolist() == users["zip"][five_digits].tolist()


# --- records made by hand


def example(user, movie, stars, seconds=880_000_000, **texts):
    features = {
        "user_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(user).encode()])),
        "movie_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(movie).encode()])),
        "user_rating": tf.train.Feature(float_list=tf.train.FloatList(value=[stars])),
        "timestamp": tf.train.Feature(int64_list=tf.train.Int64List(value=[seconds])),
    }
    for name, text in texts.items():
        features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(folder, *shards):
    (folder / "Split-train").mkdir(parents=True)
    for number, records in enumerate(shards):
        path = folder / "Split-train" / f"data_tfrecord-{number:05d}.gz"
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for record in records:
                writer.write(record)
    return folder


def test_counts_are_the_same_however_the_ratings_are_batched(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    rows = list(zip(random.integers(1, 60, 500), random.integers(1, 9, 500), strict=True))
    folder = write(tmp_path, [example(u, m, 1 + (u + m) % 5) for u, m in rows])
    whole = count_ratings(folder)
    monkeypatch.setattr(module, "COUNTED_AT_ONCE", 7)
    pieces = count_ratings(folder)
    for name in ("by_user", "by_movie", "by_hour"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))
    assert whole.users.index.tolist() == pieces.users.index.tolist() == sorted({u for u, _ in rows})


def test_reading_stops_between_shards_when_there_are_many_ratings(tmp_path):
    shards = [[example(user, 1, 4) for user in range(first, first + 10)] for first in (1, 11, 21)]
    found = count_ratings(write(tmp_path, *shards), max_rows=15)
    assert not found.complete
    assert found.ratings == 20


def test_half_stars_are_kept_apart_and_absent_facts_are_unknown(tmp_path):
    found = count_ratings(
        write(tmp_path, [example(7, 1, 3.5), example(7, 2, 3.5), example(7, 3, 4)])
    )
    assert found.stars.tolist() == [3.5, 4.0]
    assert found.by_user.tolist() == [[2, 1]]
    assert found.mean(found.by_user).tolist() == [pytest.approx(11 / 3)]
    assert found.users.loc[7, "user_gender"] == "unknown"
    assert np.isnan(found.users.loc[7, "raw_user_age"])


def test_an_artifact_without_ratings_has_no_counts(tmp_path):
    assert count_ratings(write(tmp_path, [])).ratings == 0
