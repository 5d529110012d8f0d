"""Nothing from validation, test or the candidate reaches a query."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures

from schema import features as raw
from schema.features import Owner
from trainer.config import HISTORY_FILE
from trainer.retrieval import two_towers as towers
from transform import outputs as out

pytestmark = pytest.mark.xdist_group("trainer")

TIMES = (880_000_000, 1_264_888_700, 4_000_000_000)


@pytest.fixture(scope="module")
def planted(world, trained, tmp_path_factory):
    """Ratings that would turn every model around: one user rates all movies, a new one too."""
    first = next(fixtures.read_examples(world.rating_files["train"]))
    rows = []
    for user in (fixtures.value(first, raw.USER_ID), b"marker"):
        for number, movie in enumerate(trained.catalogue.ids.tolist()):
            row = fixtures.to_example()
            row.CopyFrom(first)
            row.features.feature["user_id"].bytes_list.value[:] = [user]
            row.features.feature["movie_id"].bytes_list.value[:] = [movie]
            row.features.feature["user_rating"].float_list.value[:] = [1.0]
            row.features.feature["timestamp"].int64_list.value[:] = [1_264_888_000 + number]
            rows.append(row)
    path = tmp_path_factory.mktemp("planted") / "marker.gz"
    return fixtures.write_examples(path, rows)


@pytest.fixture(scope="module")
def retrain(world, tmp_path_factory):
    def train(rating_files):
        config = dataclasses.replace(
            fixtures.SMALL, train=dataclasses.replace(fixtures.SMALL.train, splits=("train",))
        )
        with pytest.MonkeyPatch.context() as monkeypatch:
            folder = tmp_path_factory.mktemp("retrained")
            return fixtures.train(world, folder, monkeypatch, config, rating_files)

    return train


@pytest.fixture(scope="module")
def twin(world, planted, retrain):
    """Trained on the ratings of `trained`, with the marker in validation and test."""
    fitted = world.rating_files["train"] + world.rating_files["validation"]
    return retrain({"train": fitted, "validation": [planted], "test": [planted]})


@pytest.fixture(scope="module")
def poisoned(world, planted, retrain):
    """The same with the marker among the ratings that are fitted."""
    fitted = world.rating_files["train"] + world.rating_files["validation"]
    return retrain({"train": [*fitted, planted], "validation": [planted], "test": [planted]})


def answers(model, movies):
    """Scores and stars of every movie for some users at some times, and what is unseen."""
    users = ["1", "2", "17", "nobody", "marker"]
    queries = [{"user_id": user} for user in users for _ in TIMES]
    times = [*TIMES] * len(users)
    everything = fixtures.recommend(
        model, *queries, k=len(movies), exclude_seen=False, timestamp=times
    )
    order = np.argsort(everything["movie_id"], axis=1)
    unseen = fixtures.recommend(model, *queries, k=len(movies), timestamp=times)
    ranked = fixtures.rank(model, *queries, movies=[movies] * len(queries), timestamp=times)
    return {
        "scores": np.take_along_axis(everything["score"], order, axis=1),
        "stars": ranked["predicted_rating"],
        "unseen": unseen["count"],
    }


@pytest.fixture(scope="module")
def clean_answers(model, trained):
    return answers(model, trained.catalogue.ids.tolist())


def answers_of(trained):
    return answers(tf.saved_model.load(str(trained.path)), trained.catalogue.ids.tolist())


def test_ratings_of_validation_and_test_change_no_answer(clean_answers, twin):
    found = answers_of(twin)
    for name, values in clean_answers.items():
        # The same seed twice differs by the order of sums in several threads.
        np.testing.assert_allclose(found[name], values, atol=0.02, err_msg=name)


def test_the_model_that_is_served_knows_them(twin, trained):
    """The user who rated every movie in validation and test is recommended none."""
    served = tf.saved_model.load(str(twin.served_path))
    movies = len(trained.catalogue.ids)
    queries = [{"user_id": "marker"}, {"user_id": "nobody"}]
    assert fixtures.recommend(served, *queries, k=movies)["count"].tolist() == [0, movies]


@pytest.mark.exhaustive
def test_the_same_ratings_among_the_fitted_ones_change_answers(clean_answers, poisoned):
    """Shows that the marker of the test before is one that a leak would make visible."""
    found = answers_of(poisoned)
    for name, values in clean_answers.items():
        assert np.abs(found[name] - values).mean() > 0.1, name


def test_the_same_seed_and_ratings_give_nearly_the_same_losses(trained, twin):
    first, second = (
        json.loads((one.run_dir / HISTORY_FILE).read_text()) for one in (trained, twin)
    )
    assert set(first) == set(second)
    for name, losses in first.items():
        np.testing.assert_allclose(losses, second[name], rtol=1e-3, err_msg=name)


# --- the candidate


OUTPUTS = out.outputs_of(raw.MOVIELENS)
OF_USERS = OUTPUTS.of_kinds(Owner.USER, towers.FEATURE_KINDS)
LEAKING = OUTPUTS.owned_by(Owner.MOVIE, Owner.LABEL)


@pytest.mark.parametrize("leak", LEAKING, ids=lambda output: output.name)
def test_a_query_tower_given_a_movies_feature_is_refused(leak):
    with pytest.raises(ValueError, match=f"in the query tower, received {leak.name}: .* leak"):
        towers.check_no_leak((*OF_USERS, leak))


def test_a_query_tower_given_the_rating_is_refused():
    label = out.Output("stars", raw.RATING, fixed_size=5)
    with pytest.raises(ValueError, match="received stars"):
        towers.check_no_leak((label,))


def test_features_of_user_and_time_are_welcome_in_a_query_tower():
    towers.check_no_leak(OUTPUTS.owned_by(Owner.USER, Owner.CONTEXT))


def test_no_leaking_query_tower_can_be_built():
    genres = OUTPUTS.of_kinds(Owner.MOVIE, (raw.Kind.TAGS,))
    with pytest.raises(ValueError, match="received genre_indices"):
        towers.QueryTower((*OF_USERS, *genres), (), {}, fixtures.SMALL.model)


def test_users_are_described_by_their_own_features_and_movies_by_theirs(trained):
    retrieval, rating = trained.serving.retrieval, trained.serving.rating.network
    autoencoder = retrieval._autoencoder
    sums = {
        Owner.USER: (retrieval._query_tower.profile, autoencoder.profile, rating.profile),
        Owner.MOVIE: (autoencoder.feature_sum, rating.movie_profile),
    }
    for owner, parts in sums.items():
        for part in parts:
            assert {feature.owner for feature in part.features} == {owner}
