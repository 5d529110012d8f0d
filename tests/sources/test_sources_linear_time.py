"""Whatever a file holds, reading it takes time in proportion to its size."""

from __future__ import annotations

import contextlib
import csv
import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from raw_files import file_of, read_ratings, write_raw

from sources import metadata, wrangling
from sources.cleaning_log import CleaningLog, LossLimits
from sources.errors import InputError
from sources.literals import parse_records
from sources.metadata import join_metadata
from sources.tables import read_movies, read_users
from sources.titles import normalise_title, title_keys

pytestmark = pytest.mark.slow

ANYTHING = LossLimits.of(1.0)
LEAST_SECONDS = 0.02
"""A shorter time says more about the clock than about the code."""

MAX_RATIO = 20.0


def seconds(call: Callable[[], object]) -> float:
    """Processor time of a call, the shorter one of two; refusing counts as well."""
    found = []
    for _ in range(2):
        started = time.process_time()
        with contextlib.suppress(ValueError, InputError):
            call()
        found.append(time.process_time() - started)
    return min(found)


def check_linear(make: Callable[[int], object], use: Callable[[object], object], size: int) -> None:
    """Ten times the input may take at most twenty times the processor time."""
    small, large = make(size), make(10 * size)
    seconds(lambda: use(make(10)))  # what is made once only, such as imports
    before = max(seconds(lambda: use(small)), LEAST_SECONDS)
    after = seconds(lambda: use(large))
    assert after <= MAX_RATIO * before, f"{before:.3f} s, then {after:.3f} s"


LITERALS = {
    "digits and a letter": lambda n: "[{'a': " + "9" * n + "x}]",
    "many numbers and a letter": lambda n: "[{'a': [" + "1234567890 " * (n // 11) + "x]}]",
    "dots": lambda n: "[{'a': " + "1.1" * (n // 3) + "}]",
    "a string without an end": lambda n: "'" + r"\'" * (n // 2),
    "strings without an end, line by line": lambda n: "'\n" * (n // 2),
    "both quotes in turn": lambda n: "'\"" * (n // 2) + "\n",
    "backslashes": lambda n: "[{'a': 1}" + "\\" * n,
    "empty strings": lambda n: "[{'a': [" + "''," * (n // 3) + "]}]",
    "strings side by side": lambda n: "[{'a': " + "'' " * (n // 3) + "}]",
    "blanks": lambda n: "[{'a': ''" + " " * n + "''}]",
    "opening brackets": lambda n: "[" * n,
    "brackets that never close": lambda n: "[" + "{}," * (n // 3),
    "keys": lambda n: "[{" + "".join(f"{k}: 0," for k in range(n // 10)) + "}]",
    "escapes": lambda n: "[{'a': '" + r"\x41" * (n // 4) + "'}]",
    "letters": lambda n: "[" + "None" * (n // 4) + "]",
}


@pytest.mark.parametrize("make", LITERALS.values(), ids=LITERALS)
def test_literals(make):
    check_linear(make, parse_records, 20_000)


TEXTS = {
    "quotes": lambda n: "'" * n,
    "quotes in turn": lambda n: "'\"" * (n // 2) + "\"'" * (n // 2),
    "byte strings within each other": lambda n: "b'" * (n // 3) + "'" * (n // 3),
    "byte strings with an escape": lambda n: "b'" * (n // 3) + "\\x41" + "'" * (n // 3),
    "blanks and quotes": lambda n: "' " * (n // 4) + " '" * (n // 4),
    "blanks": lambda n: "x" + " " * n + "x",
    "digits and a letter": lambda n: "9" * n + "x",
    "digits, a dot and a letter": lambda n: "9" * (n // 2) + "." + "9" * (n // 2) + "x",
    "years": lambda n: "(1995" * (n // 5),
    "a year and blanks": lambda n: "(1995" + " " * n + "-",
    "opening brackets": lambda n: "(" * n,
    "a bracket of blanks": lambda n: "(" + " " * n + "x)",
    "commas": lambda n: "a, the" * (n // 6) + "x",
    "commas and blanks": lambda n: "a ,  the" * (n // 8) + "\nx",
    "owners and a line break": lambda n: "a's " * (n // 4) + "\nx",
    "accents out of order": lambda n: "a" + "\u0316\u0301" * (n // 2),
    "half an alias": lambda n: "(" + " a k a" * (n // 6) + ")",
    "mojibake": lambda n: "Ã©" * (n // 2) + "é",
    "controls": lambda n: "\x1b" * n,
}
READERS = {
    "clean_text": wrangling.clean_text,
    "clean_token": wrangling.clean_token,
    "parse_number": wrangling.parse_number,
    "parse_whole_number": wrangling.parse_whole_number,
    "parse_release_date": wrangling.parse_release_date,
    "normalize_gender": wrangling.normalize_gender,
    "split_title": wrangling.split_title,
    "title_keys": title_keys,
    "a date of metadata": lambda text: metadata._parse_year(
        text, metadata._Row(1, []), CleaningLog()
    ),
    "is it a date": metadata._is_date,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_values(read):
    for make in TEXTS.values():
        check_linear(make, read, 6_000)


def test_a_date_with_blanks_and_a_line_break():
    for make in (
        lambda n: "1995-01-01T" + " " * n + "\nx",
        lambda n: "1/1/1995 " + " " * n + "\nx",
        lambda n: " " * n + "1995-01-01 x\n" + " " * n + "x",
    ):
        check_linear(make, metadata._is_date, 6_000)


def test_titles_are_normalised_in_linear_time_up_to_the_length_that_is_compared():
    long = "a" + "\u0316\u0301" * 500_000
    assert seconds(lambda: title_keys(long)) < 10 * max(
        seconds(lambda: normalise_title(long[:1000])), LEAST_SECONDS
    )


ROWS = {
    "no columns": "x\n",
    "too many columns": "1" + "|" * 30 + "\n",
    "wrong ids": "x|Film (1995)|||u|0|1|0\n",
    "wrong flags": "{n}|Film (1995)|||u|0|1|x\n",
    "wrong dates": "{n}|Film (1995)|soon||u|0|1|0\n",
    "quotes": "'{n}'|\"'Film (1995)'\"|||u|0|'1'|0\n",
    "control characters": "{n}|\x1bFilm\x07 (1995)|||u|0|1|0\n",
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_tables_of_odd_rows(tmp_path, row):
    def write(size):
        directory = tmp_path / str(size)
        directory.mkdir(exist_ok=True)
        write_raw(directory)
        text = "".join(row.replace("{n}", str(1000 + n)) for n in range(size))
        with (directory / "u.item").open("ab") as file:
            file.write(text.encode())
        return directory

    check_linear(write, lambda directory: read_movies(directory, ANYTHING), 800)


def test_a_row_of_one_endless_value(tmp_path):
    for value in ("b'" * 10, "'\"", "9"):

        def write(size, value=value):
            directory = tmp_path / str(size)
            directory.mkdir(exist_ok=True)
            row = f"300|{value * (size // len(value))}|M|writer|1"
            return write_raw(directory, users=[row])

        check_linear(write, lambda directory: read_users(directory, "keep", ANYTHING), 50_000)


@pytest.mark.parametrize(
    "row",
    [
        b"x",
        b"1\t2\t3",
        b"'1'\t'2'\t'3'\t'880000000'",
        b"b'1\t2\t3\t4",
        b"1.0\t2.0\t3\t880000000",
        b"1\t2\t3\t" + b"9" * 300 + b"x",
        b"\xff\t\xff\t\xff\t\xff",
        b"",
    ],
)
def test_ratings_of_odd_rows(row):
    def use(data):
        with file_of(data) as path:
            read_ratings(path)

    check_linear(lambda size: (row + b"\n") * size, use, 2_000)


def test_one_endless_row_of_ratings():
    def use(data):
        with file_of(data) as path:
            read_ratings(path)

    for value in (b"9", b"'", b"b'", b" ", b"1\t"):
        check_linear(lambda size, value=value: value * (size // len(value)), use, 100_000)  # type: ignore[misc]


def table(columns, rows):
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()


FILMS = {
    "lines of one cell": lambda n: "x\n" * n,
    "quoted cells": lambda n: '"' + "a,\n" * n + '"\n',
    "quotes": lambda n: '"' * n + "\n",
    "blank rows": lambda n: ",,,,\n" * n,
    "padded halves": lambda n: "1,A,,,\n1995-01-01,5,,,\n" * (n // 2),
}


@pytest.mark.parametrize("make", FILMS.values(), ids=FILMS)
def test_films_of_metadata(tmp_path, make):
    (tmp_path / "credits.csv").write_text(table(["cast", "crew", "id"], []))
    movies = read_movies(write_raw(tmp_path))[0]

    def use(text):
        header = "id,title,original_title,release_date,vote_count\n"
        (tmp_path / "movies_metadata.csv").write_text(header + text)
        join_metadata(movies, tmp_path, ANYTHING)

    check_linear(make, use, 3_000)


def test_ids_that_are_far_apart():
    rng = np.random.default_rng(0)

    def use(data):
        with file_of(data) as path:
            read_ratings(path, users=range(1, 10**6, 1000), movies=range(1, 10**6, 1000))

    def make(size):
        ids = rng.integers(1, 10**15, [size, 2])
        return b"".join(b"%d\t%d\t3\t880000000\n" % (u, m) for u, m in ids.tolist())

    check_linear(make, use, 5_000)
