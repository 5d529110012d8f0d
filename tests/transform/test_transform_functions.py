"""The steps of the preprocessing graph, each as a function of its own, against Python."""

import bisect
import datetime
import itertools
import re
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis_profiles import examples

from schema import features as raw
from schema import us_states
from sources import wrangling
from transform import outputs, preprocessing

TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
TEXTS = st.lists(TEXT, min_size=1, max_size=20)
# From the year 1 to the year 9999, which is as far as Python's datetime goes.
SECONDS = st.lists(st.integers(-62_135_596_800, 253_402_300_799), min_size=1, max_size=20)

relaxed = examples(50)


def strings(values):
    return [value.decode("utf-8") for value in values.numpy().tolist()]


@given(SECONDS)
@example([0, -1, 86_399, 86_400, 951_782_399, 951_782_400])
@relaxed
def test_hour_and_weekday_are_those_of_the_calendar(seconds):
    epoch = datetime.datetime(1970, 1, 1)
    dates = [epoch + datetime.timedelta(seconds=second) for second in seconds]
    times = tf.constant(seconds, tf.int64)
    hours, weekdays = preprocessing.hour_of_day(times), preprocessing.day_of_week(times)
    assert hours.numpy().tolist() == [date.hour for date in dates]
    assert weekdays.numpy().tolist() == [date.weekday() for date in dates]


@given(st.lists(st.one_of(st.from_regex(r"\s?[0-9]{4,6}\s?", fullmatch=True), TEXT), min_size=1))
@example(["55105", " 94043 ", "T8H1N", "1234", "123456", "94043-1234", "", "٥٥١٠٥", "12345\n"])
@relaxed
def test_only_five_digits_survive_as_a_zip_code(codes):
    found = strings(preprocessing.clean_zip_code(tf.constant(codes)))
    ascii_space = " \t\n\r\x0b\x0c"
    expected = [
        code.strip(ascii_space) if re.fullmatch("[0-9]{5}", code.strip(ascii_space)) else "unknown"
        for code in codes
    ]
    assert found == expected


def test_zip_prefix_is_the_first_three_digits_or_unknown():
    codes = tf.constant(["55105", "00501", raw.UNKNOWN])
    assert strings(preprocessing.zip_prefix(codes)) == ["551", "005", raw.UNKNOWN]


def test_the_state_of_every_zip_code_is_the_one_of_the_table():
    codes = [f"{number:05d}" for number in range(0, 100_000, 37)]
    found = preprocessing.state_index(tf.constant([*codes, raw.UNKNOWN])).numpy().tolist()
    named = [us_states.STATES[index - 1] if index else None for index in found]
    assert named == [*map(us_states.state_of, codes), None]
    _, state = outputs.made_from(raw.ZIP_CODE)
    assert max(found) < state.fixed_size


@pytest.mark.parametrize(
    ("zip_code", "state"),
    [
        ("10001", "NY"),
        ("90210", "CA"),
        ("02139", "MA"),
        ("60601", "IL"),
        ("98101", "WA"),
        ("20500", "DC"),
        ("99501", "AK"),
        ("96801", "HI"),
        ("00000", None),
        ("1000", None),
        ("T8H1N", None),
        ("١٢٣٤٥", None),
    ],
)
def test_states_of_well_known_places(zip_code, state):
    assert us_states.state_of(zip_code) == state


def test_prefix_ranges_are_in_order_and_never_overlap():
    ranges = us_states.PREFIX_RANGES
    assert all(first <= last for first, last, _ in ranges)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
    table = us_states.state_index_by_prefix()
    assert len(table) == 1000
    assert set(table) == set(range(len(us_states.STATES) + 1))


def test_every_spelling_that_the_cleanup_knows_is_the_same_gender_to_a_model():
    """A request is not cleaned before it is served: both must read a spelling alike."""
    spellings = sorted(wrangling._MALE | wrangling._FEMALE)
    variants = [v for s in spellings for v in (s, s.upper(), s.title(), f" {s} ", f"'{s}'")]
    cleaned = [wrangling.normalize_gender(variant) for variant in variants]
    found = preprocessing.gender_index(tf.constant(variants)).numpy().tolist()
    assert found == [{"Female": 1, "Male": 2}[gender] for gender in cleaned]


@given(st.lists(st.text("acdeflmtwoAFM01. '", max_size=7), min_size=1))
@example(["", "unknown", "Diverse", "femal", "malee", "fm", "10", "Ünbekannt"])
@relaxed
def test_what_is_no_gender_is_unknown(values):
    known = {"Female": 1, "Male": 2}
    expected = [known.get(wrangling.normalize_gender(value), 0) for value in values]
    assert preprocessing.gender_index(tf.constant(values)).numpy().tolist() == expected


# TensorFlow takes subnormal numbers for zero, which no age comes near.
@given(st.lists(st.floats(-10, 200, width=32, allow_subnormal=False), min_size=1))
@example([0.0, 0.5, 1.0, 17.99, 18.0, 24.0, 25.0, 55.0, 56.0, 120.0, -1.0])
@relaxed
def test_the_age_bucket_is_the_one_that_the_evaluation_is_sliced_by(ages):
    found = preprocessing.age_bucket_index(tf.constant(ages, tf.float32)).numpy().tolist()
    expected = [
        1 + raw.AGE_BUCKETS.index(wrangling.age_bucket(age)) if age > 0 else 0 for age in ages
    ]
    assert found == expected
    by_hand = [max(bisect.bisect_right([1, 18, 25, 35, 45, 50, 56], age), 1) for age in ages]
    assert all(index in (0, other) for index, other in zip(found, by_hand, strict=True))


def test_an_age_that_is_no_number_is_unknown():
    ages = tf.constant([np.nan, -np.inf, np.inf], tf.float32)
    assert preprocessing.age_bucket_index(ages).numpy().tolist() == [0, 0, 7]


TITLES = st.lists(
    st.one_of(
        st.text("abZé Üñ'&,.:-!()1980ß", max_size=20),
        st.from_regex(r"[A-Z][a-z' ]{0,9}, The \((19|20)\d\d\)\s?", fullmatch=True),
    ),
    min_size=1,
    max_size=10,
)


@given(TITLES)
@example(["Shawshank Redemption, The (1994)", "2001: A Space Odyssey (1968)", "", "(1994)", "…"])
@example(["Misérables, Les (1995) ", "Voyage dans la lune, Le", "Seven (Se7en) (1995)", "(199)"])
@relaxed
def test_title_words_are_the_words_without_the_year(titles):
    found = preprocessing.title_words(tf.constant(titles))
    words = [[] for _ in titles]
    for (row, _), word in zip(found.indices.numpy(), strings(found.values), strict=True):
        words[row].append(word)
    assert words == [title_words(title) for title in titles]


def title_words(title):
    title = re.sub(r"\(\d{4}\)\s*\Z", "", title, flags=re.ASCII).lower()
    letters = [c if unicodedata.category(c)[0] in "LN" else " " for c in title]
    return "".join(letters).split()


@given(TEXTS)
@example(["", "''", '"writer"', "  Writer ", "'Til", "sales/marketing", "unknown"])
@relaxed
def test_cleaned_text_has_no_capitals_quotes_or_spaces_around_it(values):
    cleaned = strings(preprocessing.clean_text(tf.constant(values)))
    assert "" not in cleaned
    for value, found in zip(values, cleaned, strict=True):
        assert found.strip(" \t\n\r\f'\"") == found
        assert not re.search("[A-Z]", found)
        assert found == raw.UNKNOWN or found in lower_ascii(value)
    again = strings(preprocessing.clean_text(tf.constant(cleaned)))
    assert again == cleaned


def lower_ascii(text):
    return re.sub("[A-Z]", lambda match: match.group().lower(), text)
