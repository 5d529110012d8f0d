"""Whose folder an output directory is, and what of earlier runs stays in it."""

import fcntl
import json

import pytest

from pipeline import output_folder
from pipeline.config import OutputPaths
from sources.errors import InputError

RUNS = [f"2026-11-26T10-00-0{second}.123456" for second in range(8)]


@pytest.fixture
def paths(tmp_path):
    return OutputPaths(tmp_path / "output")


def make(root, *names):
    """Makes files, and folders where a name ends with a slash."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_text("{}")


def claim(paths):
    with output_folder.claimed(paths):
        pass


def contents(root):
    return {str(p.relative_to(root)) for p in root.rglob("*")}


def test_a_new_folder_is_made_and_marked_as_ours(paths):
    with output_folder.claimed(paths):
        assert paths.marker.is_file()
    make(paths.root, "anything else")
    claim(paths)


@pytest.mark.parametrize(
    "names",
    [
        ["thesis.tex"],
        ["run.log"],
        ["summary.json", "run.log"],
        ["report/index.html"],
        ["data/ratings.csv"],
        ["metadata.sqlite", "photo.jpg"],
        ["serving_model/1/notes.txt"],
        ["pipeline_root/", "src/main.c"],
        [".git/"],
    ],
    ids=" ".join,
)
def test_a_folder_of_somebody_elses_files_is_refused_and_left_alone(paths, names):
    make(paths.root, *names)
    before = contents(paths.root)
    with pytest.raises(InputError, match="not of this pipeline") as refused:
        claim(paths)
    assert names[0].split("/")[0] in str(refused.value)
    assert contents(paths.root) == before


@pytest.mark.parametrize(
    "names",
    [
        [],
        [".lock"],
        ["lost+found/", ".gitkeep"],
        ["data.toml", "thresholds.toml", "data.schema.pbtxt"],
        ["pipeline_root/", "metadata.sqlite", "my notes.txt"],
        ["metadata.sqlite"],
        ["run.log", "pipeline_root/Trainer/x"],
        ["serving_model/1700000000/saved_model.pb"],
        ["data/sample-1000-seed42/u.data", "run.log"],
        ["tune/.movielens-output.json"],
        ["tune/pipeline_root/", "tune/metadata.sqlite"],
    ],
    ids=" ".join,
)
def test_empty_folders_and_those_of_earlier_releases_are_taken(paths, names):
    make(paths.root, *names)
    with output_folder.claimed(paths):
        assert paths.marker.is_file()


def test_a_folder_in_which_an_earlier_release_refused_a_run_is_ours(paths):
    make(paths.root, "run.log", ".lock")
    summary = {"status": "failed", "components": [], "exit_code": 2}
    paths.summary.write_text(json.dumps(summary))
    assert output_folder.is_ours(paths)


def test_a_second_run_is_kept_out_and_a_link_at_the_lock_is_not_emptied(paths, tmp_path):
    paths.root.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("kept")
    paths.lock.symlink_to(precious)
    with output_folder.claimed(paths), precious.open("a") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(InputError, match="another run uses"):
            claim(paths)
    assert precious.read_text() == "kept"


def test_the_last_five_runs_keep_their_reports(paths):
    for name in RUNS:
        make(paths.report.parent, f"{name}/index.html", f"{name}/summary.json", f"{name}/run.log")
    make(paths.report.parent, f"{RUNS[0]}/notes.txt", "index.html", "mine/index.html")
    output_folder.drop_old_runs(paths)
    kept = contents(paths.report.parent)
    assert {name for name in RUNS if f"{name}/index.html" in kept} == set(RUNS[-5:])
    assert {f"{RUNS[0]}/notes.txt", "index.html", "mine/index.html"} <= kept
    assert RUNS[1] not in kept


def test_the_name_of_a_run_is_a_folder_and_sorts_by_time(paths):
    folder = output_folder.run_folder(paths, "2026-11-26T10:00:00.123456")
    assert folder.name == RUNS[0]
    assert folder.parent == paths.report.parent


def test_a_log_that_is_put_back_is_that_of_the_run_before(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("before")
    with output_folder.log_set_aside(log) as put_back:
        log.write_text("refused")
        put_back()
    assert log.read_text() == "before"
    with output_folder.log_set_aside(log):
        log.write_text("new")
    assert log.read_text() == "new"
    assert contents(tmp_path) == {"run.log"}


def test_a_refused_first_run_leaves_no_log(tmp_path):
    log = tmp_path / "run.log"
    with output_folder.log_set_aside(log) as put_back:
        log.write_text("refused")
        put_back()
    assert contents(tmp_path) == set()
