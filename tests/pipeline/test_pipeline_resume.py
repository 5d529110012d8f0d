"""Runs that are killed, resumed, repeated, tuned and edited, in one folder with a hostile name.

Every path holds characters that libraries take for patterns. In the standard tier killed pushes are
tested at every step of a push (tests/pusher) and cached runs in test_pipeline_end_to_end.py.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_fixtures import (
    CACHEABLE,
    CACHED,
    COMPONENTS,
    RESOLVERS,
    RUNNING,
    Project,
    tree_digest,
)

from sources.sample import MARKER_FILE, METADATA_FOLDER, generate_sample
from trainer.config import TrainerConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.exhaustive,
    pytest.mark.xdist_group("pipeline_resume"),
]

HOSTILE = 'a [1]*?{b,c} 100% it\'s "q" $HOME 🎬'

SECONDS_IN = {
    "StatisticsGen": 0.0,
    "Transform": 2.0,
    "Trainer": 3.0,
    "Evaluator": 1.5,
    "Pusher": 0.0,
    "ReportGen": 0.0,
}
"""The components that a run is killed in, and how long each is at work before."""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Everything lies in a hostile folder: project, data, metadata, output and models."""
    folder = tmp_path_factory.mktemp("resume") / HOSTILE
    folder.mkdir()
    copy = Project(folder)
    yield copy
    copy.close()


@pytest.fixture(scope="module")
def output(project):
    return project.scratch / f"out {HOSTILE}"


@pytest.fixture(scope="module")
def arguments(project):
    raw = project.scratch / f"data {HOSTILE}"
    generate_sample(raw, ratings=1000, seed=1)
    (raw / MARKER_FILE).unlink()  # as if somebody had collected it
    metadata = project.scratch / f"metadata {HOSTILE}"
    shutil.move(raw / METADATA_FOLDER, metadata)
    return ("--data", raw, "--metadata-dir", metadata, "--epochs", "1")


@pytest.fixture(scope="module")
def killed(project, arguments, output):
    """Runs by the component they were killed in."""
    results = {}
    for name, seconds in SECONDS_IN.items():
        run = project.start(*arguments, output=output)
        run.wait_for_start_of(name, seconds)
        results[name] = run.kill()
    return results


@pytest.fixture(scope="module")
def resumed(killed, project, arguments, output):
    """The run after the killed ones."""
    return project.run(*arguments, output=output)


@pytest.fixture(scope="module")
def untouched(resumed, project, arguments, output):
    """The same command again."""
    assert resumed.code == 0, resumed.out + resumed.err + resumed.log[-3000:]
    return project.run(*arguments, output=output)


@pytest.fixture(scope="module")
def tuned(untouched, project, arguments, output):
    """With a search, and an edit of the trainer."""
    add_comment(project, "trainer/fit.py")
    return project.run(*arguments, "--tune", "--tune-trials", "2", output=output)


@pytest.fixture(scope="module")
def tuned_again(tuned, project, arguments, output):
    return project.run(*arguments, "--tune", "--tune-trials", "2", output=output)


@pytest.fixture(scope="module")
def transform_edited(tuned_again, project, arguments, output):
    """Interrupted, as by Ctrl-C, when Transform is done."""
    add_comment(project, "transform/preprocessing.py")
    run = project.start(*arguments, output=output)
    run.wait_for_start_of("Trainer")
    return run.interrupt()


def add_comment(project, name):
    with (project.root / name).open("a", encoding="utf-8") as file:
        file.write("\n# An edit.\n")


def lines(run):
    """State by component, as printed before the run ended."""
    return dict(re.findall(r"^[✓○✗] (\w+) +(\w+) ", run.out, re.MULTILINE))


# --- killed


@pytest.mark.parametrize("name", SECONDS_IN)
def test_run_killed_in_a_component_keeps_what_was_done_before(killed, name):
    run = killed[name]
    assert run.code == -9, run.out
    done = lines(run)
    assert set(COMPONENTS[: COMPONENTS.index(name)]) <= set(done)
    number = list(killed).index(name)
    earlier = COMPONENTS[: COMPONENTS.index(list(killed)[number - 1])] if number else ()
    assert {done[one] for one in earlier if one in CACHEABLE} <= {"cached"}


@pytest.mark.parametrize("name", SECONDS_IN)
def test_killed_run_leaves_no_version_or_a_whole_one(killed, resumed, name):
    allowed = resumed.versions.items() if name in ("Pusher", "ReportGen") else ()
    assert set(killed[name].versions.items()) <= set(allowed)


def test_some_runs_were_killed_at_work(killed):
    """The store knows of executions that never ended."""
    for name in ("Transform", "Trainer", "Evaluator"):
        assert killed[name].executions[name, RUNNING] > 0, name


# --- resumed


def test_next_run_goes_on_and_pushes_one_version(resumed, output):
    assert resumed.code == 0, resumed.out + resumed.err
    assert resumed.summary["status"] in ("pushed", "up_to_date")
    assert resumed.ran <= RESOLVERS | {"Evaluator", "Pusher", "ReportGen"}
    assert "Traceback" not in resumed.out + resumed.err
    names = {path.name for path in (output / "serving_model").iterdir()}
    assert names == {"kind.json", resumed.summary["pushed_version"]}


def test_a_path_is_never_a_pattern(resumed, output):
    assert Path(resumed.summary["pushed_path"]).parent == output / "serving_model"
    assert "without" not in resumed.out.split("ReportGen")[1].splitlines()[0]


def test_a_pushed_model_loads_in_such_a_folder(resumed):
    """By a relative path: TensorFlow takes an absolute one for a pattern."""
    code = (
        "import sys, tensorflow as tf\nprint(*sorted(tf.saved_model.load(sys.argv[1]).signatures))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code, "."],
        cwd=resumed.summary["pushed_path"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "recommend" in loaded.stdout


# --- again


def test_run_after_that_is_all_cached(untouched):
    assert untouched.code == 0, untouched.out + untouched.err
    assert untouched.ran <= RESOLVERS
    assert untouched.summary["status"] == "up_to_date"
    assert all(untouched.executions[name, CACHED] for name in CACHEABLE)


def test_the_reports_summaries_and_logs_of_the_last_runs_stay(resumed, untouched, output):
    folders = sorted(path for path in (output / "report").iterdir() if path.is_dir())
    kept = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    assert [one["run"] for one in kept] == [resumed.summary["run"], untouched.summary["run"]]
    for folder in folders:
        assert (folder / "index.html").read_text(encoding="utf-8").startswith("<!")
        assert "Component Pusher started" in (folder / "run.log").read_text()


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (["--metadata-dir", "nowhere"], "--metadata-dir does not exist"),
        (["--data", "nowhere"], "--data does not exist"),
        (["--data", "gs://bucket/data"], "--data is a URL"),
        (["--epochs", "0"], "--epochs is out of range"),
        (["--dataset", "ml-100k"], "downloaded"),
    ],
)
def test_a_refused_run_leaves_what_the_last_one_left(untouched, project, output, wrong, word):
    """Options and folders are checked before anything is touched."""
    before = {p: p.read_bytes() for p in output.iterdir() if p.is_file()}
    assert before[output / "run.log"]
    pages = tree_digest(output / "report")
    result = project.run(*wrong, output=output, keep_log=True)
    assert result.code == 2, result.out + result.err
    assert word in result.err
    assert {p: p.read_bytes() for p in output.iterdir() if p.is_file()} == before
    assert tree_digest(output / "report") == pages


# --- tuned, with an edited trainer


def test_the_search_and_an_edited_trainer_run_with_what_depends_on_them(tuned):
    assert tuned.code == 0, tuned.out + tuned.err
    assert tuned.ran - {"Pusher"} == RESOLVERS | {"Tuner", "Trainer", "Evaluator", "ReportGen"}
    order = list(COMPONENTS)
    order.insert(order.index("Trainer"), "Tuner")
    assert [component["name"] for component in tuned.summary["components"]] == order


def test_the_trainer_used_the_best_values_that_were_found(tuned, output):
    [path] = (output / "pipeline_root" / "Tuner" / "tuner_results").glob("*/trials.json")
    record = json.loads(path.read_text())
    scores = [trial["metrics"]["objective"] for trial in record["trials"]]
    assert len(scores) == 2
    best = record["trials"][scores.index(max(scores))]["hyperparameters"]
    runs = (output / "pipeline_root" / "Trainer" / "model_run").glob("*/config.json")
    latest = max(runs, key=lambda file: int(file.parent.name))
    config = TrainerConfig.from_json(json.loads(latest.read_text()))
    assert config.hyperparameters() == pytest.approx(best)
    assert config.train.epochs == 1


def test_summary_and_terminal_show_what_was_found_and_where(tuned, output):
    tuning = tuned.summary["tuning"]
    assert tuning["objective"] == (
        "next_visit_recall_at_10 + next_visit_recall_at_100 - next_visit_rating_rmse"
    )
    assert tuning["split"] == "validation"
    assert len(tuning["trials"]) == 2
    assert tuning["path"].startswith(str(output.resolve()))
    line = next(line for line in tuned.out.splitlines() if line.startswith("✓ Tuner"))
    assert f"best of 2 trials: {tuning['best_trial']}, " in line
    shown = next(line for line in tuned.out.splitlines() if line.startswith("hyperparameters"))
    assert f"embedding_dim {tuning['best']['embedding_dim']}, " in shown
    for number in (1, 2):
        assert f"trial {number} of 2" in tuned.log


def test_the_same_search_again_is_cached(tuned_again):
    assert tuned_again.code == 0, tuned_again.out + tuned_again.err
    assert tuned_again.ran <= RESOLVERS
    assert tuned_again.states["Tuner"] == "cached"


# --- edited and interrupted


def test_edit_of_the_preprocessing_runs_it_and_nothing_before_it(transform_edited):
    states = lines(transform_edited)
    assert states.pop("Transform") == "ran"
    assert {states[name] for name in states if name in CACHEABLE} == {"cached"}


def test_interrupted_run_says_that_the_next_one_goes_on(tuned_again, transform_edited):
    assert transform_edited.code == 130, transform_edited.out + transform_edited.err
    assert transform_edited.err == "Interrupted. The next run goes on from here.\n"
    assert "Traceback" not in transform_edited.out
    assert transform_edited.versions == tuned_again.versions
