"""Another feature table: one user feature more and one less, from the records to a signature."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import trainer_fixtures as fixtures

from components.evaluation.config import Thresholds, build_eval_config
from schema import features as raw
from schema.features import MOVIELENS, Feature, FeatureTable, Kind, Owner
from sources import tables
from sources.sample import generate_sample
from trainer.config import BpmfConfig
from trainer.retrieval import two_towers
from transform import outputs as out
from transform import preprocessing

# One training serves all tests here, and the group's worker has traced the graphs before.
pytestmark = pytest.mark.xdist_group("trainer")

FAVOURITE = Feature("user_favourite_genre", Owner.USER, Kind.CATEGORY, "string", sliced=True)
TABLE = FeatureTable((*(f for f in MOVIELENS.features if f != raw.ZIP_CODE), FAVOURITE))
GENRES = ("Comedy", "Drama", "Western")

SHORT = dataclasses.replace(
    fixtures.SMALL,
    long_term=dataclasses.replace(fixtures.SMALL.long_term, epochs=1),
    bpmf=BpmfConfig(rank=2, burn_in=1, draws=1, thinning=1, components=2),
    train=dataclasses.replace(fixtures.SMALL.train, epochs=1, batch_size=1024),
)


def test_every_kind_of_feature_has_outputs_and_preprocessing_and_is_embedded_or_not_by_choice():
    assert set(out._OUTPUTS) == set(Kind)
    unused = {Kind.RATING, Kind.POSITION, Kind.DATE, Kind.AGE_BUCKET, Kind.REPORT_ONLY}
    made = set(Kind) - unused
    assert set(preprocessing._TRANSFORMS) == made
    assert {*two_towers.FEATURE_KINDS, Kind.ID, Kind.TIME} == made


def test_equal_names_of_transformed_features_are_refused():
    twin = Feature("sex", Owner.USER, Kind.GENDER, "string", stem="gender")
    table = FeatureTable((*MOVIELENS.features, twin))
    with pytest.raises(ValueError, match="gender_index of user_gender, gender_index of sex"):
        out.outputs_of(table)


def test_a_sum_of_no_features_is_zero():
    nothing = two_towers.FeatureSum((), {}, 3, "nothing")
    values = {out.USER_ID_INDEX: tf.constant([4, 5], tf.int64)}
    np.testing.assert_array_equal(nothing(values), np.zeros([2, 3]))


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A model of a table that differs from MovieLens's by two features of the user."""
    folder = tmp_path_factory.mktemp("features")
    generate_sample(folder / "raw", ratings=1_000, seed=5)
    read_users = tables.read_users

    def with_favourite(*args):
        users, report = read_users(*args)
        favourites = [GENRES[user % 3] for user in users[raw.USER_ID.name]]
        return users.assign(**{FAVOURITE.name: favourites}), report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "read_users", with_favourite)
        world = fixtures.world_of(folder / "raw", None, folder, TABLE)
        return world, fixtures.train(
            world,
            folder / "trained",
            patch,
            SHORT,
            table=TABLE,
            exports=["export_evaluation"],
        )


@pytest.fixture(scope="module")
def exported(changed):
    return tf.saved_model.load(str(changed[1].path))


def test_records_have_the_columns_of_the_table(changed):
    world, _ = changed
    for example in fixtures.read_examples(world.rating_files["test"]):
        assert fixtures.value(example, raw.ZIP_CODE) is None
        user = int(fixtures.value(example, raw.USER_ID))
        assert fixtures.as_text(fixtures.value(example, FAVOURITE)) == GENRES[user % 3]


def test_the_graph_has_a_vocabulary_of_the_new_feature(changed):
    graph = tft.TFTransformOutput(changed[0].transform_graph)
    words = graph.vocabulary_by_name("user_favourite_genre_index")
    assert {word.decode() for word in words} == {"comedy", "drama", "western"}
    assert "zip_prefix_index" not in graph.transformed_feature_spec()


def test_every_part_of_the_model_embeds_the_new_feature_and_none_the_zip_code(changed):
    serving = changed[1].serving
    parts = {
        "towers": serving.retrieval._query_tower.profile,
        "autoencoder": serving.retrieval._autoencoder.profile,
        "rating network": serving.rating.network.profile,
    }
    for part, profile in parts.items():
        assert "user_favourite_genre_index" in profile.tables, part
        assert not profile.tables.keys() & {"zip_prefix_index", "state_index"}, part


def test_the_signatures_ask_for_the_new_feature_and_not_for_the_zip_code(exported):
    of_users = {f.name for f in MOVIELENS.model_inputs(Owner.USER)}
    for name in ("recommend", "rank", "explain"):
        inputs = exported.signatures[name].structured_input_signature[1].keys()
        assert inputs & {*of_users, FAVOURITE.name} == (of_users - {raw.ZIP_CODE.name}) | {
            FAVOURITE.name
        }


def test_the_new_feature_is_taken_into_account(changed, exported):
    recommend = exported.signatures["recommend"]

    def scores(favourite):
        inputs = {
            name: tf.zeros([1] * len(spec.shape), spec.dtype)
            for name, spec in recommend.structured_input_signature[1].items()
        }
        inputs |= {FAVOURITE.name: tf.constant([favourite]), "k": tf.constant(10_000)}
        answer = recommend(**inputs)
        return dict(zip(answer["movie_id"][0].numpy(), answer["score"][0].numpy(), strict=True))

    comedy, drama = scores("Comedy"), scores("Drama")
    assert comedy.keys() == drama.keys() == set(changed[1].catalogue.ids.tolist())
    assert comedy != drama


def test_results_are_sliced_by_what_the_table_says():
    specs = build_eval_config(Thresholds(), TABLE).slicing_specs
    assert [list(spec.feature_keys) for spec in specs] == [[], *([f.name] for f in TABLE.sliced)]
    assert FAVOURITE in TABLE.sliced
