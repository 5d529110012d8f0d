"""The user features of requests follow the feature table that travels with the model."""

import handmade
import pytest
from tensorflow_transform.analyzers import get_empy_vocabulary_dummy_value

from schema.features import MOVIELENS, ZIP_CODE, Feature, FeatureTable, Kind, Owner
from serving.errors import ModelError
from serving.model import load
from serving.recommender import UserProfile, make_recommender, scored_movies
from serving.user_features import features_of, problems_of, read_choices, read_table

pytestmark = pytest.mark.xdist_group("serving")

CITY = Feature("home_town", Owner.USER, Kind.CATEGORY, "string")
HEIGHT = Feature("height", Owner.USER, Kind.AGE, "float32", optional=True)
TABLE = FeatureTable((*(one for one in MOVIELENS.features if one != ZIP_CODE), CITY, HEIGHT))


def names(table):
    return [feature.name for feature in features_of(table)]


def test_a_version_without_a_table_has_movielenss(tmp_path):
    assert read_table(tmp_path) == MOVIELENS
    assert sorted(names(MOVIELENS)) == [
        "raw_user_age", "user_gender", "user_occupation_text", "user_zip_code",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["{}", "[]", "[1]", '[{"name": "x"}]', "[[]]", "no JSON"])
def test_a_damaged_table_keeps_a_version_from_being_served(tmp_path, text):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "features.json").write_text(text)
    with pytest.raises(ModelError, match="features.json"):
        read_table(tmp_path)


def test_choices_are_the_vocabularies_of_categories(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "home_town_index").write_text("york\nbath\n")
    (tmp_path / "assets" / "gender_index").write_text("male\nfemale\n")
    assert read_choices(tmp_path, TABLE) == {"home_town": ("bath", "york")}
    (tmp_path / "assets.extra").mkdir()
    spelled = tmp_path / "assets.extra" / "choices.json"
    spelled.write_text('{"home_town": ["York", "Bath", "ashford"], "gone": ["x"]}')
    assert read_choices(tmp_path, TABLE) == {"home_town": ("ashford", "Bath", "York")}
    spelled.write_text('{"home_town": ["York", "Unknown"]}')
    assert read_choices(tmp_path, TABLE) == {"home_town": ("York",)}
    spelled.write_text('{"home_town": ["unknown"]}')
    assert read_choices(tmp_path, TABLE) == {}
    spelled.write_text('["York"]')
    assert read_choices(tmp_path, TABLE) == {"home_town": ("bath", "york")}


def test_the_only_line_of_an_empty_vocabulary_is_no_choice(tmp_path):
    _, line = get_empy_vocabulary_dummy_value("string")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "home_town_index").write_bytes(line + b"\n")
    assert read_choices(tmp_path, TABLE) == {}


def test_names_and_types_are_those_of_the_table():
    fine = {"home_town": "Bath", "height": 170, "user_gender": "F"}
    assert list(problems_of(fine, features_of(TABLE))) == []
    wrong = {"home_town": 3, "height": "tall", "user_zip_code": "1"}
    problems = list(problems_of(wrong, features_of(TABLE)))
    assert problems[0] == "home_town: expected text, found 3"
    assert problems[1] == "height: expected a number, found 'tall'"
    assert problems[2].startswith("user_zip_code: not a feature of this model; it has ")
    assert "home_town" in problems[2]


def test_a_model_of_another_feature_table_is_called_by_its_names(tmp_path):
    path = handmade.save(tmp_path / "1", table=TABLE)
    made = make_recommender(load(path, 1))
    try:
        people = [UserProfile("1", {"home_town": "Bath", "height": 170.0}), UserProfile()]
        call = made.recommend(people, 2, [(), ()], seen=True)
        assert call.inputs["home_town"].tolist() == [b"Bath", b""]
        assert call.inputs["height"].tolist() == [170.0, 0.0]
        assert ZIP_CODE.name not in call.inputs
        answer = made.model.signatures["recommend"](call.inputs)
        assert [movie.movie_id for movie in scored_movies(answer)] == ["0", "1"]
    finally:
        made.model.retire()
