from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data import report
from components.data.report import RowExample, WranglingReport
from components.errors import InputError

reasons = st.sampled_from([report.RATING_RANGE, report.UNKNOWN_USER, report.INVALID_ZIP])
examples = st.builds(RowExample, st.none() | st.integers(1, 99), st.just("x"), st.text(max_size=2))


@st.composite
def reports(draw):
    found = WranglingReport()
    for _ in range(draw(st.integers(0, 3))):
        file = draw(st.sampled_from(["u.data", "u.user"]))
        found.read(file, draw(st.integers(0, 50)))
        found.drop(file, draw(reasons), draw(st.integers(0, 5)), draw(st.lists(examples)))
        found.repair(file, report.QUOTES_REMOVED, draw(st.integers(0, 5)), draw(st.lists(examples)))
    return found


def merged(*parts: WranglingReport) -> WranglingReport:
    total = WranglingReport()
    for part in parts:
        total.merge(part)
    return total


@given(reports(), reports(), reports())
def test_merging_gives_the_same_in_any_order_and_grouping(a, b, c):
    assert merged(a, b, c) == merged(c, a, b) == merged(merged(b, c), a)


@given(reports())
def test_a_report_survives_json_and_pickle(found):
    assert WranglingReport.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert pickle.loads(pickle.dumps(found)) == found


@given(reports(), reports())
def test_merging_leaves_the_other_report_as_it_was(a, b):
    before = b.to_json()
    merged(b, a).merge(a)
    assert b.to_json() == before


def test_only_the_first_three_examples_are_kept():
    found = WranglingReport()
    for row in (9, 4, 7, 5, 8):
        found.drop("u.data", report.UNKNOWN_USER, 1, [RowExample(row, "a", "b")])
    assert [e.row for e in found.file("u.data").examples[report.UNKNOWN_USER]] == [4, 5, 7]


def with_bad(bad: int, rows: int = 1000) -> WranglingReport:
    found = WranglingReport()
    found.read("u.data", rows)
    example = RowExample(17, "a rating from 1 to 5", "9")
    found.drop("u.data", report.RATING_RANGE, bad, [example])
    return found


def test_one_percent_of_bad_rows_is_accepted():
    with_bad(10).check()


def test_more_than_one_percent_of_bad_rows_names_file_row_expected_found_and_action():
    with pytest.raises(InputError) as error:
        with_bad(11).check()
    message = str(error.value)
    assert "u.data, row 17: rating out of range; 11 of 1,000 rows are bad" in message
    assert "expected: a rating from 1 to 5" in message
    assert "found: 9" in message
    assert "what to do: rescale the ratings" in message
    assert len(message.splitlines()) <= 5


def test_the_first_bad_row_of_all_reasons_is_shown():
    found = with_bad(11)
    found.drop(
        "u.data", report.UNKNOWN_USER, 1, [RowExample(3, "a user that u.user lists", "user 9")]
    )
    with pytest.raises(InputError, match="u.data, row 3: unknown user"):
        found.check()


def test_ordinary_cleanup_is_never_bad():
    found = WranglingReport()
    found.read("u.data", 100)
    for reason in (
        report.EXACT_DUPLICATE,
        report.SUPERSEDED,
        report.INVALID_ZIP,
        report.MISSING_VALUE,
    ):
        found.drop("u.data", reason, 20)
    assert found.bad_share("u.data") == 0
    found.check()


def test_the_limit_can_be_moved():
    assert with_bad(50).bad_share("u.data") == pytest.approx(0.05)
    with_bad(50).check(max_bad_share=0.05)


def test_a_file_that_nothing_was_read_of_has_no_bad_share():
    assert WranglingReport().bad_share("u.data") == 0


def test_a_file_with_no_row_left_is_refused():
    found = WranglingReport()
    found.read("u.user", 2)
    found.drop("u.user", report.INVALID_ZIP, 2, [RowExample(1, "five digits", "'x'")])
    with pytest.raises(InputError, match=r"u.user, row 1: no row is left(.|\n)*2 invalid zip code"):
        found.check()


def test_bad_rows_without_an_example_are_refused_all_the_same():
    found = WranglingReport()
    found.read("u.data", 10)
    found.drop("u.data", report.UNKNOWN_MOVIE, 1)
    with pytest.raises(InputError, match="u.data: unknown movie; 1 of 10 rows are bad"):
        found.check()
