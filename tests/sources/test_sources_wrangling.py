from __future__ import annotations

import calendar
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema import features
from sources import wrangling

plain_text = (
    st.text(
        st.characters(
            blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), blacklist_characters="'\"\\"
        ),
        min_size=1,
    )
    .map(str.strip)
    .filter(bool)
)


def wrap(text: str, kinds: list[str]) -> str:
    for kind in kinds:
        text = kind.format(text)
    return text


WRAPPINGS = ["b'{}'", 'b"{}"', "'{}'", '"{}"', " {} ", "{}\t"]


@given(plain_text, st.lists(st.sampled_from(WRAPPINGS), max_size=4))
def test_any_nesting_of_residue_quotes_and_blanks_is_removed(text, kinds):
    assert wrangling.clean_text(wrap(text, kinds)) == text


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text):
    once = wrangling.clean_text(text)
    assert wrangling.clean_text(once) == once
    token = wrangling.clean_token(text)
    assert wrangling.clean_token(token) == token


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("'Til There Was You (1997)", "'Til There Was You (1997)"),
        ("'Schindler's List (1993)'", "Schindler's List (1993)"),
        ('b"Schindler\'s List (1993)"', "Schindler's List (1993)"),
        ('"Weird Al" and "Wonderful"', '"Weird Al" and "Wonderful"'),
        ('"He said ""no"" (1990)"', 'He said "no" (1990)'),
        (r"b'Mis\xc3\xa9rables, Les (1995)'", "Misérables, Les (1995)"),
        (r"b'Mis\xe9rables, Les (1995)'", "Misérables, Les (1995)"),
        (r"b'broken \x'", r"broken \x"),
        ("b", "b"),
        ("'", "'"),
        ("", ""),
    ],
)
def test_quotes_that_belong_to_a_text_stay(raw, clean):
    assert wrangling.clean_text(raw) == clean


def test_a_token_loses_a_single_quote_at_its_ends():
    assert wrangling.clean_token("'85711") == "85711"


@given(
    st.sampled_from(["True", "true", "TRUE", "T", "M", "m", "Male", "male", "MALE", "1", "1.0"]),
    st.lists(st.sampled_from(WRAPPINGS), max_size=2),
)
def test_every_spelling_of_male_becomes_male(spelling, kinds):
    assert wrangling.normalize_gender(wrap(spelling, kinds)) == "Male"


@given(
    st.sampled_from(["False", "false", "F", "f", "Female", "female", "FEMALE", "0", "0.0"]),
    st.lists(st.sampled_from(WRAPPINGS), max_size=2),
)
def test_every_spelling_of_female_becomes_female(spelling, kinds):
    assert wrangling.normalize_gender(wrap(spelling, kinds)) == "Female"


def test_a_gender_that_is_not_recognised_is_cleaned_and_kept():
    assert wrangling.normalize_gender("b'nonbinary' ") == "nonbinary"


@given(st.integers(0, 99_999))
def test_five_digits_are_a_valid_zip_code(number):
    assert wrangling.is_valid_zip(f"{number:05d}")


@pytest.mark.parametrize(
    "code", ["", "8571", "857111", "T8H1N", "85711-1234", "８５７１１", "85711\n"]
)
def test_anything_but_five_digits_is_no_valid_zip_code(code):
    assert not wrangling.is_valid_zip(code)


def test_every_movielens_occupation_has_the_label_of_tensorflow_datasets():
    labels = {
        "administrator": 2, "artist": 1, "doctor": 4, "educator": 0, "engineer": 18,
        "entertainment": 5, "executive": 6, "healthcare": 4, "homemaker": 8, "lawyer": 9,
        "librarian": 10, "marketing": 14, "none": 11, "other": 11, "programmer": 12,
        "retired": 13, "salesman": 14, "scientist": 15, "student": 17, "technician": 18,
        "writer": 21,
    }  # fmt: skip
    assert {name: wrangling.occupation_label(name) for name in labels} == labels


def test_an_occupation_of_ones_own_has_no_label():
    assert wrangling.occupation_label("astronaut") is None


@given(st.floats(0, 200))
def test_an_age_lies_in_the_bucket_that_its_lower_bound_names(age):
    bucket = wrangling.age_bucket(age)
    above = [bound for bound in features.AGE_BUCKETS if bound > bucket]
    assert bucket in features.AGE_BUCKETS
    assert bucket <= max(age, 1)
    assert not above or age < above[0]


@pytest.mark.parametrize(
    ("age", "bucket"), [(0.5, 1), (17.9, 1), (18, 18), (49, 45), (56, 56), (120, 56)]
)
def test_bounds_of_age_buckets_belong_to_the_upper_bucket(age, bucket):
    assert wrangling.age_bucket(age) == bucket


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Toy Story (1995)", ("Toy Story", 1995)),
        ("Land Before Time III (1995) (V)", ("Land Before Time III", 1995)),
        ("Scream of Stone (Schrei aus Stein) (1991)", ("Scream of Stone (Schrei aus Stein)", 1991)),
        ("2001: A Space Odyssey (1968) ", ("2001: A Space Odyssey", 1968)),
        ("Rome (2005-2007)", ("Rome", 2005)),
        ("Rome (2005–)", ("Rome", 2005)),
        ("unknown", ("unknown", None)),
        ("Room (1408)", ("Room (1408)", None)),
        ("", ("", None)),
    ],
)
def test_a_title_is_split_into_text_and_year(title, expected):
    assert wrangling.split_title(title) == expected


@given(st.dates(datetime.date(1000, 1, 1)))
def test_a_release_date_is_read_in_any_year_as_utc(day):
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    text = f"{day.day:02d}-{months[day.month - 1]}-{day.year}"
    assert wrangling.parse_release_date(text) == day
    assert wrangling.parse_release_date(f"b'{day.isoformat()}'") == day
    assert wrangling.unix_seconds(day) == calendar.timegm(day.timetuple())


def test_release_dates_before_1970_are_negative_seconds():
    assert wrangling.unix_seconds(datetime.date(1969, 12, 31)) == -86_400


@pytest.mark.parametrize("text", ["", "  ", "nan", "''"])
def test_a_blank_release_date_is_missing(text):
    assert wrangling.parse_release_date(text) is None


@pytest.mark.parametrize("text", ["31-Feb-1995", "01-Foo-1995", "1/2/1995", "01-Jan-95", "soon"])
def test_an_unreadable_release_date_is_refused_with_what_was_expected(text):
    with pytest.raises(ValueError, match="expected a date|day is out|not in tuple"):
        wrangling.parse_release_date(text)


def test_the_year_comes_from_the_release_date_and_else_from_the_title():
    assert wrangling.release_year(datetime.date(1996, 3, 8), "Scream (1991)") == 1996
    assert wrangling.release_year(None, "Scream (1991)") == 1991
    assert wrangling.release_year(None, "Scream") is None


@given(st.integers(-(10**30), 10**30))
def test_whole_numbers_are_read_with_and_without_decimals_of_zero(number):
    assert wrangling.parse_whole_number(str(number)) == number
    assert wrangling.parse_whole_number(f"{number}.00") == number


@pytest.mark.parametrize(
    "text", ["", "x", "1.5", "1_000", "0x1F", "1e3", "１", " 1", "--1", "9" * 99]
)
def test_what_python_alone_would_take_for_a_whole_number_is_none(text):
    assert wrangling.parse_whole_number(text) is None


@pytest.mark.parametrize("text", ["", "inf", "nan", "1_0", "4,5", "0x1", "."])
def test_what_is_not_a_finite_decimal_number_is_none(text):
    assert wrangling.parse_number(text) is None
