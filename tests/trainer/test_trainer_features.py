"""Another feature table: a category and numbers more, and one user feature less."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import trainer_fixtures as fixtures

from components.evaluation.config import Thresholds, build_eval_config
from schema import features as raw
from schema.export_contract import CHOICES_FILE
from schema.features import MOVIELENS, Feature, FeatureTable, Kind, Owner
from sources import tables
from sources.numbers import quarters
from sources.sample import generate_sample
from trainer.config import BpmfConfig
from trainer.retrieval import two_towers
from transform import outputs as out
from transform import preprocessing

# One training serves all tests here, and the group's worker has traced the graphs before.
pytestmark = pytest.mark.xdist_group("trainer")

FAVOURITE = Feature("user_favourite_genre", Owner.USER, Kind.CATEGORY, "string", sliced=True)
BALANCE = Feature("user_balance", Owner.USER, Kind.NUMBER, "float32", optional=True)
QUARTER = raw.quarter_of(BALANCE)
PRICE = Feature("item_price", Owner.MOVIE, Kind.NUMBER, "float32", optional=True)
KEPT = tuple(f for f in MOVIELENS.features if f != raw.ZIP_CODE)
TABLE = FeatureTable((*KEPT, FAVOURITE, BALANCE, QUARTER, PRICE))
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


def spelled(user):
    """Some write a genre in capitals, fewer than write it as the rest does."""
    genre = GENRES[user % 3]
    return genre.upper() if user % 5 == 0 else genre


def balance_of(user):
    """Nobody knows that of every fourth; 0 and less are numbers as any other."""
    return None if user % 4 == 0 else 10.0 * (user % 50 - 25)


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A model of a table that differs from MovieLens's by a few features."""
    folder = tmp_path_factory.mktemp("features")
    generate_sample(folder / "raw", ratings=1_000, seed=5)
    read_users, read_movies = tables.read_users, tables.read_movies

    def with_favourite(*args):
        users, report = read_users(*args)
        favourites = [spelled(user) for user in users[raw.USER_ID.name]]
        balances = [balance_of(user) for user in users[raw.USER_ID.name]]
        columns = {FAVOURITE: favourites, BALANCE: balances, QUARTER: quarters(balances)}
        return users.assign(**{f.name: values for f, values in columns.items()}), report

    def with_price(*args):
        movies, report = read_movies(*args)
        prices = [0.5 * movie for movie in movies[raw.MOVIE_ID.name]]
        return movies.assign(**{PRICE.name: prices}), report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "read_users", with_favourite)
        patch.setattr(tables, "read_movies", with_price)
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
        assert fixtures.as_text(fixtures.value(example, FAVOURITE)) == spelled(user)


def test_the_graph_has_a_vocabulary_of_the_new_feature(changed):
    graph = tft.TFTransformOutput(changed[0].transform_graph)
    words = graph.vocabulary_by_name("user_favourite_genre_index")
    assert {word.decode() for word in words} == {"comedy", "drama", "western"}
    assert "zip_prefix_index" not in graph.transformed_feature_spec()


def test_numbers_are_in_buckets_that_rise_with_them_and_one_is_for_the_missing(changed):
    graph = tft.TFTransformOutput(changed[0].transform_graph).transform_features_layer()
    numbers = np.arange(-250.0, 251.0, 10.0, np.float32)
    places = graph({BALANCE.name: tf.sparse.from_dense(numbers[:, np.newaxis])})
    zero = tf.SparseTensor([[0, 0]], np.float32([0.0]), [2, 1])
    buckets = places["user_balance_bucket"].numpy()[numbers != 0]
    assert (np.diff(buckets) >= 0).all()
    assert 1 <= buckets.min() < buckets.max() <= out.NUMBER_BUCKETS
    of_zero, of_none = graph({BALANCE.name: zero})["user_balance_bucket"].numpy()
    assert (0 < buckets.min() < of_zero < buckets.max(), of_none) == (True, 0)


def test_choices_are_spelled_as_most_users_have_them(changed):
    choices = json.loads((changed[1].path / CHOICES_FILE).read_text(encoding="utf-8"))
    assert set(choices) == {FAVOURITE.name, raw.OCCUPATION.name}
    assert sorted(choices[FAVOURITE.name]) == sorted(GENRES)


def test_every_part_of_the_model_embeds_the_new_feature_and_none_the_zip_code(changed):
    serving = changed[1].serving
    parts = {
        "towers": serving.retrieval._query_tower.profile,
        "autoencoder": serving.retrieval._autoencoder.profile,
        "rating network": serving.rating.network.profile,
    }
    for part, profile in parts.items():
        assert {"user_favourite_genre_index", "user_balance_bucket"} <= profile.tables.keys(), part
        assert not profile.tables.keys() & {"zip_prefix_index", "state_index"}, part


def test_the_signatures_ask_for_the_new_feature_and_not_for_the_zip_code(exported):
    of_users = {f.name for f in MOVIELENS.model_inputs(Owner.USER)}
    for name in ("recommend", "rank", "explain"):
        inputs = exported.signatures[name].structured_input_signature[1].keys()
        assert inputs & {*of_users, FAVOURITE.name, BALANCE.name} == (
            of_users - {raw.ZIP_CODE.name}
        ) | {*(FAVOURITE.name, BALANCE.name)}


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
    assert {FAVOURITE, QUARTER} <= set(TABLE.sliced)


def test_a_number_of_0_is_given_and_nan_is_not(changed):
    serving = changed[1].serving
    graph = tft.TFTransformOutput(changed[0].transform_graph).transform_features_layer()
    column = [one.name for one in serving._user_features].index("user_balance_bucket")

    def bucket_of(user, balance):
        values = {
            one.name: tf.constant([one.missing], one.dtype)
            for one in TABLE.model_inputs(Owner.USER)
        }
        values |= {"user_id": tf.constant([user]), BALANCE.name: tf.constant([balance])}
        query = serving.query(values, tf.constant([2_000_000_000], tf.int64))
        return int(query.features[0, column])

    def bucket(balance):
        cells = [[0, 0]] if balance is not None else np.zeros([0, 2])
        values = np.float32([balance] if balance is not None else [])
        given = tf.SparseTensor(tf.constant(cells, tf.int64), values, [1, 1])
        return int(graph({BALANCE.name: given})["user_balance_bucket"][0])

    ids = map(int, changed[1].users.ids)
    user = next(one for one in ids if balance_of(one) not in (None, 0.0))
    assert bucket(0.0) != bucket(balance_of(user))
    assert bucket_of(str(user), np.nan) == bucket(balance_of(user))
    assert bucket_of(str(user), 0.0) == bucket(0.0)
    assert bucket_of("nobody", np.nan) == bucket(None) == 0
    assert bucket_of("nobody", -250.0) == bucket(-250.0) > 0
