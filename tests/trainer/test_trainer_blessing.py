"""Models trained well and badly before the real Evaluator, under the product's thresholds."""

import evaluation_fixtures
import numpy as np
import pytest
import trainer_fixtures as fixtures
from example_artifacts import needs_real_data, real_dirs

from components.evaluation.config import build_eval_config
from components.evaluation.verdict import read_verdict
from pipeline.thresholds import thresholds_for
from schema.features import MOVIELENS
from trainer import export
from trainer.config import BpmfConfig, LongTermConfig, TrainConfig, TrainerConfig

on_the_sample = pytest.mark.xdist_group("trainer")
on_real_data = pytest.mark.xdist_group("blessing")

# One pass of every part: the towers and the network, the autoencoder, and the sampler.
ONE_EPOCH = TrainerConfig(
    long_term=LongTermConfig(epochs=1),
    bpmf=BpmfConfig(burn_in=0, draws=1, thinning=1),
    train=TrainConfig(epochs=1),
)


def judge(folder, world, model, dataset):
    """The Evaluator's verdict on a SavedModel."""
    artifact = folder / "artifact"
    artifact.mkdir()
    (artifact / "Format-Serving").symlink_to(model)
    evaluated = evaluation_fixtures.run_evaluator(
        folder,
        build_eval_config(thresholds_for(dataset, "random", MOVIELENS), MOVIELENS),
        world.folder / "ratings",
        artifact,
    )
    return read_verdict(evaluated.evaluation, evaluated.blessing)


def missed(verdict):
    return {threshold.metric for threshold in verdict.failed()}


# --- any data: the generated sample, thresholds relative to it


@on_the_sample
def test_a_healthy_model_of_the_sample_is_blessed(trained, world, tmp_path):
    verdict = judge(tmp_path, world, trained.path, "sample")
    assert verdict.blessed, verdict.reasons()


@pytest.mark.exhaustive
@on_the_sample
def test_a_model_of_shuffled_ratings_is_not_blessed_for_it_explains_nothing(
    world, tmp_path, monkeypatch
):
    rows = [
        row
        for split in fixtures.SMALL.train.splits
        for row in fixtures.read_examples(world.rating_files[split])
    ]
    stars = [row.features.feature["user_rating"].float_list.value[0] for row in rows]
    for row, other in zip(rows, np.random.default_rng(0).permutation(stars), strict=True):
        row.features.feature["user_rating"].float_list.value[:] = [other]
    path = fixtures.write_examples(tmp_path / "shuffled.gz", rows)
    shuffled = fixtures.train(
        world, tmp_path, monkeypatch, rating_files={"train": [path], "validation": []}
    )
    verdict = judge(tmp_path, world, shuffled.path, "sample")
    assert not verdict.blessed
    assert missed(verdict) == {"next_visit_rating_r_squared"}
    assert verdict.reasons()[0].startswith("next_visit_rating_r_squared -")
    assert "is below the allowed 0.0000" in verdict.reasons()[0]


# --- MovieLens-100K, thresholds absolute


@pytest.fixture(scope="module")
def movielens(tmp_path_factory):
    return fixtures.world_of(*real_dirs(), tmp_path_factory.mktemp("movielens"))  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def healthy(movielens, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("healthy")
        return fixtures.train(movielens, folder, monkeypatch, TrainerConfig())


@needs_real_data
@pytest.mark.exhaustive
@on_real_data
def test_the_shipped_configuration_is_blessed(healthy, movielens, tmp_path):
    verdict = judge(tmp_path, movielens, healthy.path, "ml-100k")
    assert verdict.blessed, verdict.reasons()


@needs_real_data
@pytest.mark.exhaustive
@on_real_data
def test_a_model_trained_for_one_epoch_is_not_blessed(movielens, tmp_path, monkeypatch):
    hasty = fixtures.train(movielens, tmp_path, monkeypatch, ONE_EPOCH)
    verdict = judge(tmp_path, movielens, hasty.path, "ml-100k")
    assert not verdict.blessed
    expected = {"rating_rmse", "recall_at_10", "recall_at_100"}
    assert {f"next_visit_{name}" for name in expected} <= missed(verdict)
    assert any("next_visit_rating_rmse" in reason for reason in verdict.reasons())


@needs_real_data
@pytest.mark.exhaustive
@on_real_data
@pytest.mark.parametrize(
    ("part", "expected"),
    [
        # On a random split the session is no part of the verdict.
        ("towers", set()),
        ("long-term", {"next_visit_recall_at_10", "next_visit_recall_at_100"}),
    ],
)
def test_a_model_that_lost_a_tower_is_not_blessed(healthy, movielens, tmp_path, part, expected):
    retrieval = healthy.serving.retrieval
    table = {"towers": retrieval.towers, "long-term": retrieval.candidates}[part]
    kept = table.numpy()
    # The last column of the candidates is popularity, which stays.
    lost = np.zeros_like(kept)
    if part == "long-term":
        lost[:, -1] = kept[:, -1]
    table.assign(lost)
    try:
        export.export_evaluation(healthy.evaluation, str(tmp_path / "model"), {})
    finally:
        table.assign(kept)
    verdict = judge(tmp_path, movielens, tmp_path / "model", "ml-100k")
    assert verdict.blessed == (not expected)
    assert missed(verdict) == expected
    below = [reason for reason in verdict.reasons() if " is below the allowed " in reason]
    assert len(below) == len(expected)
