"""The whole product on a small sample, run after run on one output directory.

Each fixture is a run that follows on the one before it; the tests look at what it left. The first
run is the one that all tests share; those after it work on a copy of its output directory.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sample_run
from pipeline_fixtures import (
    CACHEABLE,
    CACHED,
    COMPLETE,
    COMPONENTS,
    LENIENT,
    RESOLVERS,
    ROOT,
    Project,
    result_of,
)

from components.pusher.kind import Kind
from sources.sample import MARKER_FILE, generate_sample

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline_end_to_end")]

THE_SAME = sample_run.ARGUMENTS
MORE_EPOCHS = (*THE_SAME, "--epochs", "3")
MOVED = {"AnomalyGate", "ReportGen"}
"""The components whose options name the output directory."""

SUMMARY_TYPES = {
    "status": str,
    "dataset": dict,
    "rows": dict,
    "components": list,
    "metrics": dict,
    "thresholds": list,
    "blessed": bool,
    "pushed_version": str,
    "pushed_path": str,
    "report": str,
}
SHARES = {
    f"{scenario}_{name}{end}"
    for scenario in ("next_visit", "in_session")
    for name in (*(f"recall_at_{k}" for k in (1, 5, 10, 50, 100)), "mrr")
    for end in ("", "_low", "_high")
} | {f"next_visit_user_recall_at_10{end}" for end in ("", "_low", "_high")}
RMSE = "next_visit_rating_rmse"


def with_report(run):
    """The run with the words of its report, which the next run replaces."""
    path = Path(run.summary["report"])
    verdict = re.search(r'<p class="note verdict (\w+)">(.*?)</p>', path.read_text("utf-8"), re.S)
    run.summary["in_report"] = verdict.groups()
    return run


@pytest.fixture(scope="module")
def first(sample_output):
    streams = [sample_output.with_name(name) for name in (sample_run.OUT, sample_run.ERR)]
    if not all(path.exists() for path in streams):
        pytest.skip("SAMPLE_OUTPUT names a run that was not made by these tests")
    return with_report(result_of(0, sample_output, *streams))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project itself: no test here edits code, and the first run must be known again."""
    runs = Project(tmp_path_factory.mktemp("end-to-end"), root=ROOT)
    yield runs
    runs.close()


@pytest.fixture(scope="module")
def output(first, sample_output, project):
    """The output directory that the runs after the first share; its raw files are the same."""
    copy = project.scratch / "output"
    shutil.copytree(sample_output, copy, ignore=shutil.ignore_patterns("data"))
    (copy / "data").symlink_to(sample_output / "data")
    return copy


@pytest.fixture(scope="module")
def moved(project, output):
    """The same command after a move, with a variable that users of TFRS are told to set."""
    variables = {"TF_USE_LEGACY_KERAS": "1"}
    return with_report(project.run_cold(*THE_SAME, output=output, environment=variables))


@pytest.fixture(scope="module")
def too_strict(moved, project, output):
    """A bound that no model reaches."""
    assert moved.code == 0, moved.out + moved.err
    bound = {"max_rating_rmse": 0.01}
    return with_report(project.run(*THE_SAME, output=output, thresholds=bound))


@pytest.fixture(scope="module")
def changed_and_intruder(too_strict, project, output):
    """Another number of epochs, which concerns the Trainer and what follows it.

    While the Trainer is at work, another run is started.
    """
    run = project.start(*MORE_EPOCHS, output=output, thresholds=LENIENT)
    run.wait_for_start_of("Trainer")
    intruder = project.run_cold(*MORE_EPOCHS, output=output)
    assert run.is_at_work, "the intruder must not wait for the end of the run before it"
    return run.wait(), intruder


@pytest.fixture(scope="module")
def changed(changed_and_intruder):
    return changed_and_intruder[0]


@pytest.fixture(scope="module")
def intruder(changed_and_intruder):
    return changed_and_intruder[1]


@pytest.fixture(scope="module")
def deleted(changed, project, output):
    """The artifacts of one component and the pushed versions were deleted."""
    shutil.rmtree(output / "pipeline_root" / "StatisticsGen" / "statistics")
    shutil.rmtree(output / "serving_model")
    return project.run(*MORE_EPOCHS, output=output, thresholds=LENIENT)


@pytest.fixture(scope="module")
def other_data(project):
    """Somebody's own data."""
    folder = project.scratch / "ratings"
    generate_sample(folder, ratings=1000, seed=1)
    (folder / MARKER_FILE).unlink()  # as if somebody had collected it
    return folder


@pytest.fixture(scope="module")
def other_kind(deleted, other_data, project, output):
    """Data of another name, where models of the sample are served."""
    return project.run("--data", other_data, "--epochs", "1", output=output, thresholds=LENIENT)


@pytest.fixture(scope="module")
def replaced(other_kind, other_data, project, output):
    """The same, and meant."""
    return project.run(
        "--data", other_data, "--epochs", "1", "--replace", output=output, thresholds=LENIENT
    )


# --- the first run


def test_first_run_pushes_a_version(first):
    assert first.summary["status"] == "pushed"
    assert first.summary["blessed"] is True
    assert list(first.versions) == [first.summary["pushed_version"]]


def test_everything_a_run_makes_lies_in_the_output_directory(first, sample_output):
    expected = {"pipeline_root", "metadata.sqlite", "serving_model", "summary.json", "run.log"}
    expected |= {"report"}
    assert expected <= {path.name for path in sample_output.iterdir()}
    assert first.summary["pushed_path"] == str(
        sample_output / "serving_model" / first.summary["pushed_version"]
    )
    assert [path for path in sample_output.parent.iterdir() if path.is_dir()] == [sample_output]


def test_summary_has_every_key_in_its_type(first):
    summary = first.summary
    for key, kind in SUMMARY_TYPES.items():
        assert isinstance(summary[key], kind), key
    assert summary["dataset"]["name"] == "sample"
    assert summary["dataset"]["source"] == "generated"
    assert summary["dataset"]["seed"] == 42
    for threshold in summary["thresholds"]:
        assert threshold["metric"] in summary["metrics"]
        assert threshold["passed"] is True


def test_summary_counts_rows_per_split_and_drop_reason(first):
    rows = first.summary["rows"]
    kept = rows["train"] + rows["validation"] + rows["test"]
    dropped = sum(rows["dropped"]["u.data"].values())
    assert dropped > 0
    assert kept + dropped == rows["read"]["u.data"]


def test_metrics_are_flat_and_named_as_documented(first):
    metrics = first.summary["metrics"]
    assert first.summary["schema_version"] == 3
    assert set(metrics) >= SHARES
    assert all(isinstance(value, float) for value in metrics.values())
    assert 0 < metrics[RMSE] < 5
    assert metrics[f"{RMSE}_low"] <= metrics[RMSE] <= metrics[f"{RMSE}_high"]
    assert all(0 <= metrics[name] <= 1 for name in SHARES)


def test_summary_times_every_component(first):
    assert [c["name"] for c in first.summary["components"]] == list(COMPONENTS)
    for component in first.summary["components"]:
        assert component["state"] == "ran"
        assert component["wall_seconds"] > 0
        assert component["cpu_seconds"] > 0


def test_each_component_has_one_plain_line_on_stdout(first):
    lines = [line for line in first.out.splitlines() if line.startswith(("✓", "○", "✗"))]
    assert [line.split()[1:3] for line in lines] == [[name, "ran"] for name in COMPONENTS]
    assert "\x1b" not in first.out
    assert "\r" not in first.out


def test_chatter_of_libraries_is_in_the_log_and_nowhere_else(first):
    assert first.err == ""
    assert first.message == []
    for sign in ("tensorflow:", "absl", "WARNING", " I tfx", "MetadataStore", "Traceback"):
        assert sign not in first.out
    assert first.log.count("\n") > 100
    assert "MetadataStore" in first.log or "absl" in first.log
    assert "Component Transform started" in first.log


def test_table_ends_with_the_next_thing_to_type_on_one_line(first, sample_output):
    assert f"make serve ARGS='--model-dir {sample_output / 'serving_model'}'\n" in first.out


@pytest.mark.exhaustive
def test_pushed_version_loads_in_a_fresh_process(first, sample_output):
    """In the standard tier a page's command does so (tests/docs)."""
    version = sample_output / "serving_model" / first.summary["pushed_version"]
    code = (
        "import sys, tensorflow as tf\nprint(*sorted(tf.saved_model.load(sys.argv[1]).signatures))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code, str(version)], capture_output=True, text=True, check=True
    )
    assert {"serving_default", "recommend", "rank"} <= set(loaded.stdout.split())


def test_every_component_of_the_first_run_executes_once(first):
    assert first.executions == {(name, COMPLETE): 1 for name in COMPONENTS}


def test_run_leaves_a_report_that_gives_its_verdict(first, sample_output):
    assert first.summary["report"] == str(sample_output / "report" / "index.html")
    assert "output/report/index.html (open it in a browser)" in first.out
    tone, text = first.summary["in_report"]
    assert tone == "good"
    assert text.startswith("Blessed")


# --- again


def test_moved_output_directory_costs_no_more_than_what_names_it(moved):
    assert moved.code == 0, moved.out + moved.err
    assert moved.ran <= RESOLVERS | MOVED
    for name in set(CACHEABLE) - MOVED:
        assert moved.executions[name, CACHED] == 1, name


def test_a_variable_that_breaks_the_libraries_is_named_once(moved):
    assert moved.err.startswith("TF_USE_LEGACY_KERAS=1 is ignored: ")
    assert moved.err.count("\n") == 1


def test_moved_run_is_up_to_date_and_pushes_nothing(first, moved):
    assert moved.summary["status"] == "up_to_date"
    assert moved.summary["pushed_version"] == first.summary["pushed_version"]
    assert moved.versions == first.versions


def test_moved_run_says_the_same_of_the_model(first, moved):
    for key in ("metrics", "thresholds", "rows", "metadata", "blessed", "dataset", "in_report"):
        assert moved.summary[key] == first.summary[key], key


# --- not blessed


def test_model_below_a_bound_is_not_blessed_and_not_pushed(first, too_strict):
    assert too_strict.code == 4
    assert too_strict.summary["status"] == "not_blessed"
    assert too_strict.summary["blessed"] is False
    assert too_strict.ran <= RESOLVERS | {"Evaluator", "Pusher", "ReportGen"}
    assert too_strict.executions["AnomalyGate", CACHED] == 1
    assert too_strict.versions == first.versions


def test_verdict_names_the_missed_bound_and_the_value(too_strict):
    [missed] = [t for t in too_strict.summary["thresholds"] if not t["passed"]]
    assert (missed["metric"], missed["kind"], missed["bound"]) == (RMSE, "value", 0.01)
    assert missed["value"] == too_strict.summary["metrics"][RMSE]
    [reason] = [r for r in too_strict.summary["reasons"] if RMSE in r]
    assert "0.01" in reason
    assert reason in " ".join(too_strict.out.split())
    assert "not blessed" in too_strict.out


def test_report_of_a_model_that_was_not_blessed_says_why(too_strict):
    tone, text = too_strict.summary["in_report"]
    assert tone == "bad"
    assert text.startswith("Not blessed")
    assert all(reason in text for reason in too_strict.summary["reasons"])


# --- a change, and two at once


@pytest.mark.exhaustive
def test_refused_run_does_not_disturb_the_one_at_work(changed, intruder):
    for name in COMPONENTS:
        assert changed.log.count(f"Component {name} started") == 1
    assert changed.log.startswith(intruder.log[:500])


@pytest.mark.exhaustive
def test_second_run_on_one_output_directory_is_refused_at_once(intruder, output):
    assert intruder.code == 2
    assert "another run" in intruder.err
    assert str(output) in intruder.err
    assert len(intruder.err.splitlines()) <= 6
    assert intruder.out == ""


@pytest.mark.exhaustive
def test_other_epochs_run_trainer_and_what_follows(changed):
    assert changed.code == 0, changed.out
    assert changed.ran == RESOLVERS | {"Trainer", "Evaluator", "Pusher", "ReportGen"}


@pytest.mark.exhaustive
def test_changed_model_is_compared_with_the_one_blessed_before(first, changed):
    changes = {t["metric"]: t for t in changed.summary["thresholds"] if t["kind"] == "change"}
    assert set(changes) == {RMSE, "next_visit_recall_at_10", "next_visit_recall_at_100"}
    for metric, threshold in changes.items():
        assert threshold["baseline"] == pytest.approx(first.summary["metrics"][metric])
        assert threshold["value"] == changed.summary["metrics"][metric]
    assert "blessed before" in changed.out
    assert changed.summary["baseline"] == "compared"
    for change in changed.summary["changes"]:
        assert change["low"] <= change["high"]
        assert change["word"] in ("better", "worse", "within noise")
        assert f"{change['change']:+.4f} beside the blessed model" in changed.out or (
            change["metric"] == "in_session_rating_mae"
        )


@pytest.mark.exhaustive
def test_changed_model_becomes_a_new_version_and_the_old_ones_stay(first, changed):
    assert changed.summary["status"] == "pushed"
    assert first.versions.items() <= changed.versions.items()
    [new] = set(changed.versions) - set(first.versions)
    assert int(new) > max(map(int, first.versions))
    assert changed.summary["pushed_version"] == new


# --- things deleted


@pytest.mark.exhaustive
def test_deleted_artifacts_are_made_again_and_nothing_that_did_not_need_them(deleted):
    assert deleted.code == 0, deleted.out
    assert deleted.ran >= {"StatisticsGen", "Pusher"}
    needing = {"ExampleValidator", "SchemaGen", "AnomalyGate", "ReportGen"}
    assert deleted.ran <= {"StatisticsGen", "Pusher"} | needing | RESOLVERS


@pytest.mark.exhaustive
def test_deleted_version_is_pushed_again_from_the_same_model(changed, deleted):
    assert deleted.summary["status"] == "pushed"
    [digest] = deleted.versions.values()
    assert digest == changed.versions[changed.summary["pushed_version"]]


# --- another kind


@pytest.mark.exhaustive
def test_blessed_model_of_another_kind_is_not_pushed(deleted, other_kind):
    assert other_kind.code == 5, other_kind.out + other_kind.err
    assert (other_kind.summary["status"], other_kind.summary["blessed"]) == ("other_kind", True)
    assert other_kind.summary["pushed_version"] is None
    assert other_kind.versions == deleted.versions


@pytest.mark.exhaustive
def test_that_it_will_not_be_pushed_stands_first_and_last_in_words(other_kind, other_data):
    begin, end = other_kind.out.split("ImportSchemaGen", 1)
    assert "is evaluated but not pushed" in begin
    assert "sample, random split, split seed 42" in begin
    assert "add --replace if this data and split are to be served" in " ".join(end.split())
    assert "ratings-" in end
    assert "Traceback" not in other_kind.out + other_kind.err


@pytest.mark.exhaustive
def test_readers_of_earlier_runs_keep_to_one_kind(other_kind):
    """Statistics of a sample and a model of it are nothing to compare other data with."""
    assert re.search(r"PreviousStatistics .*none: no earlier run of this kind", other_kind.out)
    assert re.search(
        r"LatestBlessedModel .*none: no other blessed model of this kind", other_kind.out
    )


@pytest.mark.exhaustive
def test_another_kind_replaces_what_is_served_with_replace(other_kind, replaced, output):
    assert replaced.code == 0, replaced.out
    assert replaced.ran == RESOLVERS | {"Pusher"}
    assert replaced.versions.keys() > other_kind.versions.keys()
    kind = json.loads((output / "serving_model" / "kind.json").read_text())
    assert kind["dataset"] == replaced.summary["kind"]["dataset"]


@pytest.mark.exhaustive
def test_metrics_and_verdict_travel_with_the_version(replaced):
    path = Path(replaced.summary["pushed_path"]) / "assets.extra" / "run.json"
    record = json.loads(path.read_text())
    assert record["metrics"] == replaced.summary["metrics"]
    assert record["run"] == replaced.summary["run"]
    assert (record["blessed"], record["reasons"][0]) == (True, replaced.summary["reasons"][0])
    assert {t["metric"] for t in record["thresholds"]} == {
        t["metric"] for t in replaced.summary["thresholds"]
    }
    assert record["dataset"]["name"] == record["kind"]["dataset"]
    assert Kind.from_json(record["kind"]) == Kind.from_json(replaced.summary["kind"])
