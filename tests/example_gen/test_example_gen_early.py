"""Own tables that no run can end well with are refused before anything is written."""

import pytest

from components.example_gen import early
from sources.cleaning_log import LossLimits
from sources.describe import describe
from sources.detect import detect
from sources.errors import InputError

HEADER = "user,item,stars,when\n"
ONE_EACH = "".join(f"u{i},i{i % 7},{i % 5 + 1},{10**9 + i}\n" for i in range(200))
MANY_EACH = "".join(f"u{i % 9},i{i // 9},{i % 5 + 1},{10**9 + i}\n" for i in range(200))
THREES = "".join(f"u{i % 9},i{i // 9},3,{10**9 + i}\n" for i in range(200))
CLICKS = "".join(f"u{i % 9},i{i // 9},click,{10**9 + i}\n" for i in range(200))


def check(tmp_path, text, toml="", header=HEADER, method="random", loss=0.01, test_time=None):
    (tmp_path / "plays.csv").write_text(header + text)
    if toml:
        (tmp_path / "data.toml").write_text(toml)
    table = detect(tmp_path / "plays.csv", tmp_path)
    early.check_early(table, method, 42, LossLimits.of(loss), test_time)


@pytest.mark.parametrize("most", [early.MOST_BYTES, 100], ids=["small", "large"])
@pytest.mark.parametrize("method", ["random", "temporal", "leave-one-out"])
def test_users_of_one_event_each_have_no_last_events_to_test_on(
    tmp_path, monkeypatch, most, method
):
    monkeypatch.setattr(early, "MOST_BYTES", most)
    if method == "random":
        check(tmp_path, ONE_EACH)
        return
    with pytest.raises(InputError, match=f"the {method} split .* leaves no ratings for validation"):
        check(tmp_path, ONE_EACH, method=method)
    check(tmp_path, MANY_EACH, method=method)


REFUSED = {
    "fewer ratings than splits": (
        {"text": "u,i,5,1000000000\nu,j,4,1000000001\n"}, "the random split .* leaves no ratings"
    ),
    "two seconds": (
        {"text": THREES.replace("10000000", "1000000"), "method": "timeline", "test_time": 1},
        "the timeline split .* leaves no events",
    ),
    "one value on a given scale": (
        {"text": THREES, "toml": "scale = [1, 5]\n"}, r'every rating is 3(.|\n)*rating = ""'
    ),
    "one event a pair, counted": (
        {"text": THREES, "toml": 'repeats = "count"\n'},
        r'of weight 1(.|\n)*change.* repeats = "latest"',
    ),
    "zeros for times": (
        {"text": "u,i,3,0\nu,j,4,0\n"},
        r'when are all in 1970(.|\n)*no time at all(.|\n)*write these two(.|\n)*time = ""',
    ),
    "years for times": (
        {"text": "u,i,3,1999\nu,j,4,2024\n"}, "'1999', which looks like a year"
    ),
    "days of a spreadsheet for times": (
        {"text": "u,i,3,45289\nu,j,4,45290\n"}, "the number of a day in a spreadsheet"
    ),
    "years for times, with a description": (
        {"text": "u,i,3,1999\nu,j,4,2024\n", "toml": '[columns]\ntime = "when"\n'},
        r'change the line of time below \[columns\] in .* to:\n    time = ""$',
    ),
    "times after 2100": (
        {"text": "u,i,3,11703876021\nu,j,4,11703876022\n"}, "seconds after the year 2100"
    ),
    "too much unreadable": (
        {"text": MANY_EACH + "u,i,good,1\n" * 50}, "--max-loss"
    ),
}  # fmt: skip


@pytest.mark.parametrize("most", [early.MOST_BYTES, 100], ids=["small", "large"])
@pytest.mark.parametrize("column", [0, 1, (0, 1)], ids=["users", "items", "both"])
def test_events_that_say_nothing_of_what_else_users_choose_are_refused(
    tmp_path, monkeypatch, most, column
):
    monkeypatch.setattr(early, "MOST_BYTES", most)
    rows = [line.split(",") for line in MANY_EACH.splitlines()]
    for number, row in enumerate(rows):
        row[:2] = f"u{number}", f"i{number}"
        if column in (0, 1):
            row[column] = "only"
    message = {
        0: "there is one user: nothing can be learned",
        1: "there is one song: nothing can be learned",
        (0, 1): "every user and every song has one event: nothing can be learned",
    }[column]
    text = "".join(",".join(row) + "\n" for row in rows)
    with pytest.raises(InputError, match=message):
        check(tmp_path, text, toml='item_noun = "song"\n')


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED)
def test_what_no_run_can_end_well_with_is_refused(tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        check(tmp_path, **given)


@pytest.mark.parametrize("table", ["users", "items"])
def test_a_file_of_which_no_id_has_an_event_is_refused(tmp_path, table):
    (tmp_path / f"{table}.csv").write_text("id,title\n001,A\n002,B\n")
    (tmp_path / "interactions.csv").write_text(
        "user,item,when\n" + "".join(f"{i % 9},{i // 9},{10**9 + i}\n" for i in range(200))
    )
    adapter = detect(tmp_path, tmp_path)
    with pytest.raises(InputError, match=f"none of the 2 ids of {table}.csv has an event"):
        early.check_early(adapter, "random", 42, LossLimits())
    with (tmp_path / f"{table}.csv").open("a") as file:
        file.write("3,C\n")
    early.check_early(adapter, "random", 42, LossLimits())
    odd = "\n".join(describe(tmp_path, tmp_path))
    seen = {"users": 9, "items": 23}[table]
    assert f"  {table}.csv: 2 of its 3 ids have no event; ids are compared as text" in odd
    assert f"  {table}.csv: {seen - 1} of {seen} {table} with events have no row; ids are" in odd


@pytest.mark.parametrize(
    "time",
    [
        lambda i: i,
        lambda i: 60_000 + 3600 * i,
        lambda i: f"1970-01-{1 + i % 9:02}",
        lambda i: f"1970-01-01T0{i % 9}:00:00Z",
        lambda i: 19_700_101 + i % 9,
        lambda i: "1970-01-01",
    ],
    ids=["rows", "seconds", "days", "moments", "compact", "one day"],
)
def test_times_in_1970_that_may_be_meant_are_odd_and_not_refused(tmp_path, time):
    check(tmp_path, "".join(f"u{i % 9},i{i // 9},{i % 5 + 1},{time(i)}\n" for i in range(200)))
    [odd] = detect(tmp_path / "plays.csv", tmp_path).odd()
    assert "200 of 200 times are in 1970" in odd


def test_what_a_run_can_end_well_with_is_not_refused(tmp_path):
    check(tmp_path, MANY_EACH + "u,i,good,1\n" * 50, loss=0.5)
    check(tmp_path, THREES)  # without a scale: events without ratings
    check(tmp_path, MANY_EACH, method="timeline")
    check(tmp_path, CLICKS, header="user,item,event,when\n", toml="[events]\nclick = 1\n")
