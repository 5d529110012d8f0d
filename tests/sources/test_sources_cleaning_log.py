from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources import cleaning_log
from sources.cleaning_log import CleaningLog, LossLimits, RowExample
from sources.errors import InputError

reasons = st.sampled_from(
    [cleaning_log.RATING_RANGE, cleaning_log.UNKNOWN_USER, cleaning_log.INVALID_ZIP]
)
examples = st.builds(RowExample, st.none() | st.integers(1, 99), st.just("x"), st.text(max_size=2))


@st.composite
def reports(draw):
    found = CleaningLog()
    for _ in range(draw(st.integers(0, 3))):
        file = draw(st.sampled_from(["u.data", "u.user"]))
        found.read(file, draw(st.integers(0, 50)))
        found.drop(file, draw(reasons), draw(st.integers(0, 5)), draw(st.lists(examples)))
        found.lose(file, cleaning_log.AGE_RANGE, draw(st.integers(0, 5)), draw(st.lists(examples)))
        found.miss(file, "age", draw(st.integers(0, 5)))
        found.repair(
            file, cleaning_log.QUOTES_REMOVED, draw(st.integers(0, 5)), draw(st.lists(examples))
        )
    return found


def merged(*parts: CleaningLog) -> CleaningLog:
    total = CleaningLog()
    for part in parts:
        total.merge(part)
    return total


@given(reports(), reports(), reports())
def test_merging_gives_the_same_in_any_order_and_grouping(a, b, c):
    assert merged(a, b, c) == merged(c, a, b) == merged(merged(b, c), a)


@given(reports())
def test_a_report_survives_json_and_pickle(found):
    assert CleaningLog.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert pickle.loads(pickle.dumps(found)) == found


@given(reports(), reports())
def test_merging_leaves_the_other_report_as_it_was(a, b):
    before = b.to_json()
    merged(b, a).merge(a)
    assert b.to_json() == before


def test_only_the_first_three_examples_are_kept():
    found = CleaningLog()
    for row in (9, 4, 7, 5, 8):
        found.drop("u.data", cleaning_log.UNKNOWN_USER, 1, [RowExample(row, "a", "b")])
    assert [e.row for e in found.file("u.data").examples[cleaning_log.UNKNOWN_USER]] == [4, 5, 7]


def with_bad(bad: int, rows: int = 1000) -> CleaningLog:
    found = CleaningLog()
    found.read("u.data", rows)
    example = RowExample(17, "a rating from 1 to 5", "9")
    found.drop("u.data", cleaning_log.RATING_RANGE, bad, [example])
    return found


def test_one_percent_of_bad_rows_is_accepted():
    with_bad(10).check()


def test_more_than_one_percent_of_bad_rows_names_file_row_expected_found_and_action():
    with pytest.raises(InputError) as error:
        with_bad(11).check()
    message = str(error.value)
    assert "u.data, row 17: rating out of range; 11 of 1,000 rows are lost" in message
    assert "expected: a rating from 1 to 5" in message
    assert "found: 9" in message
    assert "what to do: rescale the ratings" in message
    assert len(message.splitlines()) <= 5


def test_the_first_bad_row_of_all_reasons_is_shown():
    found = with_bad(11)
    found.drop(
        "u.data",
        cleaning_log.UNKNOWN_USER,
        1,
        [RowExample(3, "a user that u.user lists", "user 9")],
    )
    with pytest.raises(InputError, match="u.data, row 3: unknown user"):
        found.check()


def test_repeats_of_a_table_in_parts_may_outnumber_the_rows_of_one():
    found = CleaningLog()
    for part in range(3):
        found.read(f"interactions/part-{part}.csv", 10)
    found.drop("interactions/", cleaning_log.EXACT_DUPLICATE, 25)
    found.check(LossLimits.of(0))
    found.read("empty.csv", 0)
    with pytest.raises(InputError, match="no row is left"):
        found.check()


def test_duplicates_and_what_an_option_drops_are_no_loss():
    found = CleaningLog()
    found.read("u.data", 100)
    for reason in (
        *(cleaning_log.EXACT_DUPLICATE, cleaning_log.SUPERSEDED, cleaning_log.INVALID_ZIP),
        *(cleaning_log.COUNTED, cleaning_log.REPEATED, cleaning_log.LEFT_OUT),
    ):
        found.drop("u.data", reason, 10)
    found.check(LossLimits.of(0))
    assert cleaning_log.asked_for(cleaning_log.INVALID_ZIP) == (
        "invalid zip code (asked for: --invalid-zip drop)"
    )


@pytest.mark.parametrize(
    "reason",
    [
        # Sorted: the order of a set differs between the processes that share the tests.
        *sorted(
            {
                value
                for name, value in vars(cleaning_log).items()
                if name.isupper() and isinstance(value, str) and " " in value
            }
            - {
                *(cleaning_log.EXACT_DUPLICATE, cleaning_log.SUPERSEDED, cleaning_log.INVALID_ZIP),
                *(cleaning_log.COUNTED, cleaning_log.REPEATED, cleaning_log.LEFT_OUT),
            }
        ),
        "user dropped: missing value",
        "a reason of tomorrow",
    ],
)
def test_whatever_else_drops_rows_or_values_has_a_limit(reason):
    for count in (CleaningLog.drop, CleaningLog.lose):
        found = CleaningLog()
        found.read("u.data", 1000)
        count(found, "u.data", reason, 10)
        found.check()
        count(found, "u.data", reason, 1)
        with pytest.raises(InputError, match="11 of 1,000 rows .* more than 1 %") as error:
            found.check()
        assert "or allow more with --max-loss" in str(error.value)
        found.check(LossLimits.of(0.011))


def test_values_lost_of_one_column_are_counted_together_and_of_several_apart():
    found = CleaningLog()
    found.read("u.user", 1000)
    found.lose("u.user", cleaning_log.AGE_RANGE, 6)
    found.lose("u.user", cleaning_log.CHARACTERS_LOST, 6)
    found.check()
    found.lose("u.user", cleaning_log.NON_NUMERIC_AGE, 6)
    with pytest.raises(InputError, match="12 of 1,000 rows lose their value"):
        found.check()


def test_missing_values_and_repairs_have_no_limit():
    found = CleaningLog()
    found.read("u.user", 65)
    found.miss("u.user", "gender", 58)
    found.repair("u.user", cleaning_log.CONTROLS_REMOVED, 65)
    found.check()
    for file, column, count, expected in (
        ("u.user", "gender", 58, "58 of 65 users have no gender"),
        ("u.item", "title", 1, "1 of 65 movies has no title"),
        ("customers.csv", "income", 18, "18 of 65 customers have no income"),
        ("Users-00001.csv.gz", "age", 2, "2 of 65 users have no age"),
        ("items/part-1.csv", "price", 2, "2 of 65 items have no price"),
        ("table2.csv", "price", 2, "2 of 65 rows have no price"),
    ):
        assert cleaning_log.describe_missing(file, column, count, 65) == expected


def test_the_limit_can_be_moved():
    with_bad(50).check(LossLimits(rows=0.05))
    with pytest.raises(InputError, match=r"50 of 1,000 rows are lost, more than 4.9 %"):
        with_bad(50).check(LossLimits(rows=0.049))


def test_a_file_with_no_row_left_is_refused():
    found = CleaningLog()
    found.read("u.user", 2)
    found.drop("u.user", cleaning_log.INVALID_ZIP, 2, [RowExample(1, "five digits", "'x'")])
    with pytest.raises(InputError, match=r"u.user, row 1: no row is left(.|\n)*2 invalid zip code"):
        found.check()


def test_bad_rows_without_an_example_are_refused_all_the_same():
    found = CleaningLog()
    found.read("u.data", 10)
    found.drop("u.data", cleaning_log.UNKNOWN_MOVIE, 1)
    with pytest.raises(InputError, match="u.data: unknown movie; 1 of 10 rows are lost"):
        found.check()
