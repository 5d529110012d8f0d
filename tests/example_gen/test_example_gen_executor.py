"""The two ExampleGens' executors alone: what goes in, what comes out, what stops them."""

import ast
import csv
import json
import random
import re

import example_artifacts as artifacts
import numpy as np
import pandas as pd
import pytest
from example_artifacts import run_movies, run_ratings, write_raw
from google.protobuf import json_format
from tfx_bsl.coders import example_coder

from components.example_gen import records
from components.examples import events, reading
from schema import features as raw
from schema.features import Feature, FeatureTable, Kind, Owner
from sources import files, movielens_100k, ratings, tables
from sources.errors import InputError
from sources.sample import generate_sample
from sources.spec import DatasetSpec

# The fixtures are costly: one worker makes them, once.
pytestmark = pytest.mark.xdist_group("example_gen")

RATINGS = 2000


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    directory = tmp_path_factory.mktemp("example_gen") / "sample"
    generate_sample(directory, ratings=RATINGS, seed=3)
    return directory


@pytest.fixture(scope="module")
def written(sample, tmp_path_factory):
    """The ratings, with metadata, in one shard."""
    output = tmp_path_factory.mktemp("written")
    return run_ratings(sample, output, metadata_dir=str(sample / "metadata"))


@pytest.fixture(scope="module")
def catalogue(sample, tmp_path_factory):
    output = tmp_path_factory.mktemp("catalogue")
    return run_movies(sample, output, metadata_dir=str(sample / "metadata"))


@pytest.fixture(scope="module")
def oracle(sample):
    """The cleaned ratings, joined by pandas from the raw files."""
    rated = pd.read_csv(
        sample / "u.data", sep="\t", names=["user_id", "movie_id", "user_rating", "timestamp"]
    )
    rated = rated[rated["user_rating"].between(1, 5)].drop_duplicates()
    return rated.merge(read_users(sample), on="user_id").merge(read_items(sample), on="movie_id")


def read_users(sample):
    columns = ["user_id", "raw_user_age", "user_gender", "user_occupation_text", "user_zip_code"]
    users = pd.read_csv(sample / "u.user", sep="|", names=columns, dtype={4: str, 2: str})
    users = users.drop_duplicates()
    male = users["user_gender"].str.lower().isin(["m", "male", "true"])
    users["user_gender"] = np.where(male, "Male", "Female")
    ages = pd.cut(users["raw_user_age"], [*raw.AGE_BUCKETS, 200], right=False)
    users["bucketized_user_age"] = [int(interval.left) for interval in ages]
    return users


def read_items(sample):
    genres = [line.split("|")[0] for line in (sample / "u.genre").read_text().splitlines()]
    rows = []
    for line in (sample / "u.item").read_text("latin-1").splitlines():
        number, title, date, _, _, *flags = line.split("|")
        day = pd.to_datetime(date, format="%d-%b-%Y")
        rows.append(
            {
                "movie_id": int(number),
                "movie_title": re.sub(r"""^b?(["'])(.*)\1$""", r"\2", title),
                "release_date": int(day.timestamp()),
                "movie_year_release": day.year,
                "movie_genres": [g for g, flag in zip(genres, flags, strict=True) if flag == "1"],
            }
        )
    return pd.DataFrame(rows)


def pairs_by_split(found):
    return {split: set(found.pairs(split)) for split in found.splits}


def copy_with(sample, target, **rows):
    """Copies the raw files, with rows (by the file's name without "u.") replaced."""
    target.mkdir()
    for name in files.FILES:
        (target / name).write_bytes((sample / name).read_bytes())
    for name, lines in rows.items():
        (target / f"u.{name}").write_text("".join(f"{line}\n" for line in lines), "latin-1")
    return target


def data_lines(sample):
    return (sample / "u.data").read_text().splitlines()


# What is written


def test_every_clean_rating_is_in_exactly_one_split(written, oracle):
    pairs = [pair for split in written.splits for pair in written.pairs(split)]
    assert sorted(pairs) == sorted(zip(oracle["user_id"], oracle["movie_id"], strict=True))
    assert written.splits == ["train", "validation", "test"]


def test_joined_columns_are_those_of_a_merge(written, oracle):
    found = written.frame()
    keys = ["user_id", "movie_id"]
    assert all(isinstance(value, str) for key in keys for value in found[key])
    found = found.astype(dict.fromkeys(keys, "int64")).sort_values(keys).reset_index(drop=True)
    expected = oracle.sort_values(keys).reset_index(drop=True)
    for column in expected:
        assert found[column].tolist() == expected[column].tolist(), column


def test_a_record_holds_the_features_of_the_table_and_no_other(written, oracle):
    names = {feature.name for feature in raw.MOVIELENS.features}
    optional = {feature.name for feature in raw.MOVIELENS.features if feature.optional}
    for row in written.rows("validation"):
        assert names - optional <= set(row) <= names


def test_director_and_star_are_those_of_the_credits(written, sample):
    # The sample numbers its films 7 * row + 100; broken literals are unknown.
    with (sample / "metadata" / "credits.csv").open(encoding="utf-8") as file:
        credits_ = {(int(row["id"]) - 100) // 7 + 1: row for row in csv.DictReader(file)}
    matched = 0
    movies = written.frame().drop_duplicates("movie_id")
    for movie, director, star in movies[["movie_id", "director", "star"]].to_numpy():
        if director == "unknown":
            continue
        row = credits_[int(movie)]
        assert director in [p["name"] for p in ast.literal_eval(row["crew"])]
        if star != "unknown":
            assert star == ast.literal_eval(row["cast"])[0]["name"]
        matched += 1
    assert matched > 0.9 * len(movies)


def test_the_catalogue_has_every_movie_rated_or_not(catalogue, written, sample):
    found = catalogue.frame()
    items = read_items(sample)
    assert found["movie_id"].tolist() == [str(number) for number in sorted(items["movie_id"])]
    rated = {movie for split in written.splits for _, movie in written.pairs(split)}
    assert rated < set(items["movie_id"])
    assert catalogue.splits == ["movies"]
    assert catalogue.report["rows"] == {"movies": len(items)}


def test_catalogue_and_ratings_agree_about_every_movie(catalogue, written):
    names = raw.names(raw.MOVIELENS.owned_by(Owner.MOVIE))
    known = catalogue.frame().set_index("movie_id")
    assert set(known.columns) == {*names, "split"} - {"movie_id"}
    movies = written.frame().drop_duplicates("movie_id").set_index("movie_id")
    for name in set(names) - {"movie_id"}:
        assert movies[name].tolist() == known.loc[movies.index, name].tolist(), name


def test_what_is_not_known_is_missing_and_not_made_up(tmp_path):
    data = write_raw(
        tmp_path / "raw",
        movies=[
            "1|Toy Story (1995)|||http://x|0|1|1",
            "2|Heat|||http://x|0|0|0",
            "3|Alien (1979)|22-May-1969||http://x|0|1|0",
        ],
        ratings=[f"{user}\t{movie}\t4\t880000000" for user in (1, 2) for movie in (1, 2, 3)],
    )
    movies = {row["movie_id"][0]: row for row in run_movies(data, tmp_path / "m").rows("movies")}
    assert "release_date" not in movies["1"]
    assert movies["1"]["movie_year_release"] == [1995]
    assert "release_date" not in movies["2"]
    assert "movie_year_release" not in movies["2"]
    assert not movies["2"].get("movie_genres")
    assert movies["3"]["release_date"] == [-(224 * 86_400)]
    assert movies["3"]["movie_year_release"] == [1969]
    assert {row["director"][0] for row in movies.values()} == {"unknown"}
    found = run_ratings(data, tmp_path / "ratings")
    for row in (row for split in found.splits for row in found.rows(split)):
        of_movie = {
            k: v for k, v in row.items() if k in raw.names(raw.MOVIELENS.owned_by(Owner.MOVIE))
        }
        assert of_movie == movies[row["movie_id"][0]]


def test_latin_1_titles_come_out_as_utf_8(tmp_path):
    data = write_raw(
        tmp_path / "raw", movies=["1|Misérables, Les (1995)|01-Jan-1995||http://x|0|1|0"]
    )
    assert "é".encode() not in (data / "u.item").read_bytes()
    (row,) = run_movies(data, tmp_path / "m").rows("movies")
    assert row["movie_title"] == ["Misérables, Les (1995)"]


def test_a_users_own_ids_occupations_and_years_work(tmp_path):
    big = 2**62
    data = write_raw(
        tmp_path / "raw",
        users=[f"{big + n}|{20 + n}|male|astronaut|ABC 123" for n in range(30)],
        movies=[f"{big - n}|Film {n} ({1890 + n})|01-Jan-{1890 + n}||u|0|1|0" for n in range(20)],
        ratings=[
            f"{big + u}\t{big - m}\t{m % 5 + 1}\t{4_000_000_000 + m}"
            for u in range(30)
            for m in range(20)
        ],
        occupations=["astronaut", "student"],
    )
    found = run_ratings(data, tmp_path / "r", chunk_bytes=3_000, partition_bytes=9_000).frame()
    assert len(found) == 600
    assert set(found["user_id"]) == {str(big + n) for n in range(30)}
    assert set(found["movie_id"]) == {str(big - n) for n in range(20)}
    assert set(found["user_occupation_text"]) == {"astronaut"}
    assert raw.OCCUPATION_LABEL.name not in found
    assert set(found["movie_year_release"]) == set(range(1890, 1910))
    assert found["timestamp"].max() == 4_000_000_019


# The report


def test_the_report_counts_what_an_independent_reading_counts(written, sample):
    report = written.report
    data = pd.read_csv(sample / "u.data", sep="\t", header=None)
    out_of_range = int((~data[2].between(1, 5)).sum())
    duplicates = int(data[data[2].between(1, 5)].duplicated().sum())
    assert (out_of_range > 0, duplicates > 0) == (True, True)
    assert report["files"]["u.data"]["rows"] == len(data) == RATINGS
    assert report["files"]["u.data"]["dropped"] == {
        "rating out of range": out_of_range,
        "exact duplicate": duplicates,
    }
    users = (sample / "u.user").read_text().splitlines()
    assert report["files"]["u.user"]["rows"] == len(users)
    assert report["files"]["u.user"]["dropped"] == {"exact duplicate": len(users) - len({*users})}
    quoted = re.compile(r"""\|b?["'].*["']\|""")
    items = (sample / "u.item").read_text("latin-1").splitlines()
    assert report["files"]["u.item"]["rows"] == len(items)
    assert report["files"]["u.item"]["repaired"] == {
        "quotes or byte-string residue removed": sum(bool(quoted.search(i)) for i in items)
    }
    assert report["metadata"]["movies"] == len(items)
    assert report["metadata"]["matched"] > 0.9 * len(items)


def test_the_report_counts_the_rows_of_each_split(written, oracle):
    rows = written.report["rows"]
    assert rows == {split: len(written.serialized(split)) for split in written.splits}
    assert sum(rows.values()) == len(oracle)


def test_a_few_bad_rows_are_counted_and_left_out(sample, tmp_path):
    bad = ["1\t2\tfive\t880000000", "99999\t1\t4\t880000000", "1\t2", "1\tx\t3\t880000000"]
    bad += ["1\t2\t4\t880000000000"]
    data = copy_with(sample, tmp_path / "raw", data=[*data_lines(sample), *bad])
    report = run_ratings(data, tmp_path / "out").report
    dropped = report["files"]["u.data"]["dropped"]
    before = {"rating out of range", "exact duplicate"}
    assert {reason: n for reason, n in dropped.items() if reason not in before} == {
        "non-numeric rating": 1,
        "unknown user": 1,
        "wrong number of columns": 1,
        "non-numeric id": 1,
        "timestamp out of range": 1,
    }
    assert sum(report["rows"].values()) == RATINGS + len(bad) - sum(dropped.values())
    (example,) = report["files"]["u.data"]["examples"]["non-numeric rating"]
    assert example["row"] == RATINGS + 1


def test_duplicates_meet_although_they_are_read_in_different_chunks(tmp_path):
    ratings_ = [f"{u}\t1\t4\t{880_000_000 + u}" for u in range(1, 41)] * 10
    data = write_raw(tmp_path / "raw", ratings=ratings_)
    found = run_ratings(data, tmp_path / "out", chunk_bytes=500, partition_bytes=1_000)
    assert sum(found.report["rows"].values()) == 40
    assert found.report["files"]["u.data"]["dropped"] == {"exact duplicate": 360}


# Splits through the executor


@pytest.fixture(scope="module")
def expected_splits(written):
    return pairs_by_split(written)


def test_shards_and_chunks_do_not_move_a_rating(sample, tmp_path, expected_splits):
    found = run_ratings(sample, tmp_path, chunk_bytes=10_000, partition_bytes=8_000)
    assert len(list((found.folder / "Split-train").glob("*.gz"))) > 3
    assert pairs_by_split(found) == expected_splits


def test_the_order_of_rows_does_not_move_a_rating(sample, tmp_path, expected_splits):
    lines = data_lines(sample)
    random.Random(1).shuffle(lines)
    users = (sample / "u.user").read_text().splitlines()[::-1]
    data = copy_with(sample, tmp_path / "raw", data=lines, user=users)
    assert pairs_by_split(run_ratings(data, tmp_path / "out")) == expected_splits


def test_metadata_does_not_move_a_rating(sample, tmp_path, expected_splits):
    found = run_ratings(sample, tmp_path, metadata_dir=None)
    assert set(found.frame()["director"]) == {"unknown"}
    assert pairs_by_split(found) == expected_splits


def test_another_feature_does_not_move_a_rating(sample, tmp_path, expected_splits, monkeypatch):
    extra = Feature("runtime", Owner.MOVIE, Kind.REPORT_ONLY, "int64")
    more = FeatureTable((extra, *raw.MOVIELENS.features))
    read = tables.read_movies
    monkeypatch.setattr(
        tables, "read_movies", lambda *args: (read(*args)[0].assign(runtime=90), read(*args)[1])
    )
    found = run_ratings(sample, tmp_path, features=more)
    assert set(found.frame()["runtime"]) == {90}
    assert pairs_by_split(found) == expected_splits


def test_another_seed_moves_ratings(sample, tmp_path, expected_splits):
    found = pairs_by_split(run_ratings(sample, tmp_path, split_seed=43))
    assert set.union(*found.values()) == set.union(*expected_splits.values())
    moved = found["test"] - expected_splits["test"]
    assert len(moved) == pytest.approx(0.8 * len(expected_splits["test"]), rel=0.15)


def test_temporal_tests_on_the_last_fifth_of_each_user_when_sharded_too(sample, tmp_path, oracle):
    sharded = run_ratings(
        sample, tmp_path, split="temporal", chunk_bytes=10_000, partition_bytes=8_000
    )
    found = pairs_by_split(sharded)
    for user, rows in oracle.groupby("user_id"):
        n = len(rows)
        times = rows.set_index("movie_id")["timestamp"]
        test = times.loc[[movie for u, movie in found["test"] if u == user]]
        train = times.loc[[movie for u, movie in found["train"] if u == user]]
        assert len(test) == (2 * n + 5) // 10
        assert train.max() <= test.min()
        assert sorted(test) == sorted(times)[n - len(test) :]


def in_order(frame):
    frame = frame.assign(user_id=frame["user_id"].astype(int))
    return frame.sort_values(["user_id", "timestamp"])


def test_a_timeline_divides_everybodys_ratings_at_the_same_times(sample, tmp_path, oracle):
    sharded = run_ratings(
        sample, tmp_path, split="timeline", chunk_bytes=10_000, partition_bytes=8_000
    )
    frame = sharded.frame()
    times = [frame.loc[frame["split"] == split, "timestamp"] for split in sharded.splits]
    assert times[0].max() < times[1].min()
    assert times[1].max() < times[2].min()
    rated = pd.read_csv(sample / "u.data", sep="\t", names=["user", "movie", "rating", "time"])
    usable = rated.loc[rated["rating"].between(1, 5), "time"].sort_values().to_numpy()
    assert times[2].min() == usable[round(0.8 * len(usable))]
    shares = np.array([len(part) for part in times]) / len(oracle)
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.01)


def test_a_timeline_is_kept_where_its_time_was_decided(sample, tmp_path, oracle):
    decided = int(oracle["timestamp"].quantile(0.5))
    found = run_ratings(sample, tmp_path, split="timeline", split_time=decided).frame()
    assert ((found["split"] == "test") == (found["timestamp"] >= decided)).all()


def test_what_is_new_in_the_test_of_a_timeline_is_counted(sample, tmp_path):
    found = run_ratings(
        sample, tmp_path, split="timeline", chunk_bytes=10_000, partition_bytes=8_000
    )
    frame = found.frame()
    test, earlier = frame[frame["split"] == "test"], frame[frame["split"] != "test"]
    for key, users_or_movies in (("user_id", "users"), ("movie_id", "movies")):
        new = test[~test[key].isin(earlier[key])]
        assert found.report["test"][f"new_{users_or_movies}"] == new[key].nunique()
        assert found.report["test"][f"rows_of_new_{users_or_movies}"] == len(new)
    assert found.report["test"]["new_users"] > 0


def test_leave_one_out_tests_on_one_rating_of_each_user_when_sharded_too(sample, tmp_path):
    sharded = run_ratings(
        sample, tmp_path, split="leave-one-out", chunk_bytes=10_000, partition_bytes=8_000
    )
    frame = in_order(sharded.frame())
    for _, rows in frame.groupby("user_id"):
        last = rows[rows["split"] == "test"]
        assert len(last) == 1
        assert last["timestamp"].item() == rows["timestamp"].max()
        assert (rows["split"] == "validation").sum() == 1


ORDERED = FeatureTable((*raw.MOVIELENS.features, raw.POSITION))


@pytest.fixture(scope="module")
def in_parts(sample, tmp_path_factory):
    """Ratings with their places in the file, in several partitions; and the lines of the file."""
    folder = tmp_path_factory.mktemp("in_parts")
    lines = ["", *data_lines(sample)]
    data = copy_with(sample, folder / "raw", data=lines)
    sizes = {"chunk_bytes": 10_000, "partition_bytes": 8_000}
    return run_ratings(data, folder / "out", features=ORDERED, **sizes), lines


EVENT = ("user_id", "timestamp", "position", "movie_id", "user_rating")


def event_rows(found, split):
    """Rows of `EVENT` of each event file of a split."""
    for path in events.event_files(found.folder, split):
        columns = [events.map_events(path).column(name).to_pylist() for name in EVENT]
        yield [
            (user.decode(), time, place, movie.decode(), rating)
            for user, time, place, movie, rating in zip(*columns, strict=True)
        ]


def test_event_files_hold_the_ratings_of_the_examples_in_event_order(in_parts):
    found, _ = in_parts
    for split in found.splits:
        files = list(event_rows(found, split))
        assert len(files) > 3
        for rows in files:
            assert rows == sorted(rows, key=lambda row: (row[0].encode(), *row[1:3]))
        expected = found.frame().query("split == @split")[list(EVENT)]
        rows = [row for rows in files for row in rows]
        assert sorted(rows) == sorted(expected.itertuples(index=False, name=None))


def test_the_users_of_each_partition_are_described_once(in_parts):
    found, _ = in_parts
    by_user = found.frame().drop_duplicates("user_id").set_index("user_id")
    names = [one.name for one in raw.MOVIELENS.owned_by(Owner.USER)]
    described = []
    for number, path in enumerate(reading.files_of_split(found.folder / events.USERS)):
        rows = [
            artifacts.parse(record)
            for batch in reading.serialized_batches([path], 1024).as_numpy_iterator()
            for record in batch.tolist()
        ]
        rated = {row[0] for split in found.splits for row in list(event_rows(found, split))[number]}
        assert {row["user_id"][0] for row in rows} == rated
        described += rows
    assert len(described) == len(by_user)
    for row in described:
        assert set(row) <= set(names)
        for name, values in row.items():
            assert name == "user_id" or values == [by_user.loc[row["user_id"][0], name]]


def test_places_in_the_file_are_written_where_they_are_a_feature(in_parts):
    found, lines = in_parts
    for _, row in found.frame().iterrows():
        fields = lines[row["position"]].split("\t")
        assert fields[:2] == [row["user_id"], row["movie_id"]]
        assert int(fields[3]) == row["timestamp"]


def test_places_in_the_file_order_the_ratings_of_one_second(sample, tmp_path):
    lines = ["\t".join([*line.split("\t")[:3], "880000000"]) for line in data_lines(sample)]
    data = copy_with(sample, tmp_path / "raw", data=lines)
    frame = run_ratings(data, tmp_path / "out", features=ORDERED, split="leave-one-out").frame()
    for _, rows in frame.groupby("user_id"):
        in_file = rows.sort_values("position")["split"].tolist()
        assert in_file == ["train"] * (len(rows) - 2) + ["validation", "test"]


def test_the_fingerprint_is_that_of_the_test_rows_in_whatever_files_they_lie(
    sample, tmp_path, written
):
    lines = data_lines(sample)
    random.Random(1).shuffle(lines)
    data = copy_with(sample, tmp_path / "raw", data=lines)
    sharded = run_ratings(data, tmp_path / "a", chunk_bytes=10_000, partition_bytes=8_000)
    assert sharded.report["test"] == written.report["test"]
    fingerprint = written.report["test"]["fingerprint"]
    assert re.fullmatch("[0-9a-f]{32}", fingerprint)
    for made in (written, sharded):
        assert made.artifact.get_string_custom_property("test_fingerprint") == fingerprint
    other = run_ratings(sample, tmp_path / "b", split_seed=43)
    assert other.report["test"]["fingerprint"] != fingerprint


def test_examples_carry_the_specification_of_their_data(written, catalogue):
    for made in (written, catalogue):
        text = made.artifact.get_string_custom_property("dataset")
        assert DatasetSpec.from_json(json.loads(text)) == movielens_100k.SPEC


# What stops it


def assert_nothing_looks_complete(output):
    """No file that a reader of Examples would take for one."""
    assert [path for path in output.rglob("*") if path.is_file()] == []


def test_too_many_bad_ratings_stop_it_and_leave_nothing(sample, tmp_path):
    lines = data_lines(sample)
    lines[100:140] = ["1\t2\t9\t880000000"] * 40
    data = copy_with(sample, tmp_path / "raw", data=lines)
    with pytest.raises(InputError, match=r"u\.data, row 101: rating out of range.*more than 1 %"):
        run_ratings(data, tmp_path / "out", chunk_bytes=10_000, partition_bytes=8_000)
    assert_nothing_looks_complete(tmp_path / "out")


def busy_user(tmp_path, row):
    """Data in which one of 200 users gave 100 of 1,099 ratings, with this row in u.user."""
    users = [row, *(f"{n}|30|M|writer|12345" for n in range(2, 201))]
    movies = [f"{n}|Film {n} (1995)|||u|0|1|0" for n in range(1, 101)]
    ratings_ = [f"1\t{m}\t3\t880000000" for m in range(1, 101)]
    ratings_ += [f"{u}\t1\t3\t880000000" for u in range(2, 201)]
    ratings_ += [f"{u}\t{m}\t4\t880000000" for u in range(2, 42) for m in range(2, 22)]
    return write_raw(tmp_path / "raw", users=users, movies=movies, ratings=ratings_)


def test_ratings_lost_with_one_user_stop_it_although_hardly_a_user_is_lost(tmp_path):
    data = busy_user(tmp_path, "1|30|M|writer")
    with pytest.raises(InputError, match=r"100 of 1,099 rows are lost, more than 1 %") as error:
        run_ratings(data, tmp_path / "out")
    assert "user dropped: wrong number of columns" in str(error.value)
    assert_nothing_looks_complete(tmp_path / "out")
    allowed = run_ratings(data, tmp_path / "allowed", max_loss=0.1)
    assert sum(allowed.report["rows"].values()) == 999


def test_ratings_lost_because_of_an_option_have_no_limit(tmp_path):
    data = busy_user(tmp_path, "1|30|M|writer|T8H1N")
    found = run_ratings(data, tmp_path / "out", invalid_zip="drop", max_loss=0.0)
    assert sum(found.report["rows"].values()) == 999
    assert found.report["files"]["u.data"]["dropped"] == {"invalid zip code": 100}


def test_users_of_whom_nothing_is_known_lose_no_rating(tmp_path):
    users = [f"{n}||||" for n in range(1, 201)]
    ratings_ = [f"{n}\t1\t3\t880000000" for n in range(1, 201)]
    data = write_raw(tmp_path / "raw", users=users, ratings=ratings_, occupations=())
    found = run_ratings(data, tmp_path / "out", max_loss=0.0)
    assert sum(found.report["rows"].values()) == 200
    frame = found.frame()
    for feature in (raw.GENDER, raw.OCCUPATION, raw.ZIP_CODE):
        assert set(frame[feature.name]) == {raw.UNKNOWN}
    assert not {raw.AGE.name, raw.AGE_BUCKET.name, raw.OCCUPATION_LABEL.name} & set(frame)
    missing = found.report["files"]["u.user"]["missing"]
    assert missing == dict.fromkeys(("age", "gender", "occupation", "zip code"), 200)


@pytest.mark.parametrize("run", [run_ratings, run_movies])
def test_too_many_bad_movies_stop_it_and_leave_nothing(sample, tmp_path, run):
    items = (sample / "u.item").read_text("latin-1").splitlines()
    data = copy_with(sample, tmp_path / "raw", item=["x" + item for item in items[:9]] + items[9:])
    with pytest.raises(InputError, match=r"u\.item, row 1: non-numeric id"):
        run(data, tmp_path / "out")
    assert_nothing_looks_complete(tmp_path / "out")


def test_no_rating_at_all_stops_it(tmp_path):
    data = write_raw(tmp_path / "raw", ratings=[])
    with pytest.raises(InputError, match="no row is left"):
        run_ratings(data, tmp_path / "out")
    assert_nothing_looks_complete(tmp_path / "out")


def test_a_file_that_cannot_be_read_in_a_worker_is_an_input_error(sample, tmp_path, monkeypatch):
    read = ratings._read_block

    def fail_later(path, start, *rest):
        if start == 0:
            return read(path, start, *rest)
        raise files.unreadable(path.name, OSError(5, "Input/output error"))

    monkeypatch.setattr(ratings, "_read_block", fail_later)
    with pytest.raises(InputError) as caught:
        run_ratings(sample, tmp_path, chunk_bytes=10_000)
    assert str(caught.value).splitlines()[0] == "u.data: cannot be read"
    assert caught.value.found == "Input/output error"
    assert_nothing_looks_complete(tmp_path)


@pytest.mark.parametrize(("run", "split"), [(run_ratings, "test"), (run_movies, "movies")])
def test_a_full_disk_is_an_input_error(tmp_path, run, split):
    data = write_raw(tmp_path / "raw")
    folder = tmp_path / "out" / f"Split-{split}"
    folder.mkdir(parents=True)
    (folder / ".data_tfrecord-00000-of-00001.gz.partial").symlink_to("/dev/full")
    with pytest.raises(InputError, match="No space left on device"):
        run(data, tmp_path / "out")
    assert_nothing_looks_complete(tmp_path / "out")


def test_a_defect_is_not_taken_for_the_users_mistake(sample, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyError("a defect")

    monkeypatch.setattr(records, "rating_examples", fail)
    with pytest.raises(Exception, match="a defect") as caught:
        run_ratings(sample, tmp_path)
    assert not isinstance(caught.value, InputError)
    assert_nothing_looks_complete(tmp_path)


# Options


def test_options_survive_the_trip_through_the_execution_properties():
    changed = artifacts.options(
        metadata_dir="/metadata",
        split="timeline",
        split_seed=2**40,
        split_time=975_000_000,
        invalid_zip="drop",
    )
    for options in (changed, artifacts.options()):
        text = json_format.MessageToJson(options.to_proto())
        back = type(options).from_json(text)
        assert back == options
        assert isinstance(back.split_seed, int)


# The real data


CAPSTONE_COLUMNS = [
    "bucketized_user_age", "movie_id", "raw_user_age", "user_id", "user_occupation_label",
    "user_rating", "user_zip_code",
]  # fmt: skip


@artifacts.needs_real_data
def test_dropping_invalid_zip_codes_leaves_the_97914_rows_of_the_capstone(tmp_path):
    data, _ = artifacts.real_dirs()
    found = run_ratings(data, tmp_path, invalid_zip="drop")
    rows = found.report["rows"]
    assert sum(rows.values()) == 97_914
    assert found.report["files"]["u.user"]["dropped"] == {"invalid zip code": 18}
    shares = [rows[split] / 97_914 for split in ("train", "validation", "test")]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.005)
    columns = read_columns(found)[CAPSTONE_COLUMNS].apply(pd.to_numeric, errors="coerce")
    table = columns.astype("float64").describe()
    assert (table.loc["count"] == 97_914).all()
    assert table.loc["mean"].round(1).tolist() == [29.2, 425.0, 33.0, 461.5, 11.4, 3.5, 52179.2]
    assert table.loc["std"].round(1).tolist() == [12.1, 330.4, 11.6, 265.6, 6.5, 1.1, 30976.4]


def read_columns(found):
    """Returns the columns without lists of all splits, decoded a batch at a time."""
    names = [
        f.name for f in raw.MOVIELENS.features if not (f.multivalued or f.owner is Owner.MOVIE)
    ]
    serialized = [record for split in found.splits for record in found.serialized(split)]
    batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(serialized)
    table = {name: batch.column(name).flatten().to_numpy(zero_copy_only=False) for name in names}
    table["movie_id"] = batch.column("movie_id").flatten().to_numpy(zero_copy_only=False)
    return pd.DataFrame(table)
