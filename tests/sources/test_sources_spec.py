"""The specification of a data set: it travels as JSON, and refuses what nothing honours."""

import dataclasses
import json

import pytest

from schema import features as raw
from schema.features import MOVIELENS, FeatureTable
from sources import movielens_100k, movielens_csv, movielens_dat
from sources.spec import DatasetSpec

SPECS = (movielens_100k.SPEC, movielens_dat.ML_1M, movielens_dat.ML_10M, movielens_csv.SPEC)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_specification_comes_back_from_its_json(spec):
    assert DatasetSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_the_scale_and_the_order_of_the_file_follow_from_the_features():
    assert movielens_100k.SPEC.scale == (1.0, 5.0, 1.0)
    assert movielens_csv.SPEC.scale == (0.5, 5.0, 0.5)
    assert [spec.file_order_is_time for spec in SPECS] == [False, True, False, False]
    without = FeatureTable(tuple(f for f in MOVIELENS.features if f != raw.RATING))
    assert DatasetSpec("clicks", "Clicks", without).scale is None


def test_what_is_not_known_is_refused():
    value = movielens_csv.SPEC.to_json()
    with pytest.raises(ValueError, match="expected features, name, title and no more than"):
        DatasetSpec.from_json({**value, "colour": "red"})
    with pytest.raises(ValueError, match="expected positive 'every event', received 'rating >= 4'"):
        dataclasses.replace(movielens_csv.SPEC, positive="rating >= 4")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"low": 5.0, "high": 1.0}, "a scale of user_rating that rises")],
)
def test_a_scale_that_does_not_rise_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        FeatureTable((raw.USER_ID, raw.MOVIE_ID, dataclasses.replace(raw.RATING, **changes)))


def test_only_a_rating_has_a_scale():
    with pytest.raises(ValueError, match="a scale of ratings alone; received user_gender"):
        FeatureTable((raw.USER_ID, raw.MOVIE_ID, dataclasses.replace(raw.GENDER, low=0.0)))
