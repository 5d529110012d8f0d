"""Every format of MovieLens: what is read of it, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from movielens_files import ML_1M, ML_10M, ML_CSV, write
from raw_files import write_raw

from schema.features import Owner
from sources import describe as descriptions
from sources.cleaning_log import BAD_OCCUPATION, NON_NUMERIC_ID, LossLimits
from sources.detect import detect, open_adapter
from sources.errors import InputError
from sources.interactions import INTERACTIONS
from sources.ratings import KnownIds

ANY = KnownIds("", None)
LENIENT = LossLimits.of(1.0)


def read(adapter, chunk_bytes=2**20):
    """All interactions as rows of plain values, and the repairs and losses by file."""
    rows, counts = [], {}
    for part in adapter.parts(chunk_bytes):
        batch, log = adapter.interactions(part, ANY, ANY, LENIENT)
        assert batch.schema == INTERACTIONS
        rows += [tuple(row.values()) for row in batch.to_pylist()]
        for name, entry in log.files.items():
            counts.setdefault(name, {}).update(entry.dropped)
    return rows, counts


def rows_of(frame, *columns):
    return list(zip(*(frame[name].tolist() for name in columns), strict=True))


def test_movielens_1m_is_read_with_its_codes_in_words(tmp_path):
    adapter = detect(write(tmp_path / "data", ML_1M), tmp_path)
    adapter.check()
    assert adapter.spec.name == "ml-1m"
    users, log = adapter.users(LossLimits(), "keep")
    columns = ("user_id", "user_gender", "raw_user_age", "user_occupation_text", "user_zip_code")
    assert rows_of(users, *columns) == [
        (1, "Female", 1.0, "K-12 student", "48067"),
        (2, "Male", 56.0, "self-employed", "98107"),
    ]
    assert log.file("users.dat").rows == 2
    movies, _ = adapter.items(LossLimits())
    assert rows_of(movies, "movie_id", "movie_title", "movie_year_release") == [
        (661, "James and the Giant Peach (1996)", 1996),
        (1193, "Misérables, Les (1975)", 1975),
    ]
    assert movies["movie_genres"].tolist() == [["Animation", "Children's", "Musical"], ["Drama"]]
    rows, _ = read(adapter)
    assert rows == [
        ("1", "1193", 5.0, 978300760, 0),
        ("1", "661", 3.0, 978302109, 1),
        ("2", "1193", 4.0, 978298413, 2),
    ]


def test_movielens_10m_has_half_stars_and_no_users(tmp_path):
    adapter = detect(write(tmp_path / "data", ML_10M), tmp_path)
    adapter.check()
    assert adapter.spec.name == "ml-10m"
    assert adapter.spec.scale == (0.5, 5.0, 0.5)
    assert adapter.users(LossLimits(), "keep") is None
    assert [f.name for f in adapter.spec.features.owned_by(Owner.USER)] == ["user_id"]
    assert list(adapter.ignored) == ["tags.dat"]
    movies, log = adapter.items(LossLimits())
    assert movies["movie_genres"].tolist() == [["Comedy", "Romance"], []]
    assert log.file("movies.dat").missing == {"genres": 1}
    rows, _ = read(adapter)
    assert [row[2] for row in rows] == [5.0, 0.5, 3.5]
    assert {row[4] for row in rows} == {None}


def test_movielens_as_csv_is_read_with_quotes_links_and_line_ends_of_windows(tmp_path):
    adapter = detect(write(tmp_path / "data", ML_CSV), tmp_path)
    adapter.check()
    assert adapter.users(LossLimits(), "keep") is None
    movies, log = adapter.items(LossLimits())
    assert rows_of(movies, "movie_id", "movie_title") == [
        (1, "American President, The (1995)"),
        (3, '"Great Performances" Cats (1998)'),
        (4, "Babylon 5"),
        (5, "Amélie (2001)"),
    ]
    assert movies["movie_year_release"].isna().tolist() == [False, False, True, False]
    assert movies["movie_genres"].tolist()[2] == []
    assert adapter.tmdb_ids(LossLimits()) == {1: 9087, 4: 15}
    assert log.file("links.csv").missing == {"tmdbId": 1}
    assert set(adapter.ignored) == {"tags.csv", "genome-tags.csv"}
    rows, counts = read(adapter)
    assert rows == [
        ("1", "1", 4.0, 964982703, None),
        ("1", "3", 0.5, 964981247, None),
        ("2", "1", 4.5, 1445714835, None),
    ]
    assert counts == {"ratings.csv": {}}


def test_links_may_be_absent(tmp_path):
    adapter = detect(write(tmp_path / "data", ML_CSV, links_csv=None), tmp_path)
    adapter.check()
    assert adapter.tmdb_ids(LossLimits()) == {}
    assert "links.csv" not in adapter.items(LossLimits())[1].files


def test_links_without_rows_are_as_good_as_none(tmp_path):
    header = b"movieId,imdbId,tmdbId\r\n"
    adapter = detect(write(tmp_path / "data", ML_CSV, links_csv=header), tmp_path)
    adapter.items(LossLimits())
    assert adapter.tmdb_ids(LossLimits()) == {}


def test_the_limits_hold_for_both_readings_of_the_links(tmp_path):
    links = (
        ML_CSV["links.csv"]
        + b"x,1,1\r\n" * 1100
        + b"".join(b"%d,1,1\r\n" % movie for movie in range(10, 1000))
    )
    adapter = detect(write(tmp_path / "data", ML_CSV, links_csv=links), tmp_path)
    adapter.items(LENIENT)
    assert adapter.tmdb_ids(LENIENT)[10] == 1


def test_an_occupation_that_int_cannot_read_is_a_lost_value(tmp_path):
    users = ML_1M["users.dat"] + "77::F::25::²::12345\n".encode("latin-1")
    adapter = detect(write(tmp_path / "data", ML_1M, users_dat=users), tmp_path)
    _, log = adapter.users(LENIENT, "keep")
    assert log.file("users.dat").values_lost == {BAD_OCCUPATION: 1}


def test_a_row_is_counted_from_the_start_of_a_file_with_a_byte_order_mark(tmp_path):
    ratings = b"\xef\xbb\xbfuserId,movieId,rating,timestamp\n1,1,4.0,964982703\nx,1,4.0,1\n"
    adapter = detect(write(tmp_path / "data", ML_CSV, ratings_csv=ratings), tmp_path)
    (part,) = adapter.parts(2**20)
    _, log = adapter.interactions(part, ANY, ANY, LENIENT)
    assert log.file("ratings.csv").examples[NON_NUMERIC_ID][0].row == 3


@pytest.mark.parametrize("content", [ML_1M, ML_10M, ML_CSV])
@pytest.mark.parametrize("chunk_bytes", [1, 7, 30])
def test_parts_cover_every_row_once_wherever_they_end(tmp_path, content, chunk_bytes):
    adapter = detect(write(tmp_path / "data", content), tmp_path)
    assert len(adapter.parts(chunk_bytes)) > 1
    assert read(adapter, chunk_bytes) == read(adapter)


def test_the_rows_of_a_message_are_those_of_the_file_header_included(tmp_path):
    bad = ML_CSV["ratings.csv"] + b"7,1,9.0,964982703\r\n"
    adapter = detect(write(tmp_path / "data", ML_CSV, ratings_csv=bad), tmp_path)
    for chunk_bytes in (10, 10_000):
        logs = [adapter.interactions(p, ANY, ANY, LENIENT)[1] for p in adapter.parts(chunk_bytes)]
        examples = [e for log in logs for e in log.file("ratings.csv").examples.values()]
        assert [(e.row, e.expected) for [e] in examples] == [(5, "a rating from 0.5 to 5")]


def test_odd_rows_are_shown_as_they_are_written(tmp_path):
    odd = b"1::1193::5\n" + ML_1M["ratings.dat"]
    adapter = detect(write(tmp_path / "data", ML_1M, ratings_dat=odd), tmp_path)
    [part] = adapter.parts(10_000)
    _, log = adapter.interactions(part, ANY, ANY, LENIENT)
    [example] = log.file("ratings.dat").examples["wrong number of columns"]
    assert (example.row, example.found) == (1, "'1::1193::5'")
    assert "separated by '::'" in example.expected


def test_an_occupation_code_that_is_not_known_is_a_value_lost(tmp_path):
    users = b"".join(b"%d::M::25::3::48067\n" % n for n in range(1, 200)) + b"300::M::25::21::1\n"
    adapter = detect(write(tmp_path / "data", ML_1M, users_dat=users), tmp_path)
    frame, log = adapter.users(LossLimits(), "keep")
    assert frame["user_occupation_text"].tolist()[-1] == "unknown"
    assert log.file("users.dat").values_lost == {"unknown occupation code": 1}


REFUSED = {
    "no header": (
        ML_CSV,
        {"ratings_csv": b"1,1,4.0,964982703\n"},
        "ratings.csv, row 1: the first row is not a header",
    ),
    "a file is missing": (ML_1M, {"movies_dat": None}, "missing: movies.dat"),
    "too few columns": (ML_1M, {"users_dat": b"1::F::1\n"}, "users.dat, row 1: wrong number"),
    "cut off": (
        ML_10M,
        {"ratings_dat": b"1::2::3::4\n5::6::3::4\n1::2"},
        "ratings.dat, row 3: the file is truncated",
    ),
    "empty": (ML_CSV, {"movies_csv": b""}, "movies.csv: the file is empty"),
}


@pytest.mark.parametrize(("content", "changes", "message"), REFUSED.values(), ids=REFUSED)
def test_files_that_do_not_look_as_they_should_are_refused(tmp_path, content, changes, message):
    folder = write(tmp_path / "data", content, **changes)
    with pytest.raises(InputError, match=message):
        detect(folder, tmp_path).check()


def test_no_data_set_or_two_in_a_folder_are_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match=r"no data set is recognised(.|\n)*found: notes.txt"):
        detect(tmp_path / "data", tmp_path)
    with pytest.raises(InputError, match="this is no table"):
        detect(tmp_path / "data" / "notes.txt", tmp_path)
    write(write(tmp_path / "both", ML_1M), ML_CSV)
    with pytest.raises(InputError, match=r"several formats(.|\n)*ratings.dat and ratings.csv"):
        detect(tmp_path / "both", tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        detect(tmp_path / "nowhere", tmp_path)


def test_a_folder_in_a_folder_and_one_of_the_files_stand_for_the_data(tmp_path):
    inner = write(tmp_path / "download" / "ml-latest", ML_CSV)
    assert detect(tmp_path / "download", tmp_path).folder == inner
    assert detect(inner / "ratings.csv", tmp_path).folder == inner


def test_the_name_of_a_folder_decides_nothing(tmp_path):
    assert detect(write(tmp_path / "ml-100k", ML_CSV), tmp_path).spec.name == "ml-csv"
    assert detect(write(tmp_path / "ml-25m", ML_1M), tmp_path).spec.name == "ml-1m"


def test_movielens_100k_has_the_same_interface(tmp_path):
    write_raw(write(tmp_path / "raw", {}))
    adapter = detect(tmp_path / "raw", tmp_path)
    assert adapter.spec == open_adapter("ml-100k", tmp_path / "raw").spec
    users, _ = adapter.users(LossLimits(), "keep")
    rows, _ = read(adapter)
    assert {row[0] for row in rows} <= {str(user) for user in users["user_id"]}
    assert {row[4] for row in rows} == {None}


def test_what_is_understood_is_printed_in_words(tmp_path):
    bad = ML_CSV["ratings.csv"] + b"7,1,9.0,964982703\r\n7,77,3.0,964982703\r\n"
    folder, lines = write(tmp_path / "data", ML_CSV, ratings_csv=bad), []
    with pytest.raises(InputError, match="2 of 5 rows are lost"):
        lines.extend(descriptions.describe(folder, tmp_path))
    for line in (
        "Format: MovieLens as CSV (ml-csv)",
        "  genome-tags.csv: not read, the tag genome is not used",
        "Features of users: none: only their ids are known",
        "Features of movies: movie_title (title), movie_genres (tags), "
        "movie_year_release (year), director (category, with --metadata-dir), "
        "star (category, with --metadata-dir)",
        "Ratings: user_rating, 0.5 to 5 in steps of 0.5; every event counts",
        "Users: 2 with ratings, no file of users",
        "Movies: 2 with ratings, 4 listed",
        "Usable ratings: 3",
        "Ratings by value: 0.5: 1, 4: 1, 4.5: 1",
        "Time: 2000-07-30 to 2015-10-24",
        "  ratings.csv: 1 row dropped: rating out of range"
        " (first row 5: expected a rating from 0.5 to 5, found 9)",
        "  ratings.csv: 1 row dropped: unknown movie"
        " (first row 6: expected a movie that movies.csv lists, found movie 77)",
        "  movies.csv: 1 row without a value: genres",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("variable", "name", "counts"),
    [
        ("MOVIELENS_1M_DIR", "ml-1m", (1_000_209, 6_040, 3_706)),
        ("MOVIELENS_SMALL_DIR", "ml-csv", (100_836, 610, 9_724)),
    ],
)
def test_the_real_data_is_read_whole(variable, name, counts, tmp_path):
    if not os.environ.get(variable):
        pytest.skip(f"needs {variable}")
    adapter = detect(Path(os.environ[variable]), tmp_path)
    adapter.check()
    assert adapter.spec.name == name
    movies = np.sort(adapter.items(LossLimits())[0]["movie_id"].to_numpy())
    users, rated, total = set(), set(), 0
    for part in adapter.parts(16 * 2**20):
        batch, log = adapter.interactions(part, ANY, KnownIds("movies", movies), LossLimits())
        assert not log.files[adapter.ratings_file].dropped
        total += batch.num_rows
        users |= set(batch.column("user_id").unique().to_pylist())
        rated |= set(batch.column("item_id").unique().to_pylist())
    assert (total, len(users), len(rated)) == counts
