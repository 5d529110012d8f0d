"""The product with --tune: searched values reach the Trainer, and a second run finds them."""

import json

import pytest
from pipeline_fixtures import COMPONENTS, RESOLVERS, SMALL

from trainer.config import TrainerConfig

pytestmark = [pytest.mark.exhaustive, pytest.mark.xdist_group("pipeline_tuner")]

TUNED = (*SMALL, "--epochs", "1", "--tune", "--tune-trials", "2")


@pytest.fixture(scope="module")
def first(project, output):
    return project.run(*TUNED, output=output)


@pytest.fixture(scope="module")
def second(first, project, output):
    """The same command again."""
    return project.run(*TUNED, output=output)


def test_the_search_runs_between_transform_and_trainer(first):
    assert first.code == 0, first.out + first.err
    order = list(COMPONENTS)
    order.insert(order.index("Trainer"), "Tuner")
    assert [component["name"] for component in first.summary["components"]] == order


def test_the_trainer_used_the_best_values_that_were_found(first, output):
    [path] = (output / "pipeline_root" / "Tuner" / "tuner_results").glob("*/trials.json")
    record = json.loads(path.read_text())
    scores = [trial["metrics"]["objective"] for trial in record["trials"]]
    assert len(scores) == 2
    best = record["trials"][scores.index(max(scores))]["hyperparameters"]
    [used] = (output / "pipeline_root" / "Trainer" / "model_run").glob("*/config.json")
    config = TrainerConfig.from_json(json.loads(used.read_text()))
    assert config.hyperparameters() == pytest.approx(best)
    assert config.train.epochs == 1


def test_summary_and_screen_tell_what_was_found_and_where(first, output):
    tuning = first.summary["tuning"]
    assert tuning["objective"] == (
        "next_visit_recall_at_10 + next_visit_recall_at_100 - next_visit_rating_rmse"
    )
    assert tuning["split"] == "validation"
    assert len(tuning["trials"]) == 2
    assert tuning["path"].startswith(str(output.resolve()))
    line = next(line for line in first.out.splitlines() if line.startswith("✓ Tuner"))
    assert f"best of 2 trials: {tuning['best_trial']}, " in line
    shown = next(line for line in first.out.splitlines() if line.startswith("hyperparameters"))
    assert f"embedding_dim {tuning['best']['embedding_dim']}, " in shown


def test_each_trial_is_shown_while_it_runs(first):
    for number in (1, 2):
        assert f"trial {number} of 2" in first.log


def test_the_same_command_again_searches_nothing(second):
    assert second.code == 0, second.out + second.err
    assert second.ran <= RESOLVERS
    assert second.states["Tuner"] == "cached"
    assert second.summary["status"] == "up_to_date"
