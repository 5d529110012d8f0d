"""The models to compare with, trained and exported like ours."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures

from trainer.config import TrainerConfig, TutorialConfig

pytestmark = pytest.mark.xdist_group("trainer")

NOW = 4_000_000_000


def trained_with(world, folder, monkeypatch, exports=(), **weights):
    config = dataclasses.replace(
        fixtures.SMALL,
        tutorial=TutorialConfig(batch_size=256, embedding_dim=8, **weights),
        train=dataclasses.replace(fixtures.SMALL.train, epochs=4),
    )
    return fixtures.train(world, folder, monkeypatch, config=config, exports=exports)


@pytest.fixture(scope="module")
def joint(world, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        return trained_with(world, tmp_path_factory.mktemp("joint"), patch, ["export_evaluation"])


def test_both_tasks_are_learned(joint):
    serving = joint.serving
    assert joint.progress_lines[1].startswith("epoch 1 of 4")
    stars = serving.rating._model
    held = joint.interactions
    found = stars.stars(
        tf.constant(joint.users.features["user_id_index"][held.user_row]),
        tf.constant(held.movie_row),
    ).numpy()
    assert np.sqrt(np.mean((found - held.rating) ** 2)) < np.std(held.rating) * 1.02


def test_scores_are_dot_products_of_the_ids_embeddings(joint):
    model = tf.saved_model.load(str(joint.path))
    user = 3
    profile = {"user_id": joint.users.ids[user].decode()}
    answer = fixtures.recommend(model, profile, k=5, timestamp=NOW, exclude_seen=False)
    inner = joint.serving.rating._model
    index = joint.users.features["user_id_index"][user]
    scores = inner.movies.numpy()[:-1] @ inner.users.numpy()[index]
    np.testing.assert_allclose(answer["score"][0], np.sort(scores)[::-1][:5], atol=1e-5)


@pytest.mark.parametrize(
    ("weights", "idle"),
    [
        pytest.param({"retrieval_weight": 0.0}, "retrieval_loss", marks=pytest.mark.exhaustive),
        ({"rating_weight": 0.0}, "rmse"),
    ],
)
def test_a_task_without_weight_is_not_learned(world, tmp_path, monkeypatch, joint, weights, idle):
    alone = trained_with(world, tmp_path, monkeypatch, **weights)
    network = alone.serving.rating._model.network.get_weights()
    assert (idle == "rmse") == (not np.any(network[-1]))


def test_unknown_users_and_movies_are_answered_and_nothing_explains(joint):
    model = tf.saved_model.load(str(joint.path))
    movie = joint.catalogue.ids[0].decode()
    ranked = fixtures.rank(model, {"user_id": "nobody"}, movies=[[movie, "no-such-movie"]])
    assert ((ranked["predicted_rating"] >= 1) & (ranked["predicted_rating"] <= 5)).all()
    answer = fixtures.explain(model, {"user_id": joint.users.ids[0].decode()}, movies=[[movie]])
    assert (answer["contribution"] == 0).all()


def test_the_configuration_survives_json():
    config = TrainerConfig(tutorial=TutorialConfig(rating_weight=0.0))
    assert TrainerConfig.from_json(config.to_json()) == config
    assert TrainerConfig.from_json(TrainerConfig().to_json()) == TrainerConfig()
