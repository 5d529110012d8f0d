"""The search: its space, its order, its objective, its progress lines, and its outputs."""

import dataclasses
import json

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures
from keras_tuner.engine import hyperparameters as keras_hyperparameters
from tfx import types
from tfx.types import standard_artifacts
from tuning_fixtures import artifact_at, examples_of

from components import progress
from schema.features import MOVIELENS
from sources.errors import InputError
from trainer import run, tuning
from trainer.component import Trainer
from trainer.config import (
    CONFIG_FILE,
    SEARCHED,
    TRIALS_FILE,
    ModelConfig,
    TrainConfig,
    TrainerConfig,
    TunerConfig,
)
from trainer.tuner import Executor, Tuner

pytestmark = pytest.mark.xdist_group("trainer")

UNEVEN = TrainerConfig(
    model=ModelConfig(embedding_dim=7, rating_dropout=(0.4, 0.2, 0.1)),
    train=TrainConfig(epochs=9, seed=0),
)


def search(folder, evaluate, config=UNEVEN, **tuner):
    """A finished search with a stand-in for training."""
    found = tuning.MovieTuner(config, TunerConfig(**tuner), evaluate, str(folder))
    found.search()
    return found


def fake(score):
    """Takes the place of training: metrics from the values alone."""
    return lambda config, on_progress: {tuning.SCORE: score(config), "next_visit_rating_rmse": 1.0}


# --- values in and out of the configuration


@pytest.mark.parametrize("config", [TrainerConfig(), fixtures.SMALL, UNEVEN])
def test_the_values_of_a_configuration_put_into_it_change_nothing(config):
    assert config.with_hyperparameters(config.hyperparameters()) == config


def test_every_searched_value_arrives_where_training_reads_it():
    values = {
        "embedding_dim": 96,
        "query_dropout": 0.1,
        "rating_dropout": 0.2,
        "learning_rate": 0.002,
        "epochs": 12,
        "retrieval_weight": 0.7,
        "rating_weight": 3.0,
    }
    assert set(values) == set(SEARCHED)
    changed = UNEVEN.with_hyperparameters(values)
    assert changed.model == dataclasses.replace(
        UNEVEN.model, embedding_dim=96, query_dropout=0.1, rating_dropout=(0.2, 0.1, 0.05)
    )
    assert changed.train == dataclasses.replace(
        UNEVEN.train, learning_rate=0.002, epochs=12, retrieval_weight=0.7, rating_weight=3.0
    )
    assert (changed.long_term, changed.bpmf) == (UNEVEN.long_term, UNEVEN.bpmf)


def test_an_unknown_hyperparameter_is_named():
    with pytest.raises(ValueError, match="expected hyperparameters of .*received depth"):
        UNEVEN.with_hyperparameters({"depth": 3})


# --- the space


def test_shipped_values_lie_in_the_space_that_is_searched():
    for part in tuning.search_space(TrainerConfig(), TunerConfig()).space:
        default = part.default
        if isinstance(part, keras_hyperparameters.Choice):
            assert default in part.values
        else:
            assert part.min_value <= default <= part.max_value


def test_epochs_are_searched_from_8_to_16_or_not_at_all():
    searched = {p.name: p for p in tuning.search_space(UNEVEN, TunerConfig()).space}["epochs"]
    assert (searched.min_value, searched.max_value) == (8, 16)
    space = tuning.search_space(fixtures.SMALL, TunerConfig(epochs=False))
    assert isinstance(space.space[-3], keras_hyperparameters.Fixed)
    assert space.values["epochs"] == fixtures.SMALL.train.epochs


# --- the search


def test_the_first_trial_has_the_configured_values_and_the_others_do_not(tmp_path):
    found = search(tmp_path, fake(lambda config: 0.0), trials=6)
    assert found.trials[0].hyperparameters == UNEVEN.hyperparameters()
    others = [trial.hyperparameters for trial in found.trials[1:]]
    assert len({json.dumps(values) for values in others}) == 5
    assert UNEVEN.hyperparameters() not in others
    assert all(8 <= values["epochs"] <= 16 for values in others)


def test_the_same_seed_searches_the_same_values_and_another_seed_others(tmp_path):
    def values(name, seed):
        config = dataclasses.replace(UNEVEN, train=dataclasses.replace(UNEVEN.train, seed=seed))
        found = search(tmp_path / name, fake(lambda config: 0.0), config, trials=4)
        return [trial.hyperparameters for trial in found.trials]

    assert values("a", 0) == values("b", 0)
    assert values("c", 1)[1:] != values("a again", 0)[1:]


def test_the_largest_figure_wins_in_our_record_and_in_kerastuners(tmp_path):
    found = search(tmp_path, fake(lambda config: -abs(config.train.epochs - 14)), trials=12)
    distances = [abs(trial.hyperparameters["epochs"] - 14) for trial in found.trials]
    best = found.best()
    assert best.trial == 1 + int(np.argmin(distances))
    assert dict(found.get_best_hyperparameters()[0].values) == best.hyperparameters
    record = json.loads(json.dumps(found.record()))
    assert record["best"] == best.hyperparameters
    assert record["best_trial"] == best.trial
    assert [trial["trial"] for trial in record["trials"]] == list(range(1, 13))


def test_values_that_do_not_work_are_recorded_and_the_search_goes_on(tmp_path):
    def evaluate(config, on_progress):
        if config == UNEVEN:
            raise ValueError("expected finite losses")
        return {tuning.SCORE: 1.0}

    found = search(tmp_path, evaluate, trials=3)
    assert [trial.problem for trial in found.trials] == ["expected finite losses", None, None]
    assert found.best().trial == 2


def test_a_search_without_a_trial_that_works_says_why(tmp_path):
    def evaluate(config, on_progress):
        raise ValueError("expected finite losses")

    with pytest.raises(ValueError, match="expected a trial that works, received: .*finite losses"):
        search(tmp_path, evaluate, trials=2).record()


def test_a_fault_that_is_not_of_the_values_ends_the_search(tmp_path):
    def evaluate(config, on_progress):
        raise OSError(28, "No space left on device")

    with pytest.raises(keras_tuner.errors.FatalError, match="trial 1 of 3.*No space left"):
        search(tmp_path, evaluate, trials=3)


def test_progress_names_the_trial_and_the_best_so_far(tmp_path):
    def evaluate(config, on_progress):
        on_progress("epoch 1 of 2")
        return {tuning.SCORE: 0.25}

    lines = []
    with progress.sink(lines.append):
        search(tmp_path, evaluate, trials=2)
    assert lines == [
        "trial 1 of 2, epoch 1 of 2",
        f"trial 1 of 2: {tuning.OBJECTIVE} = 0.2500",
        "trial 2 of 2 (best: 0.2500), epoch 1 of 2",
        f"trial 2 of 2: {tuning.OBJECTIVE} = 0.2500",
    ]


# --- the objective


def test_figures_are_those_of_the_answers():
    rows = [  # stars; predicted in session, at the next visit; ranks in session, at the next visit
        (4.0, 3.0, 4.0, 10, 11),
        (1.0, 3.0, 1.0, 11, 1),
        (5.0, 5.0, 4.0, -1, 101),
        (2.0, 2.0, 4.0, 100, -1),
    ]

    def predict(examples):
        number = tf.size(examples)
        return {
            name: tf.constant(values)[:number]
            for name, values in zip(
                (
                    "in_session_rating",
                    "next_visit_rating",
                    "in_session_rank",
                    "next_visit_rank",
                ),
                list(zip(*rows, strict=True))[1:],
                strict=True,
            )
        }

    examples = [fixtures.to_example(user_rating=row[0]).SerializeToString() for row in rows]
    assert tuning.validation_metrics(predict, examples, MOVIELENS) == pytest.approx(
        {
            "in_session_rating_rmse": np.sqrt(5 / 4),
            "in_session_recall_at_10": 1 / 4,
            "in_session_recall_at_100": 3 / 4,
            "next_visit_rating_rmse": np.sqrt(5 / 4),
            "next_visit_recall_at_10": 1 / 4,
            "next_visit_recall_at_100": 2 / 4,
            tuning.SCORE: 1 / 4 + 2 / 4 - np.sqrt(5 / 4),
        }
    )


# --- the component, and what the Trainer makes of its artifact


TRIALS = 2


@pytest.fixture(scope="module")
def searched(world, tmp_path_factory):
    """What the real component wrote; two trials of one epoch, on the small world."""
    folder = tmp_path_factory.mktemp("tuner")
    (folder / "schema").mkdir()
    (folder / "schema" / "schema.pbtxt").touch()
    outputs = {
        "best_hyperparameters": [artifact_at(standard_artifacts.HyperParameters, folder / "best")],
        "tuner_results": [artifact_at(standard_artifacts.TunerResults, folder / "results")],
    }
    for [artifact] in outputs.values():
        tf.io.gfile.makedirs(artifact.uri)
    component = Tuner(
        **channels(),
        config=dataclasses.replace(
            fixtures.SMALL, train=dataclasses.replace(fixtures.SMALL.train, epochs=1)
        ),
        features=MOVIELENS,
        tuner=TunerConfig(trials=TRIALS, epochs=False),
    )
    lines = []
    context = Executor.Context(tmp_dir=str(folder / "tmp"), unique_id="1")
    with progress.sink(lines.append):
        Executor(context).Do(
            {
                # Whatever is in the test split is not read.
                "examples": [
                    examples_of(
                        world.rating_files | {"test": []},
                        folder / "ratings",
                        world.folder / "ratings",
                    )
                ],
                "movies": [examples_of({"movies": world.movie_files}, folder / "movies")],
                "transform_graph": [
                    artifact_at(standard_artifacts.TransformGraph, world.transform_graph)
                ],
                "schema": [artifact_at(standard_artifacts.Schema, folder / "schema")],
            },
            outputs,
            component.exec_properties,
        )
    record = json.loads((folder / "results" / TRIALS_FILE).read_text())
    return folder, record, lines


def channels():
    return {
        "examples": types.Channel(type=standard_artifacts.Examples),
        "movies": types.Channel(type=standard_artifacts.Examples),
        "transform_graph": types.Channel(type=standard_artifacts.TransformGraph),
        "schema": types.Channel(type=standard_artifacts.Schema),
    }


@pytest.mark.exhaustive
def test_the_record_names_objective_splits_seed_and_every_trials_figures(searched):
    _, record, _ = searched
    assert record["objective"] == (
        "next_visit_recall_at_10 + next_visit_recall_at_100 - next_visit_rating_rmse"
    )
    assert (record["split"], record["fitted_splits"]) == ("validation", ["train"])
    assert record["seed"] == fixtures.SMALL.train.seed
    assert len(record["trials"]) == TRIALS
    scores = []
    for trial in record["trials"]:
        metrics = trial["metrics"]
        shares = metrics["next_visit_recall_at_10"] + metrics["next_visit_recall_at_100"]
        assert metrics["objective"] == shares - metrics["next_visit_rating_rmse"]
        assert trial["cpu_seconds"] > 0
        scores.append(metrics["objective"])
    assert len(set(scores)) == TRIALS
    assert record["best"] == record["trials"][int(np.argmax(scores))]["hyperparameters"]


@pytest.mark.exhaustive
def test_the_standalone_models_are_fitted_once_for_all_trials(searched):
    _, _, lines = searched
    assert sum(line.startswith("autoencoder, epoch") for line in lines) == 1
    assert sum(line.startswith("ratings, sweep") for line in lines) == 1
    assert sum("epoch 1 of 1: retrieval loss" in line for line in lines) == TRIALS


@pytest.mark.exhaustive
def test_kerastuners_own_files_hold_the_same_best_values(searched):
    folder, record, _ = searched
    best = json.loads((folder / "best" / "best_hyperparameters.txt").read_text())
    assert best["values"] == record["best"]
    rows = json.loads((folder / "results" / "tuner_results.json").read_text())
    assert len(rows) == TRIALS


@pytest.mark.exhaustive
def test_the_trainer_uses_what_the_artifact_says(world, tmp_path, monkeypatch):
    values = fixtures.SMALL.hyperparameters() | {"embedding_dim": 5, "epochs": 1}
    used = fixtures.train(world, tmp_path, monkeypatch, hyperparameters={"values": values})
    config = TrainerConfig.from_json(json.loads((used.run_dir / CONFIG_FILE).read_text()))
    assert config == fixtures.SMALL.with_hyperparameters(values)
    assert used.serving.retrieval._query_tower.history.shape[1] == 5


def test_the_trainer_takes_the_artifact_through_tfxs_own_channel():
    chosen = types.Channel(type=standard_artifacts.HyperParameters)
    component = Trainer(
        **channels(),
        config=fixtures.SMALL,
        features=MOVIELENS,
        kind="any",
        hyperparameters=chosen,
    )
    assert component.inputs["hyperparameters"] is chosen


def test_the_tuner_names_its_function_and_splits_but_not_the_test_split():
    properties = Tuner(
        **channels(), config=UNEVEN, features=MOVIELENS, tuner=TunerConfig()
    ).exec_properties
    function = tuning.tuner_fn
    assert properties["tuner_fn"] == f"{function.__module__}.{function.__name__}"
    assert json.loads(properties["train_args"])["splits"] == ["train"]
    assert json.loads(properties["eval_args"])["splits"] == ["validation"]


def test_an_empty_validation_split_is_named(world):
    with pytest.raises(InputError, match="no ratings to choose hyperparameters on"):
        tuning.evaluation(
            fixtures.SMALL,
            world.event_files,
            world.rating_files | {"validation": []},
            world.user_files,
            world.movie_files,
            world.transform_graph,
            MOVIELENS,
        )


def test_a_split_that_is_not_there_is_named(world):
    with pytest.raises(ValueError, match="expected splits validation, received train"):
        run.files_of({"train": []}, ["validation"])
