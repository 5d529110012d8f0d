from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples
from raw_files import file_of, rating_rows, read_ratings

from sources import cleaning_log
from sources import ratings as reader
from sources.cleaning_log import BadRow, CleaningLog, LossLimits
from sources.errors import InputError
from sources.ratings import (
    KnownIds,
    RatingsChunk,
    chunk_ranges,
    read_ratings_chunk,
)
from sources.repeats import keep_latest_rating

GOOD = [
    b"1\t1\t5\t880000000",
    b"2\t7\t3.5\t880000001",
    b"3\t9\t1\t0",
    b"007\t010\t4.0\t880000000",
    b"1\t2\t3\t4102444799",
]
BAD = {
    b"1\t2\t3": cleaning_log.WRONG_COLUMNS,
    b"1\t2\t3\t880000000\t5": cleaning_log.WRONG_COLUMNS,
    b"1,2,3,880000000": cleaning_log.WRONG_COLUMNS,
    b"u1\t2\t3\t880000000": cleaning_log.NON_NUMERIC_ID,
    b"1\t0x1F\t3\t880000000": cleaning_log.NON_NUMERIC_ID,
    b"1\t1e3\t3\t880000000": cleaning_log.NON_NUMERIC_ID,
    b"1\t1.5\t3\t880000000": cleaning_log.NON_NUMERIC_ID,
    b"1\t9223372036854775808\t3\t880000000": cleaning_log.NON_NUMERIC_ID,
    b"1\t2\tgood\t880000000": cleaning_log.NON_NUMERIC_RATING,
    b"1\t2\t4,5\t880000000": cleaning_log.NON_NUMERIC_RATING,
    b"1\t2\tinf\t880000000": cleaning_log.NON_NUMERIC_RATING,
    b"1\t2\t3\tyesterday": cleaning_log.NON_NUMERIC_TIMESTAMP,
    b"1\t2\t3\t1997-09-20": cleaning_log.NON_NUMERIC_TIMESTAMP,
    b"1\t2\t0\t880000000": cleaning_log.RATING_RANGE,
    b"1\t2\t0.5\t880000000": cleaning_log.RATING_RANGE,
    b"1\t2\t5.5\t880000000": cleaning_log.RATING_RANGE,
    b"1\t2\t-3\t880000000": cleaning_log.RATING_RANGE,
    b"1\t2\t3\t-1": cleaning_log.TIMESTAMP_RANGE,
    b"1\t2\t3\t880000000000": cleaning_log.TIMESTAMP_RANGE,
    b"1\t2\t3\t4102444800": cleaning_log.TIMESTAMP_RANGE,
    b"1\t2\t\t880000000": cleaning_log.MISSING_VALUE,
    b"\t2\t3\t880000000": cleaning_log.MISSING_VALUE,
    b"1\t2\tNaN\t880000000": cleaning_log.MISSING_VALUE,
    b"1\t2\t3\t": cleaning_log.MISSING_VALUE,
    b"999\t2\t3\t880000000": cleaning_log.UNKNOWN_USER,
    b"-1\t2\t3\t880000000": cleaning_log.UNKNOWN_USER,
    b"1\t999\t3\t880000000": cleaning_log.UNKNOWN_MOVIE,
    b"900\t2\t3\t880000000": "invalid zip code",
    b"1\t901\t3\t880000000": "movie dropped: missing value",
    b"\x00\xff": cleaning_log.WRONG_COLUMNS,
}
REPAIRED = {
    b"b'1'\tb\"2\"\t'3'\t\"880000000\"": cleaning_log.QUOTES_REMOVED,
    b'"1\t2\t3\t880000000"': cleaning_log.QUOTES_REMOVED,
    b"1.0\t2\t3\t880000000.00": cleaning_log.DECIMAL_REMOVED,
}
DROPPED_IDS = {
    "dropped_users": {900: "invalid zip code"},
    "dropped_movies": {901: "movie dropped: missing value"},
}
UNCOUNTED = [b" 1\t2 \t+3\t880000000", b"", b"  "]

any_row = st.sampled_from([*GOOD, *BAD, *REPAIRED, *UNCOUNTED])
any_rows = st.lists(any_row, max_size=25)


def rows_of(chunk: RatingsChunk) -> list[tuple]:
    return list(zip(*(column.tolist() for column in chunk[:4]), strict=True))


def read_in_ranges(path, chunk_bytes: int) -> tuple[list[tuple], CleaningLog]:
    rows, total = [], CleaningLog()
    for start, end in chunk_ranges(path, chunk_bytes):
        chunk, found = read_ratings(path, start, end, **DROPPED_IDS)
        rows += rows_of(chunk)
        total.merge(found)
    return rows, total


def test_ratings_are_columns_in_file_order():
    with file_of(b"2\t7\t3.5\t880000001\n1\t1\t5\t880000000\n") as path:
        chunk, found = read_ratings(path)
    assert rows_of(chunk) == [(2, 7, 3.5, 880000001), (1, 1, 5.0, 880000000)]
    assert [column.dtype for column in chunk[:4]] == [np.int64, np.int64, np.float32, np.int64]
    assert found.to_json()["files"]["u.data"] == {
        "rows": 2,
        "dropped": {},
        "repaired": {},
        "values_lost": {},
        "missing": {},
        "examples": {},
    }


@given(any_rows, st.integers(1, 200), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
@examples(50)
def test_ranges_of_any_size_read_every_row_exactly_once(lines, chunk_bytes, newline, ends):
    data = newline.join(lines) + (newline if ends else b"")
    with file_of(data) as path:
        whole = read_in_ranges(path, len(data) + 1)
        parts = read_in_ranges(path, chunk_bytes)
        ranges = chunk_ranges(path, chunk_bytes)
    assert parts == whole
    assert [0, *(end for _, end in ranges)] == [*(start for start, _ in ranges), len(data)]


@given(any_rows)
@examples(25)
def test_a_row_means_the_same_whatever_stands_next_to_it(lines):
    """The reading by column and the reading by row agree."""
    with file_of(b"\n".join(lines) + b"\n") as path:
        together, found = read_ratings(path, **DROPPED_IDS)
    rows, total = [], CleaningLog()
    for line in lines:
        with file_of(line + b"\n") as path:
            alone, part = read_ratings(path, **DROPPED_IDS)
        rows += rows_of(alone)
        total.merge(part)
    assert rows == rows_of(together)
    for counts in ("rows", "dropped", "repaired"):
        together_counts = getattr(found.file("u.data"), counts)
        assert getattr(total.file("u.data"), counts) == together_counts


@given(any_rows)
def test_rows_read_are_rows_kept_and_rows_dropped(lines):
    with file_of(b"\n".join(lines)) as path:
        chunk, found = read_ratings(path, **DROPPED_IDS)
    counted = found.file("u.data")
    assert counted.rows == sum(1 for line in lines if line.strip())
    assert counted.rows == len(chunk.user_id) + sum(counted.dropped.values())


@pytest.mark.parametrize(("row", "reason"), BAD.items())
@pytest.mark.parametrize("chunk_bytes", [50, 10_000])
def test_a_bad_row_is_dropped_with_its_reason_and_row_number(row, reason, chunk_bytes):
    with file_of(b"\n".join([*GOOD, *GOOD, b"", row, *GOOD])) as path:
        rows, found = read_in_ranges(path, chunk_bytes)
    assert len(rows) == 15
    assert found.file("u.data").dropped == {reason: 1}
    (example,) = found.file("u.data").examples[reason]
    assert example.row == 12


@pytest.mark.parametrize(("row", "reason"), REPAIRED.items())
def test_a_repaired_row_is_kept_and_counted(row, reason):
    with file_of(b"\n".join([*GOOD, row])) as path:
        chunk, found = read_ratings(path)
    assert rows_of(chunk)[-1] == (1, 2, 3.0, 880000000)
    assert found.file("u.data").repaired == {reason: 1}
    assert found.file("u.data").examples[reason][0].row == 6


QUOTES = st.sampled_from(["{}", "'{}'", '"{}"', "b'{}'", 'b"{}"', " {}", "'{}", "{}.0"])


@given(st.tuples(QUOTES, QUOTES, QUOTES, QUOTES))
@examples(50)
def test_quotes_and_residue_around_any_value_do_not_change_it(quotes):
    fields = [quote.format(value) for quote, value in zip(quotes, (1, 2, 3, 4), strict=True)]
    with file_of("\t".join(fields).encode()) as path:
        chunk, found = read_ratings(path)
    assert rows_of(chunk) == [(1, 2, 3.0, 4)]
    quoted = any("'" in quote or '"' in quote for quote in quotes)
    decimals = any(quotes[i].endswith(".0") for i in (0, 1, 3))
    assert found.file("u.data").repaired == {
        reason: 1
        for reason, repaired in (
            (cleaning_log.QUOTES_REMOVED, quoted),
            (cleaning_log.DECIMAL_REMOVED, decimals),
        )
        if repaired
    }


def test_a_row_that_is_dropped_in_spite_of_its_repair_is_not_counted_as_repaired():
    with file_of(b"'999'\t2\t3\t880000000\n") as path:
        _, found = read_ratings(path)
    assert found.file("u.data").repaired == {}
    assert found.file("u.data").dropped == {cleaning_log.UNKNOWN_USER: 1}


def bad_ratings(row: bytes, name: str = "u.data") -> str:
    """The message of a file of which 2 in 102 rows are lost."""
    lines = [line.encode() for line in rating_rows(100)]
    with file_of(b"\n".join([*lines, row, row])) as path:
        _, found = read_ratings(path)
    with pytest.raises(InputError) as error:
        found.check()
    assert error.value.exit_code == 2
    message = str(error.value)
    assert len(message.splitlines()) <= 5
    assert f"{name}, row 101: " in message
    assert "2 of 102 rows are lost" in message
    return message


@pytest.mark.parametrize(
    ("row", "problem", "expected", "found", "action"),
    [
        (b"1\t2\t3", "wrong number of columns", "4 columns", r"'1\t2\t3'", "correct these rows"),
        (b"1\t2\t3\t4\t5", "wrong number of columns", "4 columns", r"\t5'", "correct these rows"),
        (b"x\t2\t3\t4", "non-numeric id", "a whole number as user id", "'x'", "number the users"),
        (b"1\ty\t3\t4", "non-numeric id", "a whole number as movie id", "'y'", "number the users"),
        (b"1\t2\tz\t4", "non-numeric rating", "a number", "'z'", "give the rating"),
        (b"1\t2\t3\tt", "non-numeric timestamp", "a time in seconds", "'t'", "seconds since 1970"),
        (b"1\t2\t9\t4", "rating out of range", "a rating from 1 to 5", "9", "rescale"),
        (
            b"1\t2\t3\t880000000000",
            "timestamp out of range",
            "before the year 2100",
            "880000000000 (milliseconds?)",
            "milliseconds / 1000",
        ),
        (
            b"999\t2\t3\t4",
            "unknown user",
            "a user that u.user lists",
            "user 999",
            "add the missing",
        ),
        (b"1\t999\t3\t4", "unknown movie", "a movie that u.item lists", "movie 999", "add the mis"),
    ],
)
def test_more_than_one_percent_of_bad_ratings_is_refused(row, problem, expected, found, action):
    message = bad_ratings(row)
    assert problem in message.splitlines()[0]
    assert expected in message.splitlines()[1]
    assert found in message.splitlines()[2]
    assert action in message.splitlines()[3]


def test_fewer_bad_ratings_are_counted():
    lines = [line.encode() for line in rating_rows(199)]
    with file_of(b"\n".join([*lines, b"1\t2\t3\tx"])) as path:
        chunk, found = read_ratings(path)
    found.check()
    assert len(chunk.user_id) == 199


def test_ratings_of_users_dropped_by_choice_are_not_bad():
    lines = [line.encode() for line in rating_rows(100)]
    with file_of(b"\n".join(lines)) as path:
        chunk, found = read_ratings(
            path,
            users=range(51, 201),
            dropped_users=dict.fromkeys(range(1, 51), "invalid zip code"),
        )
    found.check()
    assert len(chunk.user_id) == 50
    assert found.file("u.data").dropped == {"invalid zip code": 50}


@given(st.sets(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1))
@examples(40)
def test_ids_may_be_any_whole_numbers(ids):
    listed = sorted(ids)
    lines = [b"%d\t%d\t3\t880000000" % (i, i) for i in ids]
    with file_of(b"\n".join(lines)) as path:
        chunk, _ = read_ratings(path, users=ids, movies=ids)
        none, found = read_ratings(path, users=listed[1:], movies=ids)
    assert sorted(chunk.user_id.tolist()) == listed
    assert sorted(none.user_id.tolist()) == listed[1:]
    assert found.file("u.data").dropped == {cleaning_log.UNKNOWN_USER: 1}


def test_a_byte_order_mark_is_skipped():
    with file_of(b"\xef\xbb\xbf" + GOOD[0] + b"\nx\t1\t1\t1\n") as path:
        chunk, found = read_ratings(path)
    assert len(chunk.user_id) == 1
    assert found.file("u.data").examples[cleaning_log.NON_NUMERIC_ID][0].row == 2


def test_no_users_and_no_movies_make_every_rating_unknown():
    with file_of(b"\n".join(GOOD)) as path:
        chunk, found = read_ratings(path, users=[], movies=[])
    assert len(chunk.user_id) == 0
    assert found.file("u.data").dropped == {cleaning_log.UNKNOWN_USER: 5}


def test_an_empty_file_has_no_ranges_and_a_chunk_size_below_one_is_refused():
    with file_of(b"") as path:
        assert chunk_ranges(path, 10) == []
        with pytest.raises(ValueError, match="chunk_bytes must be at least 1, received 0"):
            chunk_ranges(path, 0)


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="u.data: cannot be read"):
        chunk_ranges(tmp_path / "u.data", 10)
    anything = KnownIds("", None)
    with pytest.raises(InputError, match="u.data: cannot be read"):
        read_ratings_chunk(tmp_path / "u.data", 0, 10, anything, anything)


# Duplicates.

ids = st.sampled_from([-(2**62), 1, 2, 3, 2**62])
ratings = st.lists(
    st.tuples(ids, ids, st.sampled_from([1.0, 2.5, 5.0]), st.integers(0, 3)), max_size=30
)


def chunk_of(rows) -> RatingsChunk:
    columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    types = (np.int64, np.int64, np.float32, np.int64)
    return RatingsChunk(*(np.array(c, t) for c, t in zip(columns, types, strict=True)))


@given(ratings)
def test_one_rating_of_each_pair_is_left_the_newest(rows):
    newest: dict = {}
    for user, movie, rating, time in rows:
        newest[user, movie] = max(newest.get((user, movie), (-1, 0)), (time, rating))
    chunk, exact, superseded = keep_latest_rating(chunk_of(rows))
    assert rows_of(chunk) == [(*pair, newest[pair][1], newest[pair][0]) for pair in sorted(newest)]
    assert exact == len(rows) - len(set(rows))
    assert superseded == len(set(rows)) - len(newest)


@given(ratings, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_change_what_is_left(rows, random):
    shuffled = random.sample(rows, len(rows))
    one, two = keep_latest_rating(chunk_of(rows)), keep_latest_rating(chunk_of(shuffled))
    assert (rows_of(one[0]), one[1:]) == (rows_of(two[0]), two[1:])


def test_a_byte_order_mark_before_a_row_does_not_matter():
    with file_of(b"1\t1\t3\t880000000\n\xef\xbb\xbf2\t1\t3\t880000000\n") as path:
        chunk, found = read_ratings(path)
    assert chunk.user_id.tolist() == [1, 2]
    assert found.file("u.data").repaired == {cleaning_log.QUOTES_REMOVED: 1}


def test_ratings_lost_with_their_users_count_as_lost():
    lines = [line.encode() for line in rating_rows(1000)]
    with file_of(b"\n".join(lines)) as path:
        _, found = read_ratings(
            path, users=range(4, 201), dropped_users=dict.fromkeys((1, 2, 3), "user dropped: x")
        )
    with pytest.raises(InputError, match="user dropped: x; 15 of 1,000 rows are lost, more than"):
        found.check()
    found.check(LossLimits.of(0.015))


def test_a_file_of_bad_rows_is_given_up_within_the_first_chunk(monkeypatch):
    read = []
    monkeypatch.setattr(reader, "_parse_odd_row", lambda data, form: read.append(1) or bad_row())
    good = "".join(f"{line}\n" for line in rating_rows(100)).encode()
    with (
        file_of(good + b"x\n" * 100_000) as path,
        pytest.raises(InputError, match="wrong number of columns; 10,000 of 100,101 rows are lost"),
    ):
        read_ratings(path)
    assert len(read) == 10_000


def bad_row():
    raise BadRow(cleaning_log.WRONG_COLUMNS, expected="4 columns", found="1")
