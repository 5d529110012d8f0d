"""What run_fn reads, prints, writes and refuses; its configuration; its component."""

import dataclasses
import json

import numpy as np
import pytest
import trainer_fixtures as fixtures
from tfx import types
from tfx.types import artifact_utils, standard_artifacts

from schema.dataset import DatasetLabel, read_label
from schema.export_contract import DATASET_FILE
from schema.features import FEATURES_KEY, MOVIELENS, FeatureTable, RatingScale
from trainer import run
from trainer.component import Executor, Trainer
from trainer.config import HISTORY_FILE, LEFT_OUT_FILE, ModelConfig, TrainConfig, TrainerConfig
from trainer.epochs import RatingRmse

pytestmark = pytest.mark.xdist_group("trainer")


def changed(**values):
    return dataclasses.replace(
        fixtures.SMALL, train=dataclasses.replace(fixtures.SMALL.train, **values)
    )


# --- run_fn


def test_losses_of_every_epoch_are_written_beside_the_logs(trained):
    losses = json.loads((trained.run_dir / HISTORY_FILE).read_text())
    assert {"rmse", "retrieval_loss", "loss"} <= set(losses)
    for name, series in losses.items():
        tuned = fixtures.SMALL.long_term if name == "autoencoder_loss" else fixtures.SMALL.train
        assert len(series) == tuned.epochs
        assert np.isfinite(series).all()
    assert losses["retrieval_loss"][-1] < losses["retrieval_loss"][0]
    assert list(trained.run_dir.rglob("events.out.tfevents.*"))


def test_both_models_say_what_data_they_are_of(trained):
    for path in (trained.path, trained.served_path):
        assert read_label(path / DATASET_FILE) == DatasetLabel(title="Novels", item_noun="book")


def test_a_model_of_all_parts_names_none_that_was_left_out(trained):
    for path in (trained.path, trained.served_path):
        assert json.loads((path / "assets.extra" / LEFT_OUT_FILE).read_text()) == {}


def test_the_splits_of_the_configuration_are_fitted(trained, world):
    rows = sum(
        1
        for split in fixtures.SMALL.train.splits
        for _ in fixtures.read_examples(world.rating_files[split])
    )
    assert len(trained.interactions) == rows


def test_progress_is_reported_epoch_by_epoch(trained):
    reading, autoencoder, sweeps, first, second, exporting, done = trained.progress_lines
    assert reading == "reading ratings"
    assert autoencoder.startswith("autoencoder, epoch 6 of 6: loss ")
    assert sweeps == "ratings, sweep 18 of 18"
    assert first.startswith("epoch 1 of 2: retrieval loss ")
    assert second.startswith("epoch 2 of 2: retrieval loss ")
    assert exporting == "exporting"
    assert done.startswith(f"2 epochs on {len(trained.interactions):,} ratings, training rmse ")


def test_the_training_error_is_in_units_of_the_datas_scale():
    rmse = RatingRmse(RatingScale(0, 10).units_per_star)
    # Off by 1 and 7 of ten, which are 0.4 and 2.8 of the models' stars.
    rmse.update_state([1.0, 5.0], [1.4, 2.2])
    assert float(rmse.result()) == pytest.approx(5.0)
    assert RatingScale(1, 5).units_per_star == 1


def test_a_learning_rate_that_explodes_is_named_and_nothing_is_exported(
    world, tmp_path, monkeypatch
):
    config = changed(learning_rate=1e20, epochs=3)
    with pytest.raises(ValueError, match=r"expected finite losses.*lower train.learning_rate"):
        fixtures.train(world, tmp_path, monkeypatch, config)
    assert not (tmp_path / "model").exists()


def test_a_missing_split_is_named(world, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="expected splits train, tomorrow, received train, "):
        fixtures.train(world, tmp_path, monkeypatch, changed(splits=("train", "tomorrow")))


# --- configuration


CHANGED = TrainerConfig(
    model=ModelConfig(recency_seconds=(), rating_dropout=(0.1, 0.2, 0.3), embedding_dim=3),
    train=TrainConfig(splits=("train",), seed=1, learning_rate=1e-5),
)


@pytest.mark.parametrize("config", [TrainerConfig(), fixtures.SMALL, CHANGED])
def test_a_configuration_survives_json(config):
    assert TrainerConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("part", ["model", "train"])
def test_an_unknown_name_in_the_configuration_is_refused(part):
    value = TrainerConfig().to_json()
    value[part]["depht"] = 3
    with pytest.raises(TypeError, match="depht"):
        TrainerConfig.from_json(value)


# --- the component


def examples(uri, files):
    artifact = standard_artifacts.Examples()
    artifact.uri = str(uri)
    artifact.split_names = artifact_utils.encode_split_names(sorted(files))
    for split, names in files.items():
        folder = uri / f"Split-{split}"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
    return artifact


def artifact_at(kind, uri):
    artifact = kind()
    artifact.uri = str(uri)
    return artifact


def test_the_component_names_its_function_splits_and_configuration():
    component = Trainer(
        examples=types.Channel(type=standard_artifacts.Examples),
        movies=types.Channel(type=standard_artifacts.Examples),
        transform_graph=types.Channel(type=standard_artifacts.TransformGraph),
        schema=types.Channel(type=standard_artifacts.Schema),
        config=CHANGED,
        features=MOVIELENS,
        kind="sample-random-42",
    )
    properties = component.exec_properties
    assert properties["run_fn"] == f"{run.run_fn.__module__}.{run.run_fn.__name__}"
    assert json.loads(properties["train_args"])["splits"] == list(CHANGED.train.splits)
    given = json.loads(properties["custom_config"])
    assert TrainerConfig.from_json(given) == CHANGED
    assert FeatureTable.from_json(given[FEATURES_KEY]) == MOVIELENS
    assert "movies" in component.inputs


def test_the_executor_hands_over_every_split_and_the_catalogue(tmp_path):
    files = {"train": ["b.gz", "a.gz"], "validation": ["c.gz"], "test": ["d.gz"]}
    ratings = examples(tmp_path / "ratings", files)
    ratings.set_string_custom_property("dataset", '{"title": "Novels"}')
    events = {"train": ["b.arrow", "a.arrow"], "validation": ["c.arrow"], "test": []}
    for place, names in {
        "Users": ["u.gz"],
        **{f"Events-{split}": names for split, names in events.items()},
    }.items():
        (tmp_path / "ratings" / place).mkdir(parents=True)
        for name in (*names, ".half.arrow"):
            (tmp_path / "ratings" / place / name).touch()
    schema = artifact_at(standard_artifacts.Schema, tmp_path / "schema")
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "schema.pbtxt").touch()
    arguments = Executor()._GetFnArgs(
        {
            "examples": [ratings],
            "movies": [examples(tmp_path / "movies", {"movies": ["m.gz"]})],
            "transform_graph": [artifact_at(standard_artifacts.TransformGraph, tmp_path / "graph")],
            "schema": [schema],
        },
        {
            "model": [artifact_at(standard_artifacts.Model, tmp_path / "model")],
            "model_run": [artifact_at(standard_artifacts.ModelRun, tmp_path / "run")],
        },
        {
            "train_args": json.dumps({"splits": ["train"]}),
            "eval_args": json.dumps({"splits": ["validation"]}),
            "custom_config": json.dumps(CHANGED.to_json()),
        },
    )
    folder = tmp_path / "ratings"
    assert arguments.rating_files == {
        "train": [str(folder / "Split-train" / name) for name in ("a.gz", "b.gz")],
        "validation": [str(folder / "Split-validation" / "c.gz")],
        "test": [str(folder / "Split-test" / "d.gz")],
    }
    assert arguments.event_files == {
        split: [str(folder / f"Events-{split}" / name) for name in sorted(names)]
        for split, names in events.items()
    }
    assert arguments.user_files == [str(folder / "Users" / "u.gz")]
    assert arguments.movie_files == [str(tmp_path / "movies" / "Split-movies" / "m.gz")]
    assert arguments.dataset == {"title": "Novels"}
    assert TrainerConfig.from_json(arguments.custom_config) == CHANGED
    assert arguments.transform_graph_path == str(tmp_path / "graph")
    assert arguments.serving_model_dir == str(tmp_path / "model" / "Format-Serving")
    assert arguments.eval_model_dir == str(tmp_path / "model" / "Format-TFMA")
    assert arguments.model_run_dir == str(tmp_path / "run")
