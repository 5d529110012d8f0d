"""The feature table: what it finds, what it refuses, and that it travels as text."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema import features as raw
from schema.features import MOVIELENS, Feature, FeatureTable, Kind, Owner, RatingScale

GENRE = Feature("favourite_genre", Owner.USER, Kind.CATEGORY, "string")


def with_features(*more, without=()):
    kept = [feature for feature in MOVIELENS.features if feature not in without]
    return FeatureTable((*kept, *more))


@pytest.mark.parametrize("table", [MOVIELENS, with_features(GENRE, without=(raw.ZIP_CODE,))])
def test_a_table_travels_as_text_and_comes_back_equal(table):
    text = table.to_json()
    assert FeatureTable.from_json(text) == table
    assert FeatureTable.from_json(text).to_json() == text


def test_columns_are_found_by_owner_name_and_role():
    table = with_features(GENRE)
    assert table.owned_by(Owner.USER)[-1] is GENRE
    assert GENRE in table.model_inputs(Owner.USER)
    assert raw.AGE_BUCKET not in table.model_inputs(Owner.USER)
    assert table["favourite_genre"] is GENRE
    assert (table.user_id, table.item_id) == (raw.USER_ID, raw.MOVIE_ID)
    assert (table.rating, table.timestamp) == (raw.RATING, raw.TIMESTAMP)
    assert table.title is raw.TITLE
    assert with_features(without=(raw.TITLE,)).title is None
    assert raw.names(MOVIELENS.sliced) == (
        "user_gender",
        "bucketized_user_age",
        "user_occupation_text",
    )


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(KeyError, match=r"expected one of user_id, .*, received 'no_such'"):
        MOVIELENS["no_such"]


@pytest.mark.parametrize(("role", "has"), [("rating", "has_rating"), ("timestamp", "has_time")])
def test_a_table_may_lack_rating_and_time_and_says_so(role, has):
    feature = getattr(MOVIELENS, role)
    table = with_features(without=(feature,))
    assert (getattr(MOVIELENS, has), getattr(table, has)) == (True, False)
    with pytest.raises(ValueError, match=f"kind {feature.kind.value}, the .*; received none"):
        getattr(table, role)


def changed(feature, **changes):
    return dataclasses.replace(feature, **changes)


REFUSED = {
    "two of a name": ({"more": [raw.GENDER]}, "received twice: user_gender"),
    "no user id": ({"without": [raw.USER_ID]}, "owner user and kind id, the id; received none"),
    "no item id": ({"without": [raw.MOVIE_ID]}, "owner movie and kind id, the id; received none"),
    "two user ids": (
        {"more": [changed(raw.USER_ID, name="login")]},
        "kind id, the id; received user_id, login",
    ),
    "two zip codes": (
        {"more": [changed(raw.ZIP_CODE, name="zip_of_work")]},
        "one feature of kind zip_code at most, received .*zip_of_work",
    ),
    "a number for a category": (
        {"more": [changed(GENRE, dtype="int64")]},
        "favourite_genre, of kind category, to be string; received 'int64'",
    ),
    "one value for tags": (
        {"more": [changed(raw.GENRES, name="tags", multivalued=False)]},
        "tags, of kind tags, to hold lists of values",
    ),
    "lists for a category": (
        {"more": [changed(GENRE, multivalued=True)]},
        "favourite_genre, of kind category, to hold one value",
    ),
    "text that may be missing": (
        {"more": [changed(GENRE, optional=True)]},
        "favourite_genre, .* in every row; .* write 'unknown' for text",
    ),
    "tags of a user": (
        {"more": [changed(raw.GENRES, name="likes", owner=Owner.USER)]},
        "give one value of it; received likes of kind tags",
    ),
    "a time of a movie": (
        {"without": [raw.TIMESTAMP], "more": [changed(raw.TIMESTAMP, owner=Owner.MOVIE)]},
        "received timestamp of owner movie and kind time",
    ),
    "a place in the file of a movie": (
        {"more": [changed(raw.POSITION, owner=Owner.MOVIE)]},
        "received position of owner movie and kind position",
    ),
    "two places in the file": (
        {"more": [raw.POSITION, changed(raw.POSITION, name="other")]},
        "one feature of kind position at most",
    ),
    "a gender of the context": (
        {"more": [changed(raw.GENDER, name="mood", owner=Owner.CONTEXT)]},
        "received mood of owner context and kind gender",
    ),
    "a category as the label": (
        {"more": [changed(GENRE, owner=Owner.LABEL)]},
        "received favourite_genre of owner label and kind category",
    ),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_a_table_that_no_pipeline_could_work_with_is_refused_in_words(changes, message):
    with pytest.raises(ValueError, match=message):
        with_features(*changes.get("more", ()), without=changes.get("without", ()))


def edited(**values):
    first, *others = json.loads(MOVIELENS.to_json())
    return json.dumps([{**first, **values}, *others])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (edited(kind="emoji"), "kind of user_id to be one of id, category, .*; received 'emoji'"),
        (edited(owner="cat"), "owner of user_id to be one of user, movie, .*; received 'cat'"),
        (edited(colour="red"), r"unknown \['colour'\], missing \[\]"),
        ('[{"name": "user_id"}]', r"missing \['owner', 'kind', 'dtype'\]"),
        ('{"features": []}', "expected a list of features"),
        ("[1]", "expected a list of features"),
        ("user_id, movie_id", "Expecting value"),
    ],
)
def test_text_that_is_no_table_is_refused_in_words(text, message):
    with pytest.raises(ValueError, match=message):
        FeatureTable.from_json(text)


@given(
    low=st.floats(-100, 100),
    width=st.floats(0.01, 200),
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=5),
)
def test_ratings_of_any_scale_become_stars_and_come_back(low, width, shares):
    scale = RatingScale(low, low + width)
    ratings = low + width * np.array(shares)
    stars = scale.to_stars(ratings)
    np.testing.assert_allclose(stars, 1 + 4 * np.array(shares), atol=1e-9)
    np.testing.assert_allclose(scale.from_stars(stars), ratings, atol=1e-9)


def test_ratings_from_1_to_5_are_stars_digit_for_digit():
    ratings = np.array([1.0, 3.3, 5.0], np.float32)
    scale = MOVIELENS.scale
    assert scale.to_stars(ratings) is ratings is scale.from_stars(ratings)


@pytest.mark.parametrize(
    ("name", "multivalued", "expected"),
    [("tags", True, "tag"), ("genre", True, "genre"), ("status", False, "status")],
)
def test_one_of_several_values_is_called_in_the_singular(name, multivalued, expected):
    kind = Kind.TAGS if multivalued else Kind.CATEGORY
    feature = Feature(name, Owner.MOVIE, kind, "string", multivalued=multivalued)
    assert feature.singular == expected
