"""What is read of the ratings equals pandas on the raw files, and the intervals of groups."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.stats
import tensorflow as tf
from raw_sample import read_ratings, read_users, sample_folder

from components.examples.events import file_name, write_events
from components.report.ratings import grouped
from components.report.ratings import read_ratings as read
from components.report.sections.exploration import binned, share_of_largest
from schema.features import MOVIE_ID, USER_ID, FeatureTable

pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def raw(run_output):
    return read_ratings(sample_folder(run_output))


def test_every_rating_is_read_once_with_its_split(context, raw):
    found = context.ratings
    assert found.complete
    ours = found.rows[["user", "movie", "rating", "seconds"]].astype(object)
    theirs = raw[["user", "movie", "stars", "time"]].astype(object)
    assert sorted(ours.itertuples(False, None)) == sorted(theirs.itertuples(False, None))
    assert found.rows["split"].value_counts().to_dict() == context.wrangling["rows"]
    assert found.mean == pytest.approx(raw["stars"].mean())


def test_counts_by_user_and_by_movie_are_those_of_the_raw_files(context, raw):
    for found, column in ((context.ratings.by_user, "user"), (context.ratings.by_movie, "movie")):
        expected = pd.crosstab(raw[column], raw["stars"])
        expected = expected.sort_index(key=lambda ids: ids.astype(int))
        np.testing.assert_array_equal(found, expected)
        assert found.index.tolist() == expected.index.tolist()
        assert found.columns.tolist() == expected.columns.tolist()


def test_features_of_users_are_those_of_the_raw_file(context, run_output):
    found = context.ratings.users
    users = read_users(sample_folder(run_output)).set_index("user").loc[found.index]
    assert found["raw_user_age"].tolist() == users["age"].tolist()
    letters = users["gender"].str.lower().str[0]  # the sample has several spellings
    genders = letters.map({"m": "Male", "t": "Male", "f": "Female"})
    assert found["user_gender"].tolist() == genders.tolist()
    assert found["user_occupation_text"].tolist() == users["occupation"].tolist()
    five_digits = users["zip"].str.fullmatch(r"\d{5}")
    assert found["user_zip_code"][five_digits].tolist() == users["zip"][five_digits].tolist()


# --- records made by hand


def example(user, movie, rating=None, seconds=880_000_000, **texts):
    """A record; without a rating or without a time where these are None."""
    record = {"user_id": str(user), "movie_id": str(movie), **texts}
    record |= {} if rating is None else {"user_rating": float(rating)}
    return record | ({} if seconds is None else {"timestamp": seconds})


def write(folder, *shards):
    """Writes files of records as RatingsGen does: tf.Examples, those of the users, and events."""
    for name in ("Split-train", "Users", "Events-train"):
        (folder / name).mkdir(parents=True)
    for number, records in enumerate(shards):
        name = f"data_tfrecord-{number:05d}.gz"
        write_examples(folder / "Split-train" / name, records)
        write_examples(folder / "Users" / name, {r["user_id"]: r for r in records}.values())
        columns = {}
        for column, kind in (("user_id", pa.binary()), ("movie_id", pa.binary()),
                             ("user_rating", pa.float32()), ("timestamp", pa.int64())):  # fmt: skip
            if not records or column in records[0]:
                values = pa.array([record[column] for record in records], kind)
                columns[column] = values.dictionary_encode() if column.endswith("_id") else values
        write_events(str(folder / "Events-train" / file_name(number, len(shards))), columns)
    return folder


def write_examples(path, records):
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in records:
            features = tf.train.Features(feature={k: feature(v) for k, v in record.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())


def feature(value):
    if isinstance(value, str):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


def test_ratings_in_several_files_are_read_as_those_in_one(tmp_path):
    random = np.random.default_rng(0)
    pairs = list(zip(random.integers(1, 60, 100), random.integers(1, 9, 100), strict=True))
    records = [example(u, m, 1 + (u + m) % 5) for u, m in pairs]
    by_parity = ([r for r in records if int(r["user_id"]) % 2 == n] for n in (0, 1))
    whole = read(write(tmp_path / "one", records))
    parts = read(write(tmp_path / "two", *by_parity))
    pd.testing.assert_frame_equal(whole.by_user, parts.by_user)
    pd.testing.assert_frame_equal(whole.by_movie, parts.by_movie)
    pd.testing.assert_frame_equal(whole.users, parts.users)
    assert whole.users.index.tolist() == [str(u) for u in sorted({u for u, _ in pairs})]


def test_reading_stops_when_there_are_many_ratings(tmp_path):
    shards = [[example(user, 1, 4) for user in range(first, first + 10)] for first in (1, 11, 21)]
    found = read(write(tmp_path, *shards), max_rows=15)
    assert not found.complete
    assert len(found.rows) == 15


def test_half_stars_are_kept_and_absent_features_are_unknown(tmp_path):
    found = read(write(tmp_path, [example(7, 1, 3.5), example(7, 2, 3.5), example(7, 3, 4)]))
    assert found.by_user.columns.tolist() == [3.5, 4.0]
    assert found.by_user.to_numpy().tolist() == [[2, 1]]
    assert found.users.loc["7", "user_gender"] == "unknown"
    assert np.isnan(found.users.loc["7", "raw_user_age"])


def test_ids_are_any_text_and_the_data_may_lack_ratings_and_times(tmp_path):
    pairs = [("ann", "b-1"), ("ann", "b-2"), ("βob", "b-1"), ("ann", "b-1")]
    folder = write(tmp_path, [example(u, m, seconds=None) for u, m in pairs])
    found = read(folder, FeatureTable((USER_ID, MOVIE_ID)))
    assert set(found.rows) == {"user", "movie", "split"}
    assert list(zip(found.rows["user"], found.rows["movie"], strict=True)) == pairs
    assert found.by_user.sum(axis=1).to_dict() == {"ann": 3, "βob": 1}
    assert found.values == ()
    groups = grouped(pd.Series({"ann": "reader", "βob": "other"}), found.by_user)
    assert groups.to_dict("index") == {
        "reader": {"members": 1, "ratings": 3},
        "other": {"members": 1, "ratings": 1},
    }


def test_an_artifact_without_ratings_has_none(tmp_path):
    assert read(write(tmp_path, [])).rows.empty


# --- groups

STARS = [1.0, 2.0, 3.0, 4.0, 5.0]


def group(names, by_member, values=STARS):
    members = pd.Series(names, range(len(names)))
    return grouped(members, pd.DataFrame(by_member, columns=values))


def test_interval_of_members_with_equally_many_ratings_is_that_of_student():
    by_member = np.random.default_rng(1).multinomial(20, [0.1, 0.1, 0.2, 0.4, 0.2], size=12)
    found = group(["all"] * 12, by_member).loc["all"]
    means = by_member @ STARS / 20
    expected = scipy.stats.t.interval(0.95, 11, means.mean(), scipy.stats.sem(means))
    assert (found["low"], found["high"]) == pytest.approx(expected)
    assert found["mean"] == pytest.approx(means.mean())


def test_interval_of_unequal_members_is_near_that_of_drawing_them_again():
    random = np.random.default_rng(2)
    by_member = np.stack([random.multinomial(n, random.dirichlet([1, 1, 2, 4, 2]))
                          for n in random.integers(5, 200, 400)])  # fmt: skip
    found = group(["all"] * 400, by_member).loc["all"]
    drawn = random.multinomial(400, np.full(400, 1 / 400), size=4000) @ by_member
    low, high = np.percentile(drawn @ STARS / drawn.sum(axis=1), [2.5, 97.5])
    ends = (found["low"], found["high"])
    assert ends == pytest.approx((low, high), abs=0.1 * (high - low))


def test_a_member_may_be_in_several_groups_and_one_alone_has_no_interval():
    counts = pd.DataFrame([[1, 0], [0, 3]], index=[7, 9], columns=[1.0, 2.0])
    memberships = pd.Series(["a", "b", "a", "of nobody who rated"], index=[7, 7, 9, 8])
    found = grouped(memberships, counts)
    assert found.index.tolist() == ["a", "b"]
    assert found.loc["a", ["members", "ratings", "mean"]].tolist() == [2, 4, 1.75]
    assert found.loc["b", ["members", "ratings", "mean"]].tolist() == [1, 1, 1.0]
    assert found.loc["b", ["low", "high"]].isna().all()
    assert found.loc["a", [1.0, 2.0]].tolist() == [0.25, 0.75]


def test_shares_of_the_largest():
    totals = np.array([1, 6, 2, 1])
    assert share_of_largest(totals, 0.25) == 0.6
    assert share_of_largest(totals, 0.01) == 0.6  # at least one
    assert share_of_largest(totals, 0.5) == 0.8
    assert share_of_largest(totals, 1) == 1.0


def test_bins_hold_every_part_once():
    totals = np.array([2, 3, 4, 7, 8, 700])
    assert binned(totals) == {
        "2–3": 2, "4–7": 2, "8–15": 1,
        "16–31": 0, "32–63": 0, "64–127": 0, "128–255": 0, "256–511": 0, "512–1,023": 1,
    }  # fmt: skip
    assert binned(np.array([1, 1, 2])) == {"1": 2, "2–3": 1}
    assert binned(np.array([], int)) == {}
