"""Tables and headings of the page: how values are shown, what is linked, what is refused."""

import math

import pytest

from components.report.page import Chart, Link, Note, Section, Table, Text, render, shown


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (20050, ".4f", "20,050"),
        (20050.0, ".4f", "20,050"),
        (0.5, ".4f", "0.5000"),
        (1.0, ".4f", "1.0000"),
        (1995, "d", "1995"),
        (4.0, "g", "4"),
        (3.5, "g", "3.5"),
        (0.182, ".1%", "18.2\u00a0%"),
        (1, ".1%", "100.0\u00a0%"),
        (1234.5, None, "1,234.50"),
        (-0.02, "+.4f", "-0.0200"),
        (True, None, "yes"),
        (None, ".4f", "–"),
        (math.nan, ".4f", "–"),
        ("text", ".4f", "text"),
        ((Link("a", "x"), Link("b", "y")), None, "a, b"),
    ],
)
def test_a_value_is_shown_in_its_columns_format(value, form, text):
    assert shown(value, form) == text


def page_of(*blocks):
    return render("t", "s", Note("v"), (Section("section", "lead", (), blocks),))


def test_rows_have_anchors_that_links_of_other_rows_lead_to():
    rows = [
        {"Component": "Trainer", "Uses": (Link("RatingsGen", "runs-RatingsGen"),)},
        {"Component": "RatingsGen", "Uses": ()},
    ]
    html = page_of(Table("runs", "Runs", rows, anchored="Component"))
    assert '<tr id="runs-RatingsGen">' in html
    assert '<a href="#runs-RatingsGen">RatingsGen</a>' in html


def test_a_long_text_is_whole_below_its_beginning():
    long = "word " * 60
    html = page_of(Table("texts", "Texts", [{"Value": long}, {"Value": "short"}]))
    assert f"</summary>{long}</details>" in html
    assert html.count("<details>") == 1


def test_headings_of_a_section_are_linked_at_its_head():
    html = page_of(Text("At the next visit"), Text("In session"))
    assert '<a href="#at-the-next-visit">At the next visit</a>' in html
    assert '<h3 id="in-session">In session</h3>' in html


def test_two_blocks_of_one_key_are_refused():
    spec = {"data": {"values": []}, "height": 100}
    chart = Chart("same", "Title", "Reading.", spec)
    with pytest.raises(ValueError, match="received same twice"):
        page_of(chart, Table("same", "Caption", []))


def test_rows_of_different_columns_are_refused():
    with pytest.raises(ValueError, match=r"table t: expected the columns \('a',\)"):
        Table("t", "Caption", [{"a": 1}, {"b": 2}])
