"""Runs in folders with names that libraries take for patterns; what a refused run leaves alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_fixtures import RESOLVERS, Project, tree_digest

from sources.sample import MARKER_FILE, METADATA_FOLDER, generate_sample

pytestmark = [pytest.mark.exhaustive, pytest.mark.xdist_group("pipeline_paths")]

HOSTILE = 'a [1]*?{b,c} 100% it\'s "q" $HOME 🎬'


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Everything lies in a hostile folder: project, data, metadata, output and models."""
    folder = tmp_path_factory.mktemp("paths") / HOSTILE
    folder.mkdir()
    copy = Project(folder)
    yield copy
    copy.close()


@pytest.fixture(scope="module")
def arguments(project):
    raw = project.scratch / f"data {HOSTILE}"
    generate_sample(raw, ratings=1000, seed=1)
    (raw / MARKER_FILE).unlink()  # as if somebody had collected it
    films = project.scratch / f"films {HOSTILE}"
    shutil.move(raw / METADATA_FOLDER, films)
    return ("--data", raw, "--metadata-dir", films, "--epochs", "1")


@pytest.fixture(scope="module")
def output(project):
    return project.scratch / f"out {HOSTILE}"


@pytest.fixture(scope="module")
def first(project, arguments, output):
    return project.run(*arguments, output=output)


@pytest.fixture(scope="module")
def second(first, project, arguments, output):
    assert first.code == 0, first.out + first.err + first.log[-3000:]
    return project.run(*arguments, output=output)


def test_a_path_is_never_a_pattern(first, output):
    assert first.code == 0, first.out + first.err
    assert first.summary["status"] == "pushed"
    assert Path(first.summary["pushed_path"]).parent == output / "serving_model"
    assert "without" not in first.out.split("ReportGen")[1].splitlines()[0]


def test_a_second_run_in_such_folders_is_cached(second):
    assert second.code == 0, second.out + second.err
    assert second.ran <= RESOLVERS


def test_a_pushed_model_loads_in_such_a_folder(second):
    """By a relative path: TensorFlow takes an absolute one for a pattern."""
    code = (
        "import sys, tensorflow as tf\nprint(*sorted(tf.saved_model.load(sys.argv[1]).signatures))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code, "."],
        cwd=second.summary["pushed_path"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "recommend" in loaded.stdout


def test_the_reports_summaries_and_logs_of_the_last_runs_stay(first, second, output):
    folders = sorted(path for path in (output / "report").iterdir() if path.is_dir())
    kept = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    assert [summary["run"] for summary in kept] == [first.summary["run"], second.summary["run"]]
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
def test_a_refused_run_leaves_what_the_last_one_left(second, project, output, wrong, word):
    """Options and folders are looked at before anything is touched."""
    before = {p: p.read_bytes() for p in output.iterdir() if p.is_file()}
    assert before[output / "run.log"]
    pages = tree_digest(output / "report")
    result = project.run(*wrong, output=output, keep_log=True)
    assert result.code == 2, result.out + result.err
    assert word in result.err
    assert {p: p.read_bytes() for p in output.iterdir() if p.is_file()} == before
    assert tree_digest(output / "report") == pages
