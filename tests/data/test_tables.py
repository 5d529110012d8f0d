from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from raw_files import movie_rows, needs_real_data, user_rows, write_raw

from components.data import report
from components.data.tables import read_genres, read_movies, read_occupations, read_users
from components.errors import InputError

EXTRA = 300  # an id that no valid row has


def refusal(read, *args) -> str:
    with pytest.raises(InputError) as error:
        read(*args)
    message = str(error.value)
    assert error.value.exit_code == 2
    assert len(message.splitlines()) <= 5
    return message


def users_with(directory: Path, *rows: str, invalid_zip="keep"):
    return read_users(write_raw(directory, users=[*user_rows(), *rows]), invalid_zip)


def movies_with(directory: Path, *rows: str, **kwargs):
    return read_movies(write_raw(directory, movies=[*movie_rows(), *rows], **kwargs))


def the_row(frame, key: int) -> dict:
    (row,) = frame[frame.iloc[:, 0] == key].to_dict("records")
    return row


# Users.


def test_users_have_the_columns_and_types_of_the_feature_table(tmp_path):
    users, _ = users_with(tmp_path)
    assert {name: str(dtype) for name, dtype in users.dtypes.items()} == {
        "user_id": "int64",
        "user_gender": "object",
        "raw_user_age": "float32",
        "bucketized_user_age": "int64",
        "user_occupation_text": "object",
        "user_occupation_label": "Int64",
        "user_zip_code": "object",
    }
    assert the_row(users, 1) == {
        "user_id": 1,
        "user_gender": "Female",
        "raw_user_age": 8.0,
        "bucketized_user_age": 1,
        "user_occupation_text": "writer",
        "user_occupation_label": 21,
        "user_zip_code": "00001",
    }


def test_the_order_of_rows_does_not_matter(tmp_path):
    one, _ = users_with(tmp_path)
    two, _ = read_users(write_raw(tmp_path, users=reversed(user_rows())), "keep")
    assert one.equals(two)
    assert (np.diff(one["user_id"]) > 0).all()


def test_dirty_values_are_repaired_and_counted(tmp_path):
    users, found = users_with(tmp_path, f"b'{EXTRA}'|\"33\"| b'True' |'writer'|b\"94043\"")
    assert the_row(users, EXTRA) == {
        "user_id": EXTRA,
        "user_gender": "Male",
        "raw_user_age": 33.0,
        "bucketized_user_age": 25,
        "user_occupation_text": "writer",
        "user_occupation_label": 21,
        "user_zip_code": "94043",
    }
    assert found.file("u.user").repaired == {report.QUOTES_REMOVED: 1}
    assert found.file("u.user").examples[report.QUOTES_REMOVED][0].row == 201


def test_large_and_negative_ids_and_new_occupations_work(tmp_path):
    rows = [f"{2**62}|33|M|astronaut|1", "-5|33|M|astronaut|1"]
    directory = write_raw(tmp_path, users=rows, occupations=["astronaut"])
    users, _ = read_users(directory, "keep")
    assert users["user_id"].tolist() == [-5, 2**62]
    assert users["user_occupation_label"].isna().all()


def test_an_exact_duplicate_of_a_user_is_dropped_and_counted(tmp_path):
    users, found = users_with(tmp_path, user_rows()[4], "b'6'" + user_rows()[5][1:])
    assert len(users) == 200
    assert found.file("u.user").dropped == {report.EXACT_DUPLICATE: 2}
    assert found.dropped_ids == {"u.user": {}}


def test_two_different_rows_of_a_user_are_refused(tmp_path):
    message = refusal(users_with, tmp_path, "5|99|M|writer|12345")
    assert "u.user, row 201: id 5 has a second row that differs from row 5" in message
    assert "found: '5, 99.0, Male, writer, 12345'" in message
    assert "what to do: remove one of the two rows" in message


@pytest.mark.parametrize(
    "row", ["300||M|writer|12345", "300|nan|M|writer|12345", "300|30||writer|1", "300|30|M|NaN|1"]
)
def test_a_user_with_a_missing_value_is_dropped_and_so_will_be_the_ratings(tmp_path, row):
    users, found = users_with(tmp_path, row)
    assert len(users) == 200
    assert found.file("u.user").dropped == {report.MISSING_VALUE: 1}
    assert found.dropped_ids["u.user"] == {300: "user dropped: missing value"}


def test_a_missing_zip_code_is_no_reason_to_drop_a_user(tmp_path):
    users, found = users_with(tmp_path, "300|30|M|writer|")
    assert the_row(users, 300)["user_zip_code"] == ""
    assert found.file("u.user").dropped == {}


def test_a_complete_row_replaces_an_incomplete_one_of_the_same_user(tmp_path):
    users, found = users_with(tmp_path, "300||M|writer|1", "300|30|M|writer|1")
    assert the_row(users, 300)["raw_user_age"] == 30
    assert found.dropped_ids["u.user"] == {}


def test_zip_codes_that_are_not_five_digits_are_kept_or_dropped_as_told(tmp_path):
    rows = ["300|30|M|writer|T8H1N", "301|30|M|writer|b'94043-12'", "302|30|M|writer|'94043"]
    kept, found = users_with(tmp_path, *rows)
    assert kept["user_zip_code"].tolist()[-3:] == ["T8H1N", "94043-12", "94043"]
    assert found.file("u.user").dropped == {}
    dropped, found = users_with(tmp_path, *rows, invalid_zip="drop")
    assert dropped["user_id"].tolist()[-1:] == [302]
    assert found.file("u.user").dropped == {report.INVALID_ZIP: 2}
    assert found.dropped_ids["u.user"] == {300: report.INVALID_ZIP, 301: report.INVALID_ZIP}
    assert found.bad_share("u.user") == 0


BAD_USERS = [
    ("300|30|M|writer", report.WRONG_COLUMNS, "5 columns: user id, age"),
    ("300|30|M|writer|1|2", report.WRONG_COLUMNS, "5 columns: user id, age"),
    ("u300|30|M|writer|1", report.NON_NUMERIC_ID, "a whole number as user id"),
    (f"{2**63}|30|M|writer|1", report.NON_NUMERIC_ID, "a whole number as user id"),
    ("300|old|M|writer|1", report.NON_NUMERIC_AGE, "an age from 1 to 120 years"),
    ("300|0|M|writer|1", report.AGE_RANGE, "an age from 1 to 120 years"),
    ("300|-3|M|writer|1", report.AGE_RANGE, "an age from 1 to 120 years"),
    ("300|121|M|writer|1", report.AGE_RANGE, "an age from 1 to 120 years"),
]


@pytest.mark.parametrize(("row", "reason", "expected"), BAD_USERS)
def test_a_few_bad_users_are_dropped_and_counted(tmp_path, row, reason, expected):
    users, found = users_with(tmp_path, row)
    assert len(users) == 200
    assert found.file("u.user").dropped == {reason: 1}
    (example,) = found.file("u.user").examples[reason]
    assert example.row == 201
    assert expected in example.expected


@pytest.mark.parametrize(("row", "reason", "expected"), BAD_USERS)
def test_more_than_one_percent_bad_users_are_refused(tmp_path, row, reason, expected):
    message = refusal(users_with, tmp_path, row, row, row)
    assert f"u.user, row 201: {reason}; 3 of 203 rows are bad" in message
    assert f"expected: {expected}" in message
    assert "found: " in message
    assert "what to do: " in message


def test_ids_of_bad_users_are_known_where_they_can_be_read(tmp_path):
    _, found = users_with(tmp_path, "300|999|M|writer|1")
    assert found.dropped_ids["u.user"] == {300: "user dropped: age out of range"}


def test_an_occupation_that_is_not_listed_is_refused(tmp_path):
    message = refusal(users_with, tmp_path, "300|30|M|astronaut|12345")
    assert "u.user, row 201: an occupation that u.occupation does not list" in message
    assert "expected: one of the 3 occupations in u.occupation" in message
    assert "found: 'astronaut'" in message
    assert "what to do: add it to u.occupation" in message


def test_a_new_gender_is_kept_for_the_schema_to_flag(tmp_path):
    users, _ = users_with(tmp_path, "300|30|'X'|writer|12345")
    assert the_row(users, 300)["user_gender"] == "X"


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path):
    (write_raw(tmp_path) / "u.user").unlink()
    assert "u.user: cannot be read" in refusal(read_users, tmp_path, "keep")


def test_windows_line_endings_and_a_missing_last_newline_change_nothing(tmp_path):
    plain, _ = users_with(tmp_path)
    windows, found = read_users(write_raw(tmp_path, newline="\r\n"), "keep")
    assert windows.equals(plain)
    (tmp_path / "u.user").write_bytes((tmp_path / "u.user").read_bytes().rstrip())
    assert read_users(tmp_path, "keep")[0].equals(plain)
    assert found.file("u.user").repaired == {}


# Movies.


def test_movies_have_the_columns_and_types_of_the_feature_table(tmp_path):
    movies, _ = movies_with(tmp_path, "300|Toy Story (1995)|22-Nov-1995||u|1|0|1")
    assert {name: str(dtype) for name, dtype in movies.dtypes.items()} == {
        "movie_id": "int64",
        "movie_title": "object",
        "movie_genres": "object",
        "release_date": "Int64",
        "movie_year_release": "Int64",
    }
    assert the_row(movies, 300) == {
        "movie_id": 300,
        "movie_title": "Toy Story (1995)",
        "movie_genres": ["unknown", "Comedy"],
        "release_date": 816_998_400,
        "movie_year_release": 1995,
    }


def test_a_movie_without_flags_has_no_genres(tmp_path):
    movies, _ = movies_with(tmp_path, "300|Film|||u|0|0|0")
    assert the_row(movies, 300)["movie_genres"] == []


def test_genres_come_in_the_order_of_their_numbers(tmp_path):
    directory = write_raw(tmp_path, genres=["b'B'|2", "A|0", "'C'|1", "", ""])
    assert read_genres(directory) == ("A", "C", "B")


def test_a_blank_release_date_is_missing_and_the_year_comes_from_the_title(tmp_path):
    movies, found = movies_with(tmp_path, "300|Film (1931)|||u|0|1|0", "301|unknown||||1|0|0")
    assert movies["release_date"].isna().sum() == 2
    assert the_row(movies, 300)["movie_year_release"] == 1931
    assert movies["movie_year_release"].isna().sum() == 1
    assert found.file("u.item").repaired == {}


def test_an_unreadable_release_date_is_ignored_and_counted(tmp_path):
    movies, found = movies_with(tmp_path, "300|Film (1931)|soon||u|0|1|0")
    assert movies["release_date"].isna().sum() == 1
    assert the_row(movies, 300)["movie_year_release"] == 1931
    assert found.file("u.item").repaired == {report.DATE_IGNORED: 1}


def test_a_missing_title_is_unknown_and_counted(tmp_path):
    movies, found = movies_with(tmp_path, "300||01-Jan-1995||u|0|1|0")
    assert the_row(movies, 300)["movie_title"] == "unknown"
    assert found.file("u.item").repaired == {report.TITLE_UNKNOWN: 1}


def test_titles_are_read_as_latin1_as_published(tmp_path):
    movies, found = movies_with(tmp_path, "300|Misérables, Les (1995)|||u|0|1|0")
    assert the_row(movies, 300)["movie_title"] == "Misérables, Les (1995)"
    assert found.file("u.item").repaired == {}


def test_titles_in_utf8_are_read_and_counted_as_repaired(tmp_path):
    movies, found = movies_with(tmp_path, "300|Amélie – été (2001)|||u|0|1|0", encoding="utf-8")
    assert the_row(movies, 300)["movie_title"] == "Amélie – été (2001)"
    assert found.file("u.item").repaired == {report.UTF8_READ: 1}


def test_a_latin1_character_that_unicode_takes_for_a_line_end_splits_no_row(tmp_path):
    movies, _ = movies_with(tmp_path, "300|Wait\x85 (1995)|||u|0|1|0")
    assert len(movies) == 151


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("300|Film|||u|0|0", report.WRONG_COLUMNS),
        ("300|Film|||u|0|0|0|0", report.WRONG_COLUMNS),
        ("m300|Film|||u|0|0|0", report.NON_NUMERIC_ID),
        ("300|Film|||u|0|0|2", report.BAD_GENRE_FLAG),
    ],
)
def test_bad_movies_are_counted_when_few_and_refused_when_many(tmp_path, row, reason):
    movies, found = movies_with(tmp_path, row)
    assert len(movies) == 150
    assert found.file("u.item").dropped == {reason: 1}
    message = refusal(movies_with, tmp_path, row, row)
    assert f"u.item, row 151: {reason}; 2 of 152 rows are bad" in message


def test_duplicate_movies_are_dropped_when_equal_and_refused_when_not(tmp_path):
    _, found = movies_with(tmp_path, movie_rows()[0])
    assert found.file("u.item").dropped == {report.EXACT_DUPLICATE: 1}
    message = refusal(movies_with, tmp_path, "7|Another film|||u|0|0|1")
    assert "u.item, row 151: id 7 has a second row that differs from row 7" in message
    assert "7, Film 7 (1995), " in message


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (["Action"], "row 1: not a genre and its number"),
        (["Action|one"], "row 1: not a genre and its number"),
        (["Action|0", "Drama|0"], "row 2: a genre number twice"),
        (["Action|0", "Drama|2"], "genre numbers with gaps"),
    ],
)
def test_a_wrong_list_of_genres_is_refused(tmp_path, rows, problem):
    message = refusal(read_genres, write_raw(tmp_path, genres=rows))
    assert problem in message
    assert "list every genre once as name|number" in message


def test_occupations_are_cleaned_and_blank_lines_left_out(tmp_path):
    directory = write_raw(tmp_path, occupations=["b'writer'", "", " none ", "writer"])
    assert read_occupations(directory) == ("writer", "none")


@needs_real_data
def test_every_user_and_movie_of_movielens_is_clean():
    movielens_dir = Path(os.environ["MOVIELENS_DIR"])
    users, of_users = read_users(movielens_dir, "keep")
    movies, of_movies = read_movies(movielens_dir)
    assert (len(users), len(movies)) == (943, 1682)
    assert of_users.to_json()["files"]["u.user"]["dropped"] == {}
    assert of_movies.to_json()["files"]["u.item"]["repaired"] == {}
    assert users["user_occupation_label"].notna().all()
    assert movies["release_date"].isna().sum() == 1
    assert len({genre for genres in movies["movie_genres"] for genre in genres}) == 19
