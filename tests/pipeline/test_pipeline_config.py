"""Options of the pipeline: what is allowed, what is refused, and the text of --help."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import cli, run
from pipeline.config import RunConfig
from schema import features as raw
from schema.features import FeatureTable
from sources.errors import InputError
from trainer.config import SequenceConfig, TrainerConfig, TutorialConfig

ROOT = Path(__file__).resolve().parents[2]

OPTIONS = (
    "--dataset NAME",
    "--data",
    "--data-name NAME",
    "--metadata-dir",
    "--output-dir",
    "--split {random,temporal,timeline,leave-one-out}",
    "--split-time SECONDS",
    "--invalid-zip {keep,drop}",
    "--model {hybrid,joint,retrieval,rating}",
    "--epochs",
    "--set NAME=VALUE",
    "--settings FILE",
    "--schema FILE",
    "--thresholds FILE",
    "--sequence",
    "--tune",
    "--tune-trials N",
    "--seed",
    "--split-seed SEED",
    "--sample-seed SEED",
    "--no-cache",
    "--reset-cache",
    "--replace",
    "--no-push",
    "--verbose",
)


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("epochs", 0, "--epochs"),
        ("epochs", -3, "--epochs"),
        ("seed", -1, "--seed"),
        ("split_seed", -1, "--split-seed"),
        ("sample_seed", -1, "--sample-seed"),
        ("split_time", 0, "--split-time"),
        ("sample_ratings", 999, "--sample-ratings"),
        ("new_user_folds", 1, "--new-user-folds"),
        ("new_user_folds", -2, "--new-user-folds"),
    ],
)
def test_number_out_of_range_is_refused_by_the_option_it_came_from(name, value, option):
    with pytest.raises(InputError) as refused:
        RunConfig(**{name: value})
    message = str(refused.value)
    assert option in message
    assert str(value) in message
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("trials", [0, -1])
def test_a_search_without_trials_is_refused(trials):
    with pytest.raises(InputError, match="--tune-trials is out of range") as refused:
        RunConfig(tune=True, tune_trials=trials)
    assert refused.value.exit_code == 2


def test_only_the_hybrid_model_is_measured_on_new_users():
    with pytest.raises(InputError, match="measures the hybrid model only"):
        RunConfig(new_user_folds=5, model="joint")


def test_a_sequence_block_needs_the_hybrid_model_and_times():
    with pytest.raises(InputError, match="adds a part to the hybrid model only"):
        RunConfig(sequence=True, model="joint")
    data = SimpleNamespace(layout=None, data_dir=Path("shop"))
    table = FeatureTable((raw.USER_ID, raw.MOVIE_ID, raw.RATING))
    with pytest.raises(
        InputError, match="--sequence is given, but this data has no times"
    ) as refused:
        run._check_features(RunConfig(sequence=True), data, table)
    assert refused.value.exit_code == 2
    assert "expected: a column of times" in str(refused.value)
    assert "leave --sequence out" in str(refused.value)
    run._check_features(RunConfig(sequence=True), data, raw.MOVIELENS)
    run._check_features(RunConfig(), data, table)


def test_trials_without_a_search_are_refused_before_anything_is_written(tmp_path, capsys):
    assert cli.main(["--tune-trials", "5", "--output-dir", str(tmp_path / "output")]) == 2
    printed = capsys.readouterr().err
    assert "--tune-trials is given, but nothing is searched" in printed
    assert "add --tune" in printed
    assert not (tmp_path / "output").exists()


def test_the_old_name_of_the_hybrid_model_works_and_warns(monkeypatch, tmp_path, capsys):
    configurations = []
    monkeypatch.setattr("pipeline.run.run", lambda config: configurations.append(config) or 0)
    for name in ("tuned", "hybrid"):
        assert cli.main(["--model", name, "--output-dir", str(tmp_path)]) == 0
        warned = "--model tuned is now --model hybrid" in capsys.readouterr().err
        assert warned == (name == "tuned")
    assert [config.model for config in configurations] == ["hybrid", "hybrid"]


def test_a_model_to_compare_with_is_not_searched(capsys):
    assert cli.main(["--tune", "--model", "joint"]) == 2
    assert "--tune searches hyperparameters of the hybrid model only" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "value"), [("epochs", 1), ("seed", 0), ("sample_ratings", 1000)])
def test_least_number_is_allowed(name, value):
    assert getattr(RunConfig(**{name: value}), name) == value


def test_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().seed = 1  # type: ignore[misc]


def test_everything_lies_under_the_output_directory(tmp_path):
    paths = RunConfig(output_dir=tmp_path / "x").paths
    places = (paths.pipeline_root, paths.metadata, paths.serving_model, paths.summary, paths.log)
    assert [place.relative_to(tmp_path / "x").as_posix() for place in places] == [
        "pipeline_root",
        "metadata.sqlite",
        "serving_model",
        "summary.json",
        "run.log",
    ]


def test_paths_stay_where_they_were_when_the_working_directory_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = RunConfig().paths
    monkeypatch.chdir("/")
    assert before.root == tmp_path / "output"


def test_help_is_short_complete_and_quick():
    run = subprocess.run(
        [sys.executable, str(ROOT / "local_runner.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "80"},
        timeout=30,
    )
    assert run.stderr == ""
    assert len(run.stdout.splitlines()) <= 55
    text = " ".join(run.stdout.split())
    for option in OPTIONS:
        assert option in text
    codes = ("0 pushed or up to date", "1 unexpected", "2 wrong use", "3 anom", "4 not bl", "5 bl")
    for code in (*codes, "130 int"):
        assert code in text


def test_every_field_of_the_configuration_is_an_option(monkeypatch):
    configs = []
    monkeypatch.setattr("pipeline.run.run", lambda config: configs.append(config) or 7)
    line = (
        "--dataset auto --data d --data-name n --metadata-dir m --output-dir o"
        " --split timeline --split-time 7 --invalid-zip drop --epochs 3 --tune --tune-trials 4"
        " --new-user-folds 5 --sequence --set model.rating_dim=8 --set bpmf.weight=0.5"
        " --schema s.pbtxt --thresholds t.toml"
        " --seed 5 --split-seed 6 --sample-seed 8 --sample-ratings 2000"
        " --no-cache --reset-cache --no-push --verbose"
    )
    code = cli.main(line.split())
    assert code == 7
    assert configs == [
        RunConfig(
            dataset="auto",
            data=Path("d"),
            data_name="n",
            metadata_dir=Path("m"),
            output_dir=Path("o"),
            split="timeline",
            split_time=7,
            invalid_zip="drop",
            epochs=3,
            sequence=True,
            tune=True,
            tune_trials=4,
            new_user_folds=5,
            settings=(("bpmf.weight", 0.5), ("model.rating_dim", 8)),
            schema=Path("s.pbtxt"),
            thresholds=Path("t.toml"),
            seed=5,
            split_seed=6,
            sample_seed=8,
            sample_ratings=2000,
            cache=False,
            reset_cache=True,
            no_push=True,
            verbose=True,
        )
    ]


def test_a_setting_on_the_command_line_goes_before_the_files(monkeypatch, tmp_path):
    configs = []
    monkeypatch.setattr("pipeline.run.run", lambda config: configs.append(config) or 0)
    file = tmp_path / "settings.toml"
    file.write_text("[trainer]\nepochs = 3\nbatch_size = 512\n")
    assert cli.main(["--settings", str(file), "--set", "trainer.epochs=12"]) == 0
    assert configs == [RunConfig(settings=(("trainer.batch_size", 512), ("trainer.epochs", 12)))]


def test_settings_that_contradict_the_options_or_change_nothing_are_refused():
    epochs = (("trainer.epochs", 3),)
    with pytest.raises(InputError, match="--epochs and trainer.epochs set the same"):
        RunConfig(epochs=2, settings=epochs)
    with pytest.raises(InputError, match="model.rating_dim changes nothing with --model joint"):
        RunConfig(model="joint", settings=(*epochs, ("model.rating_dim", 3)))
    with pytest.raises(InputError, match="tutorial.batch_size changes nothing with --model hybrid"):
        RunConfig(settings=(*epochs, ("tutorial.batch_size", 64)))
    with pytest.raises(InputError, match="sequence.width changes nothing without --sequence"):
        RunConfig(settings=(("sequence.width", 64),))
    with pytest.raises(InputError, match="(?s)width and sequence.heads do not fit.*multiple of 2"):
        RunConfig(sequence=True, settings=(("sequence.width", 33),))
    with pytest.raises(InputError, match="model.recency_seconds=none switches sessions off"):
        RunConfig(sequence=True, settings=(("model.recency_seconds", ()),))


def test_settings_reach_the_trainer_beside_the_other_options():
    trainer = run._trainer_config(RunConfig(seed=7, settings=(("trainer.epochs", 3),)))
    assert (trainer.train.epochs, trainer.train.seed) == (3, 7)
    joint = run._trainer_config(RunConfig(model="joint", settings=(("tutorial.batch_size", 64),)))
    assert joint.tutorial == TutorialConfig(batch_size=64)
    assert run._trainer_config(RunConfig()) == TrainerConfig()
    wide = run._trainer_config(RunConfig(sequence=True, settings=(("sequence.width", 64),)))
    assert wide == TrainerConfig(sequence=SequenceConfig(width=64))
    assert TrainerConfig.from_json(wide.to_json()) == wide


def test_the_names_of_all_settings_are_printed(capsys):
    assert cli.main(["--set", "help"]) == 0
    assert "trainer.epochs=10\n" in capsys.readouterr().out


def test_an_unknown_setting_is_refused_before_anything_is_written(tmp_path, capsys):
    assert cli.main(["--set", "trainer.epoch=3", "--output-dir", str(tmp_path / "out")]) == 2
    assert "trainer.epochs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_former_name_of_the_data_option_works_with_a_warning(monkeypatch, capsys):
    configs = []
    monkeypatch.setattr("pipeline.run.run", lambda config: configs.append(config) or 0)
    assert cli.main(["--data-dir", "d"]) == 0
    assert configs == [RunConfig(data=Path("d"))]
    assert "Warning: --data-dir is now --data" in capsys.readouterr().err
    assert cli.main(["--data-dir", "d", "--data", "e"]) == 2
    assert "both are given" in capsys.readouterr().err


def test_replacing_another_kind_is_an_option(monkeypatch):
    configs = []
    monkeypatch.setattr("pipeline.run.run", lambda config: configs.append(config) or 0)
    cli.main(["--replace"])
    assert configs == [RunConfig(replace=True)]


def test_model_is_an_option(monkeypatch):
    configs = []
    monkeypatch.setattr("pipeline.run.run", lambda config: configs.append(config) or 0)
    cli.main(["--model", "joint"])
    assert configs == [RunConfig(model="joint")]


def test_defaults_of_the_options_are_those_of_the_configuration(monkeypatch):
    configs = []
    monkeypatch.setattr("pipeline.run.run", lambda config: configs.append(config) or 0)
    cli.main([])
    assert configs == [RunConfig()]


def test_interrupt_is_no_stack_trace(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.run.run", interrupted)
    assert cli.main([]) == 130
    printed = capsys.readouterr()
    assert "next run goes on" in printed.err
    assert printed.out == ""
