"""The join with The Movies Dataset: titles, damage, credits."""

from __future__ import annotations

import csv
import json
import os
import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources import cleaning_log, metadata
from sources.cleaning_log import LossLimits
from sources.errors import InputError
from sources.literals import MAX_LITERAL_CHARS, parse_records
from sources.metadata import check_metadata_files, join_metadata
from sources.tables import read_movies
from sources.titles import normalise_title, title_keys

MOVIE_COLUMNS = [
    "adult", "belongs_to_collection", "budget", "genres", "homepage", "id", "imdb_id",
    "original_language", "original_title", "overview", "popularity", "poster_path",
    "production_companies", "production_countries", "release_date", "revenue", "runtime",
    "spoken_languages", "status", "tagline", "title", "video", "vote_average", "vote_count",
]  # fmt: skip


def film(number, title, date, *, original=None, votes=10, **others):
    return {
        "adult": "False",
        "id": str(number),
        "title": title,
        "original_title": original or title,
        "overview": "A film.",
        "release_date": date,
        "vote_count": str(votes),
        **others,
    }


def credits_of(number, director="Ann Smith", star="Bob Jones"):
    cast = [{"name": "Second", "order": 1}, {"name": star, "order": 0}]
    crew = [{"job": "Producer", "name": "Nobody"}, {"job": "Director", "name": director}]
    return {"cast": repr(cast), "crew": repr(crew), "id": str(number)}


@pytest.fixture
def write(tmp_path):
    """Writes both files from lists of rows and returns their directory."""

    def write_files(films, credit_rows=None):
        if credit_rows is None:
            credit_rows = [credits_of(row["id"]) for row in films]
        for name, columns, rows in (
            ("movies_metadata.csv", MOVIE_COLUMNS, films),
            ("credits.csv", ["cast", "crew", "id"], credit_rows),
        ):
            with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(rows)
        return tmp_path

    return write_files


def catalogue(*titles, years=None):
    return pd.DataFrame(
        {
            "movie_id": pd.Series(range(1, len(titles) + 1), dtype="int64"),
            "movie_title": titles,
            "movie_year_release": pd.Series(years or [None] * len(titles), dtype="Int64"),
        }
    )


def matched(write, listed, films, years=None):
    """Returns the director found for one listed title; each film's is its id."""
    directory = write(films, [credits_of(row["id"], director=f"D{row['id']}") for row in films])
    return join_metadata(catalogue(listed, years=years), directory)[0]["director"][0]


# Titles.


@pytest.mark.parametrize(
    ("listed", "title"),
    [
        ("Shawshank Redemption, The", "The Shawshank Redemption"),
        ("Grand Day Out, A", "A Grand Day Out"),
        ("Enfer, L'", "L'Enfer"),
        ("Cité des enfants perdus, La", "La Cité des Enfants Perdus"),
        ("Postino, Il", "Il postino"),
        ("Boot, Das", "Das Boot"),
        ("Mariachi, El", "El Mariachi"),
        ("Blaue Engel, Der", "Der blaue Engel"),
        ("Sjunde inseglet, Det", "Det sjunde inseglet"),
        ("Convento, O", "O Convento"),
        ("Wallace & Gromit", "Wallace and Gromit"),
        ("Romeo + Juliet", "Romeo and Juliet"),
        ("Father of the Bride Part II", "Father of the Bride Part 2"),
        ("L.A. Confidential", "LA Confidential"),
        ("M*A*S*H", "MASH"),
        ("Léon: The Professional", "Leon - The Professional"),
        ("Ulee's Gold", "Ulee’s Gold"),
        ("8 1/2", "8½"),
        ("Alien 3", "Alien 3!"),
        ("STRASSE", "Straße"),
        ("Vølver", "volver"),
        ("  Se7en  ", "se7en"),
    ],
)
def test_spellings_of_one_title_meet(listed, title):
    assert normalise_title(listed) == normalise_title(title)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alien", "Aliens"),
        ("Rocky II", "Rocky III"),
        ("Piano, The", "Pianist, The"),
        ("I, Robot", "Robot"),
        ("Heat", "Red Heat"),
    ],
)
def test_different_titles_stay_apart(one, other):
    assert normalise_title(one) != normalise_title(other)


@given(st.text())
def test_normalising_twice_changes_nothing(title):
    once = normalise_title(title)
    assert normalise_title(once) == once


@given(st.text())
def test_normal_form_holds_only_lower_case_words(title):
    normal = normalise_title(title)
    assert normal == " ".join(normal.split())
    assert normal == normal.casefold()
    assert all(char.isalnum() or char == " " for char in normal)


@given(st.text(alphabet="abc ,.'-:&()Éñ", max_size=30))
def test_case_and_punctuation_at_the_ends_do_not_matter(title):
    assert normalise_title(title.upper()) == normalise_title(title)
    assert normalise_title(f"  {title}!? ") == normalise_title(f"{title}!?")


@given(st.text())
def test_keys_of_any_title_are_distinct_and_never_empty(title):
    for tier in title_keys(title):
        assert all(tier)
        assert len(set(tier)) == len(tier)


# Matching.


@pytest.mark.parametrize(
    ("listed", "title", "original"),
    [
        ("Shawshank Redemption, The (1995)", "The Shawshank Redemption", None),
        (
            "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
            "The City of Lost Children",
            "La Cité des Enfants Perdus",
        ),
        ("Hate (Haine, La) (1995)", "La Haine", None),
        ("Promise, The (Versprechen, Das) (1995)", "Another title", "Das Versprechen"),
        ("Seven (a.k.a. Se7en) (1995)", "Se7en", None),
        ("Killer (Bulletproof Heart) (1995)", "Bulletproof Heart", None),
        ("Associate, The (L'Associe)(1995)", "The Associate", None),
        ("Land Before Time III: The Time (1995) (V)", "The Land Before Time III: The Time", None),
        ("Wife, The (1995)", "Wife", None),
        ("Mouse Hunt (1995)", "MouseHunt", None),
        ("Wes Craven's New Nightmare (1995)", "New Nightmare", None),
        ("My Left Foot (1995)", "My Left Foot: The Story of Christy Brown", None),
        ("(500) Days of Summer (1995)", "(500) Days of Summer", None),
    ],
)
def test_tricky_titles_find_their_film(write, listed, title, original):
    films = [film(1, "Decoy", "1995-01-01"), film(2, title, "1995-06-01", original=original)]
    assert matched(write, listed, films) == "D2"


@pytest.mark.parametrize(("date", "found"), [("1994-01-01", "D1"), ("1996-12-31", "D1")])
def test_a_year_off_by_one_is_the_same_film(write, date, found):
    assert matched(write, "Heat (1995)", [film(1, "Heat", date)]) == found


@pytest.mark.parametrize("date", ["1993-12-31", "1997-01-01", "1986-01-01"])
def test_a_year_further_off_is_another_film(write, date):
    assert matched(write, "Heat (1995)", [film(1, "Heat", date)]) == "unknown"


def test_the_exact_year_comes_before_more_votes(write):
    films = [film(1, "Heat", "1996-01-01", votes=999), film(2, "Heat", "1995-01-01", votes=1)]
    assert matched(write, "Heat (1995)", films) == "D2"


def test_of_the_same_year_the_film_with_more_votes_wins_then_the_lower_id(write):
    films = [film(3, "Heat", "1995-01-01"), film(2, "Heat", "1995-01-01")]
    assert matched(write, "Heat (1995)", films) == "D2"
    films.append(film(4, "Heat", "1995-01-01", votes=11))
    assert matched(write, "Heat (1995)", films) == "D4"


def test_the_year_of_release_counts_where_the_one_in_the_title_finds_nothing(write):
    films = [film(1, "Supercop", "1996-07-26")]
    assert matched(write, "Supercop (1992)", films, years=[1996]) == "D1"
    assert matched(write, "Supercop", films, years=[1996]) == "D1"
    assert matched(write, "Supercop", films) == "unknown"


def test_part_of_a_title_counts_only_if_it_means_one_film(write):
    films = [film(1, "First Strike: Asia", "1996-01-01"), film(2, "First Strike: US", "1996-01-01")]
    assert matched(write, "First Strike (1996)", films[:1]) == "D1"
    assert matched(write, "First Strike (1996)", films) == "unknown"


def test_rows_keep_their_order_and_other_columns(write):
    movies = catalogue("B (1995)", "None (1995)", "A (1995)").iloc[::-1]
    before = movies.copy()
    directory = write([film(1, "A", "1995-01-01"), film(2, "B", "1995-01-01")])
    joined, match = join_metadata(movies, directory)
    pd.testing.assert_frame_equal(movies, before)
    pd.testing.assert_frame_equal(joined[list(before)], before)
    assert joined["director"].tolist() == ["Ann Smith", "unknown", "Ann Smith"]
    assert joined["star"].tolist() == ["Bob Jones", "unknown", "Bob Jones"]
    assert (match.movies, match.matched, match.unmatched) == (3, 2, 1)
    assert match.unmatched_titles == ("None (1995)",)


def test_without_metadata_everything_is_unknown():
    joined, match = join_metadata(catalogue("A (1995)", "B (1995)"), None)
    assert joined["director"].tolist() == joined["star"].tolist() == ["unknown"] * 2
    assert (match.matched, match.unmatched) == (0, 2)


def test_an_empty_catalogue_is_joined(write):
    joined, match = join_metadata(catalogue(), write([film(1, "A", "1995-01-01")]))
    assert len(joined) == 0
    assert {"director", "star"} <= set(joined)
    assert match.movies == 0


def test_the_report_is_json(write):
    films = [film(1, "A", "10/30/1995"), film("1997-08-20", "B", "x")]
    _, match = join_metadata(catalogue("A (1995)"), write(films))
    assert json.loads(json.dumps(match.to_json())) == match.to_json()
    assert match.to_json()["files"]["movies_metadata.csv"]["rows"] == 2


# Damage.


def counts(match):
    entry = match.log.file("movies_metadata.csv")
    return entry.dropped, entry.repaired


def test_spreadsheet_damage_is_read_and_counted(write):
    blank = dict.fromkeys(MOVIE_COLUMNS, "")
    films = [
        film(1, "A", "10/30/1995"),
        blank,
        film(2, "B", "1995-10-30", adult="FALSE"),
        film("3.0", "C", "10/30/95"),
        film("1997-08-20", "D", "1"),
        film(5, "", "1995-10-30"),
        film(6, "F", "soon"),
        film(1, "A again", "1995-10-30"),
    ]
    directory = write(films, [credits_of(n) for n in (1, 2, 3)])
    joined, match = join_metadata(catalogue("A (1995)", "B (1995)", "C (1995)"), directory)
    assert joined["director"].tolist() == ["Ann Smith"] * 3
    dropped, repaired = counts(match)
    assert match.log.file("movies_metadata.csv").rows == len(films)
    assert dropped == {
        metadata.BLANK_ROW: 1,
        metadata.BAD_ID: 1,
        metadata.MISSING_TITLE: 1,
        metadata.BAD_RELEASE_DATE: 1,
        metadata.DUPLICATE_ID: 1,
    }
    assert repaired == {
        metadata.US_DATE: 2,
        metadata.UPPER_CASE_BOOLEAN: 1,
        metadata.DECIMAL_REMOVED: 1,  # type: ignore[attr-defined]
    }


def test_films_without_a_date_are_no_loss_and_more_than_a_few_unreadable_ones_are(write):
    films = [film(n, f"T{n}", "1995-01-01") for n in range(20)]
    undated = [film(100 + n, "U", "") for n in range(20)]
    bad = [film(200 + n, "V", "soon") for n in range(4)]
    _, match = join_metadata(catalogue("T1 (1995)"), write(films + undated + bad[:3]))
    assert counts(match)[0] == {metadata.NO_RELEASE_DATE: 20, metadata.BAD_RELEASE_DATE: 3}
    directory = write(films + undated + bad)
    with pytest.raises(InputError, match="unreadable release date; 4 of 44 rows are lost"):
        join_metadata(catalogue("T1 (1995)"), directory)
    join_metadata(catalogue("T1 (1995)"), directory, LossLimits.of(0.1))


@pytest.mark.parametrize(("most", "odd"), [("utf-8", "latin-1"), ("latin-1", "utf-8")])
def test_the_encoding_of_metadata_is_decided_line_by_line(write, most, odd):
    names = {1: "José É", 2: "Zoë Ö", 3: "Åke Ä"}
    rows = [
        {
            "cast": f"[{{'name': '{name}', 'order': 0}}]",
            "crew": f"[{{'job': 'Director', 'name': '{name}'}}]",
            "id": str(n),
        }
        for n, name in names.items()
    ]
    directory = write([film(n, f"T{n} x", "1995-01-01") for n in names], rows)
    path = directory / "credits.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    encodings = [most, most, odd, most]
    path.write_bytes(
        b"".join(f"{line}\n".encode(e) for line, e in zip(lines, encodings, strict=True))
    )
    joined, match = join_metadata(catalogue(*(f"T{n} x (1995)" for n in names)), directory)
    assert joined["director"].tolist() == joined["star"].tolist() == list(names.values())
    assert list(match.log.file("credits.csv").repaired.values()) == [1]


def test_names_that_nobody_could_print_are_mended_and_counted(write):
    row = {
        "cast": r"[{'name': 'A\x1b[0m\u202e\ud800B', 'order': 0}]",
        "crew": "[{'job': 'Director', 'name': 'JosÃ©'}]",
        "id": "1",
    }
    joined, match = join_metadata(catalogue("A (1995)"), write([film(1, "A", "1995-01-01")], [row]))
    assert (joined["star"][0], joined["director"][0]) == ("A[0mB", "José")
    assert match.log.file("credits.csv").repaired == {
        cleaning_log.CONTROLS_REMOVED: 1,
        cleaning_log.MOJIBAKE_UNDONE: 1,
    }


@pytest.mark.parametrize("name", ["movies_metadata.csv", "credits.csv"])
def test_metadata_that_is_a_pipe_is_refused_without_waiting(write, name):
    directory = write([film(1, "A", "1995-01-01")])
    (directory / name).unlink()
    os.mkfifo(directory / name)
    with pytest.raises(InputError, match=f"{name}: not a regular file"):
        check_metadata_files(directory)
    with pytest.raises(InputError, match=f"{name}: not a regular file"):
        join_metadata(catalogue("A (1995)"), directory)


@pytest.mark.parametrize("newline", ["\n", ""])
def test_a_quote_that_is_never_closed_is_refused_with_its_row(write, newline):
    directory = write([film(n, f"T{n}", "1995-01-01") for n in range(1, 20)])
    path = directory / "movies_metadata.csv"
    lines = path.read_text().splitlines()
    lines[5] = lines[5].replace("A film.", '"A film.')
    path.write_text("\n".join(lines) + newline)
    with pytest.raises(InputError, match=r"movies_metadata.csv, row 6: a quote is never closed"):
        join_metadata(catalogue("T1 (1995)"), directory)


def test_a_row_without_end_is_refused_before_it_is_read(write, monkeypatch):
    monkeypatch.setattr(metadata, "_MAX_ROW_BYTES", 1000)
    directory = write([film(1, "A", "1995-01-01"), film(2, "B", "1995-01-01", overview="x" * 999)])
    with pytest.raises(InputError, match=r"movies_metadata.csv, row 3: the line is longer than"):
        join_metadata(catalogue("A (1995)"), directory)
    # Lines of one quoted cell count together.
    lines = film(2, "B", "1995-01-01", overview="x\n" * 600)
    with pytest.raises(InputError, match=r"movies_metadata.csv, row \d+: the line is longer"):
        join_metadata(catalogue("A (1995)"), write([lines]))


def test_examples_give_row_and_value_at_most_three(write):
    films = [film(n, f"T{n}", "10/30/1995") for n in range(1, 6)]
    _, match = join_metadata(catalogue("T1 (1995)"), write(films))
    examples = match.log.file("movies_metadata.csv").examples[metadata.US_DATE]
    assert [example.row for example in examples] == [2, 3, 4]
    assert examples[0].found == "'10/30/1995'"


def test_text_with_line_breaks_in_quotes_is_one_row(write):
    films = [film(1, "A", "1995-01-01", overview='One\n\n"two",\nthree'), film(2, "B", "bad")]
    joined, match = join_metadata(catalogue("A (1995)"), write(films))
    assert joined["director"][0] == "Ann Smith"
    examples = match.log.file("movies_metadata.csv").examples
    assert examples[metadata.BAD_RELEASE_DATE][0].row == 6


@pytest.mark.parametrize("padded", [True, False], ids=["padded by a spreadsheet", "as it broke"])
def test_a_row_broken_across_lines_is_joined(write, padded):
    directory = write([film(1, "A", "1995-01-01"), film(2, "B", "1995-01-01")])
    path = directory / "movies_metadata.csv"
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    overview = MOVIE_COLUMNS.index("overview")
    halves = [[*cells[:overview], "Two"], ["lines", *cells[overview + 1 :]]]
    if padded:
        halves = [half + [""] * (len(MOVIE_COLUMNS) - len(half)) for half in halves]
    lines[1:2] = [",".join(half) for half in halves]
    path.write_text("\n".join(lines) + "\n")
    joined, match = join_metadata(catalogue("A (1995)", "B (1995)"), directory)
    assert joined["director"].tolist() == ["Ann Smith"] * 2
    dropped, repaired = counts(match)
    assert (dropped, repaired) == ({}, {metadata.BROKEN_ROW: 1})
    assert match.log.file("movies_metadata.csv").rows == 2


def test_a_byte_order_mark_and_blank_lines_are_tolerated(write):
    directory = write([film(1, "A", "1995-01-01")])
    path = directory / "movies_metadata.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\r\n")
    joined, _ = join_metadata(catalogue("A (1995)"), directory)
    assert joined["director"][0] == "Ann Smith"


@pytest.mark.parametrize("missing", ["movies_metadata.csv", "credits.csv"])
def test_one_file_without_the_other_is_refused_by_name(write, missing):
    directory = write([film(1, "A", "1995-01-01")])
    (directory / missing).unlink()
    with pytest.raises(InputError, match=f"missing: {missing}"):
        join_metadata(catalogue("A (1995)"), directory)


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such directory"):
        join_metadata(catalogue("A (1995)"), tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "column"),
    [("movies_metadata.csv", "original_title"), ("credits.csv", "crew")],
)
def test_a_missing_column_is_refused_by_name(write, name, column):
    directory = write([film(1, "A", "1995-01-01")])
    text = (directory / name).read_text()
    (directory / name).write_text(text.replace(column, "other", 1))
    with pytest.raises(InputError, match=f"{name}, row 1: missing column: {column}"):
        join_metadata(catalogue("A (1995)"), directory)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02" * 50, "not readable as CSV"),
        (",".join(MOVIE_COLUMNS).encode("utf-16"), "row 1|wrong encoding"),
    ],
)
def test_a_file_that_is_no_text_table_is_refused(write, content, message):
    directory = write([film(1, "A", "1995-01-01")])
    (directory / "movies_metadata.csv").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        join_metadata(catalogue("A (1995)"), directory)
    assert str(error.value).count("\n") <= 4


# Credits.


def test_the_first_director_and_the_lowest_order_count(write):
    row = {
        "cast": "[{'name': 'C', 'order': 2}, {'name': 'A \"Ace\" O\\'Hara', 'order': 1}]",
        "crew": "[{'job': 'director', 'name': 'W'}, {'job': 'Director', 'name': 'X'},"
        " {'job': 'Director', 'name': 'Y'}]",
        "id": "1",
    }
    directory = write([film(1, "A", "1995-01-01")], [row])
    joined, _ = join_metadata(catalogue("A (1995)"), directory)
    assert joined["director"][0] == "X"
    assert joined["star"][0] == 'A "Ace" O\'Hara'


@pytest.mark.parametrize(
    "cell", ["[]", "", "[{'order': 0}]", "[{'name': None}]", "[{'name': ' '}]"]
)
def test_nobody_in_credits_is_unknown(write, cell):
    row = {"cast": cell, "crew": cell, "id": "1"}
    directory = write([film(1, "A", "1995-01-01")], [row])
    joined, match = join_metadata(catalogue("A (1995)"), directory)
    assert (joined["director"][0], joined["star"][0]) == ("unknown", "unknown")
    assert (match.matched, match.directors, match.broken_literals) == (1, 0, 0)


def broken_credits(write, films, broken):
    rows = [credits_of(n) for n in range(films)]
    for row in rows[:broken]:
        row["cast"] = row["cast"][:-5]
    directory = write([film(n, f"T{n} x", "1995-01-01") for n in range(films)], rows)
    return join_metadata(catalogue(*(f"T{n} x (1995)" for n in range(films))), directory)


@pytest.mark.parametrize(("films", "broken"), [(2, 1), (100, 2)])
def test_few_broken_literals_are_counted_and_unknown(write, films, broken):
    joined, match = broken_credits(write, films, broken)
    assert match.broken_literals == broken
    assert (joined["star"] == "unknown").sum() == broken
    assert (joined["director"] == "unknown").sum() == 0
    assert match.log.file("credits.csv").examples[metadata.BROKEN_LITERAL][0].row == 2


@pytest.mark.parametrize(("films", "broken"), [(2, 2), (100, 3)])
def test_more_than_one_percent_of_broken_literals_is_refused(write, films, broken):
    with pytest.raises(InputError, match=r"credits.csv, row 2: broken literal") as error:
        broken_credits(write, films, broken)
    assert "expected: cast: a Python list" in str(error.value)
    assert "found:" in str(error.value)


def test_credits_of_other_films_stay_unread(write):
    rows = [credits_of(1), *({"cast": "[", "crew": "(", "id": str(n)} for n in range(2, 50))]
    _, match = join_metadata(catalogue("A (1995)"), write([film(1, "A", "1995-01-01")], rows))
    assert match.broken_literals == 0


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "[__import__('os')]",
        "{'name': 'A'}",
        "['A']",
        "[" * 100_000,
        "-" * 100_000 + "1",
        "[{'a': " * 150 + "1" + "}]" * 150,
        "1+" * 50_000 + "1",
        "[{'name': 'A'",
        "[{'name': [{}: 1]}]",
        "[{[]: 1}]",
        "[" + "0," * MAX_LITERAL_CHARS + "]",
        "[{'name': 'A\\N{no}'}]",
        '[{"name": "Bob}]',
    ],
    ids=lambda text: text[:20],
)
def test_hostile_or_broken_literals_are_value_errors(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_records(text)


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=5),
            st.none()
            | st.booleans()
            | st.integers(-(10**18) + 1, 10**18 - 1)
            | st.text(max_size=20),
            max_size=4,
        ),
        max_size=4,
    )
)
def test_whatever_python_prints_is_read_back(records):
    assert parse_records(repr(records)) == records


# Real data.


@pytest.fixture(scope="module")
def real():
    ratings, films = os.environ.get("MOVIELENS_DIR"), os.environ.get("MOVIES_METADATA_DIR")
    if not ratings or not films:
        pytest.skip("needs MOVIELENS_DIR and MOVIES_METADATA_DIR")
    movies = read_movies(Path(ratings))[0]
    began = time.process_time()
    joined, match = join_metadata(movies, Path(films))
    return joined, match, time.process_time() - began


def test_93_percent_of_the_real_movies_find_their_film(real):
    _, match, _ = real
    assert match.movies == 1_682
    assert match.matched / match.movies >= 0.93


def test_real_directors_and_stars_are_right(real):
    joined = real[0].set_index("movie_title")
    assert joined["director"]["Toy Story (1995)"] == "John Lasseter"
    assert joined["star"]["Toy Story (1995)"] == "Tom Hanks"
    assert joined["director"]["GoldenEye (1995)"] == "Martin Campbell"


def test_the_real_join_takes_less_than_a_second(real):
    assert real[2] < 1.0


def test_a_movie_with_an_id_of_the_movie_database_has_the_row_of_that_id_or_none(write):
    films = [film(1, "A", "1995-10-30"), film(2, "B", "1980-01-01"), film(3, "C", "1999-01-01")]
    names = [credits_of(1, director="One"), credits_of(2, director="Two"), credits_of(3)]
    directory = write(films, names)
    movies = catalogue("Another title (1995)", "C (1999)", "A (1995)")
    ids = movies["movie_id"].tolist()
    joined, match = join_metadata(movies, directory, tmdb_ids={ids[0]: 2, ids[1]: 77})
    assert joined["director"].tolist() == ["Two", "unknown", "One"]
    assert (match.matched, match.unmatched_titles) == (2, ("C (1999)",))
