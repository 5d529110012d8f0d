from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from raw_files import movie_rows, needs_real_data, user_rows, write_raw

from sources import cleaning_log, tables
from sources.cleaning_log import LossLimits
from sources.errors import InputError
from sources.tables import read_genres, read_movies, read_occupations, read_users

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
        "bucketized_user_age": "Int64",
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
    assert found.file("u.user").repaired == {cleaning_log.QUOTES_REMOVED: 1}
    assert found.file("u.user").examples[cleaning_log.QUOTES_REMOVED][0].row == 201


def test_large_and_negative_ids_and_new_occupations_work(tmp_path):
    rows = [f"{2**62}|33|M|astronaut|1", "-5|33|M|astronaut|1"]
    directory = write_raw(tmp_path, users=rows, occupations=["astronaut"])
    users, _ = read_users(directory, "keep")
    assert users["user_id"].tolist() == [-5, 2**62]
    assert users["user_occupation_label"].isna().all()


def test_an_exact_duplicate_of_a_user_is_dropped_and_counted(tmp_path):
    users, found = users_with(tmp_path, user_rows()[4], "b'6'" + user_rows()[5][1:])
    assert len(users) == 200
    assert found.file("u.user").dropped == {cleaning_log.EXACT_DUPLICATE: 2}
    assert found.dropped_ids == {"u.user": {}}


def test_two_different_rows_of_a_user_are_refused(tmp_path):
    message = refusal(users_with, tmp_path, "5|99|M|writer|12345")
    assert "u.user, row 201: id 5 has a second row that differs from row 5" in message
    assert "found: '5, 99.0, Male, writer, 12345'" in message
    assert "what to do: remove one of the two rows" in message


@pytest.mark.parametrize(
    ("row", "missing"),
    [
        ("300||M|writer|12345", ["age"]),
        ("300|nan|M|writer|12345", ["age"]),
        ("300|30||writer|1", ["gender"]),
        ("300|30|M|NaN|1", ["occupation"]),
        ("300|30|M|writer| ", ["zip code"]),
        ("300||||", ["age", "gender", "occupation", "zip code"]),
    ],
)
def test_a_missing_value_is_unknown_and_no_reason_to_drop_a_user(tmp_path, row, missing):
    users, found = users_with(tmp_path, row)
    user = the_row(users, 300)
    assert len(users) == 201
    assert found.file("u.user").dropped == found.dropped_ids["u.user"] == {}
    assert found.file("u.user").missing == dict.fromkeys(missing, 1)
    texts = {
        "gender": "user_gender",
        "occupation": "user_occupation_text",
        "zip code": "user_zip_code",
    }
    for name, column in texts.items():
        assert (user[column] == "unknown") == (name in missing)
    assert np.isnan(user["raw_user_age"]) == ("age" in missing)
    assert (user["bucketized_user_age"] is pd.NA) == ("age" in missing)


def test_users_without_a_zip_code_are_dropped_by_the_option(tmp_path):
    users, found = users_with(tmp_path, "300|30|M|writer|", invalid_zip="drop")
    assert len(users) == 200
    assert found.file("u.user").missing == {}
    message = refusal(read_users, write_raw(tmp_path, users=["1||||", "2||||"]), "drop")
    assert "no row is left" in message
    assert "what to do: leave out --invalid-zip drop" in message


def test_a_number_with_a_control_character_is_no_other_number(tmp_path):
    users, found = users_with(tmp_path, "30\x1b1|30|M|writer|1", "302|3\x070|Unknown|writer|1")
    assert users["user_id"].tolist()[-1] == 302
    assert np.isnan(the_row(users, 302)["raw_user_age"])
    assert the_row(users, 302)["user_gender"] == "unknown"
    assert found.file("u.user").dropped == {cleaning_log.NON_NUMERIC_ID: 1}


def test_byte_order_marks_of_files_put_together_do_not_matter(tmp_path):
    directory = write_raw(tmp_path, users=["1||||"])
    part = "\ufeff2|30|M|writer|1\n".encode()
    with (directory / "u.user").open("ab") as file:
        file.write(part)
    users, found = read_users(directory, "keep")
    assert users["user_id"].tolist() == [1, 2]
    assert found.file("u.user").dropped == {}


def test_users_may_come_as_ids_alone(tmp_path):
    users, found = read_users(write_raw(tmp_path, users=["3", "1", "2"], occupations=[]), "keep")
    assert users["user_id"].tolist() == [1, 2, 3]
    assert set(users["user_gender"]) == {"unknown"}
    assert users["raw_user_age"].isna().all()
    assert found.file("u.user").missing == dict.fromkeys(
        ("age", "gender", "occupation", "zip code"), 3
    )


def test_a_user_without_an_id_is_dropped_within_the_limit(tmp_path):
    _, found = users_with(tmp_path, "|30|M|writer|12345")
    assert found.file("u.user").dropped == {cleaning_log.MISSING_VALUE: 1}
    message = refusal(users_with, tmp_path, *["|30|M|writer|12345"] * 3)
    assert "row 201: missing value; 3 of 203 rows are lost, more than 1 %" in message


def test_two_rows_of_a_user_that_differ_in_what_is_missing_are_refused(tmp_path):
    message = refusal(users_with, tmp_path, "300||M|writer|1", "300|30|M|writer|1")
    assert "id 300 has a second row that differs" in message


def test_zip_codes_that_are_not_five_digits_are_kept_or_dropped_by_the_option(tmp_path):
    rows = ["300|30|M|writer|T8H1N", "301|30|M|writer|b'94043-12'", "302|30|M|writer|'94043"]
    kept, found = users_with(tmp_path, *rows)
    assert kept["user_zip_code"].tolist()[-3:] == ["T8H1N", "94043-12", "94043"]
    assert found.file("u.user").dropped == {}
    dropped, found = users_with(tmp_path, *rows, invalid_zip="drop")
    assert dropped["user_id"].tolist()[-1:] == [302]
    assert found.file("u.user").dropped == {cleaning_log.INVALID_ZIP: 2}
    assert found.dropped_ids["u.user"] == {
        300: cleaning_log.INVALID_ZIP,
        301: cleaning_log.INVALID_ZIP,
    }
    found.check(LossLimits.of(0))


BAD_USERS = [
    ("300|30|M|writer", cleaning_log.WRONG_COLUMNS, "5 columns: user id, age"),
    ("300|30|M|writer|1|2", cleaning_log.WRONG_COLUMNS, "5 columns: user id, age"),
    ("u300|30|M|writer|1", cleaning_log.NON_NUMERIC_ID, "a whole number as user id"),
    (f"{2**63}|30|M|writer|1", cleaning_log.NON_NUMERIC_ID, "a whole number as user id"),
]
BAD_AGES = [
    ("old", cleaning_log.NON_NUMERIC_AGE),
    ("0", cleaning_log.AGE_RANGE),
    ("-3", cleaning_log.AGE_RANGE),
    ("121", cleaning_log.AGE_RANGE),
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
    assert f"u.user, row 201: {reason}; 3 of 203 rows are lost" in message
    assert f"expected: {expected}" in message
    assert "found: " in message
    assert "what to do: " in message


@pytest.mark.parametrize(("age", "reason"), BAD_AGES)
def test_an_age_that_cannot_be_used_is_lost_not_its_user(tmp_path, age, reason):
    users, found = users_with(tmp_path, f"300|{age}|M|writer|1")
    assert np.isnan(the_row(users, 300)["raw_user_age"])
    assert found.file("u.user").values_lost == {reason: 1}
    assert found.file("u.user").repaired == found.file("u.user").missing == {}
    rows = [f"{300 + n}|{age}|M|writer|1" for n in range(3)]
    message = refusal(users_with, tmp_path, *rows)
    assert f"u.user, row 201: {reason}; 3 of 203 rows lose their value" in message
    assert "expected: an age from 1 to 120 years" in message
    assert f"found: '{age}'" in message
    read_users(tmp_path, "keep", LossLimits.of(0.02))


def test_ids_of_bad_users_are_known_where_they_can_be_read(tmp_path):
    _, found = users_with(tmp_path, "300|30|M|writer")
    assert found.dropped_ids["u.user"] == {300: "user dropped: wrong number of columns"}


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
    assert found.file("u.item").missing == {"release date": 2}


def test_an_unreadable_release_date_is_ignored_and_counted(tmp_path):
    movies, found = movies_with(tmp_path, "300|Film (1931)|soon||u|0|1|0")
    assert movies["release_date"].isna().sum() == 1
    assert the_row(movies, 300)["movie_year_release"] == 1931
    assert found.file("u.item").values_lost == {cleaning_log.DATE_IGNORED: 1}
    assert found.file("u.item").repaired == {}


def test_a_column_of_dates_that_cannot_be_read_is_refused(tmp_path):
    rows = [row.replace("01-Jan-1995", "1/1/95") for row in movie_rows()]
    message = refusal(read_movies, write_raw(tmp_path, movies=rows))
    assert "unreadable release date; 150 of 150 rows lose their value, more than 1 %" in message
    assert "write dates as 01-Jan-1995" in message


def test_a_missing_title_is_unknown_and_counted(tmp_path):
    movies, found = movies_with(tmp_path, "300||01-Jan-1995||u|0|1|0")
    assert the_row(movies, 300)["movie_title"] == "unknown"
    assert found.file("u.item").missing == {"title": 1}
    assert found.file("u.item").repaired == {}


def test_titles_are_read_as_latin1_as_published(tmp_path):
    movies, found = movies_with(tmp_path, "300|Misérables, Les (1995)|||u|0|1|0")
    assert the_row(movies, 300)["movie_title"] == "Misérables, Les (1995)"
    assert found.file("u.item").repaired == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_a_file_in_one_encoding_throughout_takes_no_repair(tmp_path, encoding):
    movies, found = movies_with(
        tmp_path, "300|Amélie – été (2001)|||u|0|1|0", "301|Ô|||u|0|1|0", encoding=encoding
    )
    assert the_row(movies, 300)["movie_title"] == "Amélie – été (2001)"
    assert found.file("u.item").repaired == {}


@pytest.mark.parametrize(
    ("most", "odd", "reason"),
    [("utf-8", "latin-1", cleaning_log.LATIN1_READ), ("latin-1", "utf-8", cleaning_log.UTF8_READ)],
)
def test_the_encoding_is_decided_row_by_row_and_the_odd_rows_are_counted(
    tmp_path, most, odd, reason
):
    directory = write_raw(tmp_path)
    rows = [f"{i}|Amélie {i} (2001)|||u|0|1|0\n".encode(most) for i in range(1, 151)]
    rows[7] = "8|Amélie 8 (2001)|||u|0|1|0\n".encode(odd)
    (directory / "u.item").write_bytes(b"".join(rows))
    movies, found = read_movies(directory)
    assert movies["movie_title"].tolist() == [f"Amélie {i} (2001)" for i in range(1, 151)]
    assert found.file("u.item").repaired == {reason: 1}
    assert found.file("u.item").examples[reason][0].row == 8


@pytest.mark.parametrize(
    ("title", "read", "reason"),
    [
        ("AmÃ©lie", "Amélie", cleaning_log.MOJIBAKE_UNDONE),
        ("Donâ€™t Look Now", "Don’t Look Now", cleaning_log.MOJIBAKE_UNDONE),
        ("Ã‰tÃ©", "Été", cleaning_log.MOJIBAKE_UNDONE),
        ("AmÃƒÂ©lie", "Amélie", cleaning_log.MOJIBAKE_UNDONE),
        ("Город".encode().decode("cp1252"), "Город", cleaning_log.MOJIBAKE_UNDONE),
        ("a\x1b[31mb", "a[31mb", cleaning_log.CONTROLS_REMOVED),
        ("a\x85b", "a b", cleaning_log.CONTROLS_REMOVED),
        ("a\u2028b\tc", "a b c", cleaning_log.CONTROLS_REMOVED),
        ("gpj\u202e.exe", "gpj.exe", cleaning_log.CONTROLS_REMOVED),
        ("a\u2066b\u2069\x00".strip("\0"), "ab", cleaning_log.CONTROLS_REMOVED),
        ("b'a\\xe2\\x80\\xaeb'", "ab", cleaning_log.CONTROLS_REMOVED),
    ],
)
def test_mojibake_and_control_characters_are_mended_and_counted(tmp_path, title, read, reason):
    movies, found = movies_with(tmp_path, f"300|{title}|||u|0|1|0", encoding="utf-8")
    assert the_row(movies, 300)["movie_title"] == read
    assert found.file("u.item").repaired[reason] == 1


@pytest.mark.parametrize(
    "title", ["SÃO PAULO", "CAFÉ’S", "«MAÇÃ»", "Ó Pai, Ó", "Ünïcödé", "Москва", "東京物語", "Ñ…"]
)
def test_text_that_only_looks_like_mojibake_stays(tmp_path, title):
    movies, found = movies_with(tmp_path, f"300|{title}|||u|0|1|0", encoding="utf-8")
    assert the_row(movies, 300)["movie_title"] == title
    assert found.file("u.item").repaired == {}


def test_characters_that_were_lost_before_count_as_lost(tmp_path):
    _, found = movies_with(tmp_path, "300|Am\ufffdlie|||u|0|1|0", encoding="utf-8")
    assert found.file("u.item").values_lost == {cleaning_log.CHARACTERS_LOST: 1}


def test_a_text_that_is_no_title_any_more_is_cut_and_counted(tmp_path):
    movies, found = movies_with(tmp_path, f"300|{'x' * 2000}|||u|0|1|0")
    assert the_row(movies, 300)["movie_title"] == "x" * 1000
    assert found.file("u.item").values_lost == {cleaning_log.TEXT_CUT: 1}


def test_a_latin1_character_that_unicode_takes_for_a_line_end_splits_no_row(tmp_path):
    movies, _ = movies_with(tmp_path, "300|Wait\x85 (1995)|||u|0|1|0")
    assert len(movies) == 151


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("300|Film|||u|0|0", cleaning_log.WRONG_COLUMNS),
        ("300|Film|||u|0|0|0|0", cleaning_log.WRONG_COLUMNS),
        ("m300|Film|||u|0|0|0", cleaning_log.NON_NUMERIC_ID),
    ],
)
def test_bad_movies_are_counted_when_few_and_refused_when_many(tmp_path, row, reason):
    movies, found = movies_with(tmp_path, row)
    assert len(movies) == 150
    assert found.file("u.item").dropped == {reason: 1}
    message = refusal(movies_with, tmp_path, row, row)
    assert f"u.item, row 151: {reason}; 2 of 152 rows are lost" in message


def test_a_blank_genre_flag_is_none_and_a_wrong_one_is_lost(tmp_path):
    movies, found = movies_with(tmp_path, "300|Film|||u|||1", "301|Film|||u|0|1|x", "302|F|||u|||")
    assert [the_row(movies, key)["movie_genres"] for key in (300, 301, 302)] == [
        ["Comedy"],
        ["Action"],
        [],
    ]
    assert found.file("u.item").values_lost == {cleaning_log.BAD_GENRE_FLAG: 1}
    assert found.file("u.item").missing["genres"] == 1


def test_a_large_table_of_bad_rows_is_given_up_early(tmp_path, monkeypatch):
    read = []
    ids = tables.parse_id  # type: ignore[attr-defined]
    monkeypatch.setattr(tables, "parse_id", lambda *text: read.append(text) or ids(*text))
    with pytest.raises(InputError, match="1,001 of 50,150 rows are lost"):
        movies_with(tmp_path, *["x"] * 50_000)
    assert len(read) <= 1001


def test_duplicate_movies_are_dropped_when_equal_and_refused_when_not(tmp_path):
    _, found = movies_with(tmp_path, movie_rows()[0])
    assert found.file("u.item").dropped == {cleaning_log.EXACT_DUPLICATE: 1}
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
