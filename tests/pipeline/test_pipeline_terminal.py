"""What a person sees: plain lines, a spinner on a terminal, and the final table."""

import dataclasses
import errno
import io
import json
import math
import os
import pty
import re
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from components import progress
from components.evaluation.verdict import ThresholdResult, Verdict
from pipeline import outcome
from pipeline import run as runs
from pipeline import summary as summaries
from pipeline.config import OutputPaths
from pipeline.dag import ComponentRun
from pipeline.logs import captured_output
from pipeline.terminal import CACHED, FAILED, RAN, Terminal
from sources.errors import AnomaliesError, InputError

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
PATHS = OutputPaths(Path("/data/output"))


# --- lines


@pytest.fixture
def terminal():
    """A pseudo-terminal: a stream to write to, and a function that ends it and reads it all."""
    ours, theirs = pty.openpty()
    stream = os.fdopen(theirs, "w", encoding="utf-8")
    read = bytearray()

    def drain():
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:
                return
            if not data:
                return
            read.extend(data)

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()

    def finish():
        stream.close()
        thread.join(5)
        os.close(ours)
        return read.decode()

    return stream, finish


def test_plain_line_says_state_seconds_and_result():
    stream = io.StringIO()
    terminal = Terminal(stream)
    with terminal.working("Trainer") as update:
        update("epoch 1 of 2")
    terminal.component("Trainer", RAN, 12.34, "2 epochs")
    terminal.component("Evaluator", CACHED, 0.04, "blessed")
    terminal.component("Pusher", FAILED, 100.0, "no space")
    assert stream.getvalue().splitlines() == [
        "✓ Trainer                 ran      12.3 s  2 epochs",
        "○ Evaluator               cached    0.0 s  blessed",
        "✗ Pusher                  failed  100.0 s  no space",
    ]


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"])
def test_a_file_is_no_terminal_whatever_a_variable_says(monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    stream = io.StringIO()
    terminal = Terminal(stream)
    with terminal.working("Trainer"):
        terminal.print("a line", style="red")
    assert stream.getvalue() == "a line\n"


def test_plain_lines_are_never_wrapped_nor_taken_for_markup():
    stream = io.StringIO()
    Terminal(stream).component("RatingsGen", RAN, 1.0, "[bold]x[/bold] " * 40)
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().count("[bold]") == 40


def test_terminal_shows_a_spinner_with_name_and_progress_and_then_only_the_line(
    terminal, monkeypatch
):
    monkeypatch.setenv("TERM", "xterm-256color")
    stream, finish = terminal
    terminal = Terminal(stream)
    with terminal.working("Trainer") as update, progress.sink(update):
        progress.report("epoch 3 of 9")
        time.sleep(0.4)
    terminal.component("Trainer", RAN, 1.0, "done")
    shown = finish()
    running, last = shown[: shown.rindex("Trainer")], shown[shown.rindex("Trainer") :]
    assert "running" in running
    assert "epoch 3 of 9" in running
    assert any(frame in running for frame in "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
    assert "\x1b[2K" in running  # the spinner's line is erased
    assert "done" in last
    assert "running" not in last


# --- the table

RMSE, RECALL = "next_visit_rating_rmse", "next_visit_recall_at_10"


def summary(**changes):
    """What a run on a small sample comes to."""
    metrics = {
        "example_count": 208.0,
        RMSE: 0.97197,
        f"{RMSE}_low": 0.91,
        f"{RMSE}_high": 1.0312,
        RECALL: 0.33654,
        "next_visit_recall_at_100": 0.99038,
        "in_session_recall_at_10": 0.4,
    }
    found = summaries.Summary(
        dataset={
            "name": "sample",
            "source": "generated",
            "data_dir": "/data/output/data/sample-1000-seed42",
            "metadata_dir": None,
            "seed": 42,
            "notice": None,
        },
        status=summaries.PUSHED,
        rows={
            "train": 69500,
            "validation": 9500,
            "test": 20800,
            "dropped": {"u.data": {"rating out of range": 1}, "u.user": {"exact duplicate": 2}},
            "repaired": {"u.item": {"quotes or byte-string residue removed": 2}},
            "read": {"u.data": 99801, "u.user": 41, "u.item": 120},
        },
        metadata={"movies": 1682, "matched": 1600},
        left_out={"EASE": "its weights take 392 MB, allowed are 300"},
        components=[{"name": "Pusher", "state": "ran", "wall_seconds": 0.1, "cpu_seconds": 0.1}],
        metrics=metrics,
        thresholds=[
            threshold(RMSE, "value", bound=1.1, value=0.97197, limit=1.1),
            threshold(RMSE, "change", bound=0.005, value=0.97197, baseline=0.98, limit=0.985),
        ],
        baseline="compared",
        changes=[
            {"metric": RMSE, "change": -0.00803, "low": -0.012, "high": -0.004, "word": "better"},
            {
                "metric": RECALL,
                "change": 0.001,
                "low": -0.004,
                "high": 0.006,
                "word": "within noise",
            },
        ],
        blessed=True,
        pushed_version="1700000000",
        pushed_path="/data/output/serving_model/1700000000",
        exit_code=0,
    )
    return dataclasses.replace(found, **changes)


def threshold(metric, kind, *, bound, value, limit, baseline=None, passed=True):
    return {
        "metric": metric,
        "kind": kind,
        "bound": bound,
        "value": value,
        "baseline": baseline,
        "passed": passed,
        "limit": limit,
    }


def not_blessed():
    return summary(
        status=summaries.NOT_BLESSED,
        dataset=summary().dataset | {"notice": "NOT REAL DATA: this run uses a sample."},
        thresholds=[
            threshold(RMSE, "value", bound=0.92, value=0.97197, limit=0.92, passed=False),
            threshold(RECALL, "value", bound=0.17, value=0.33654, limit=0.17),
        ],
        reasons=[f"{RMSE} 0.9720 is above the allowed 0.9200"],
        baseline="none of this kind",
        changes=[],
        blessed=False,
        pushed_version=None,
        pushed_path=None,
        exit_code=4,
    )


def shown(value):
    stream = io.StringIO()
    summaries.show(value, Terminal(stream), PATHS)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "value"), [("blessed", summary()), ("not_blessed", not_blessed())]
)
def test_final_table(golden, name, value):
    golden(GOLDEN / f"summary_{name}.txt", shown(value))


def test_what_is_missing_lost_and_dropped_on_request_is_shown_in_words():
    report = {
        "rows": {"train": 700, "validation": 100, "test": 200},
        "files": {
            "u.data": {"rows": 1100, "dropped": {"invalid zip code": 100}, "repaired": {}},
            "u.user": {
                "rows": 68,
                "dropped": {"invalid zip code": 3},
                "repaired": {},
                "values_lost": {"age out of range": 1},
                "missing": {"gender": 58, "age": 1},
            },
        },
    }
    report["test"] = {
        "new_users": 12,
        "rows_of_new_users": 3456,
        "new_movies": 7,
        "rows_of_new_movies": 89,
    }
    text = " ".join(shown(summary(rows=summaries.rows_of(report))).split())
    assert "new in test 3,456 ratings by 12 users, 89 of 7 movies, that have none in" in text
    assert "u.data: 100 invalid zip code (asked for: --invalid-zip drop)" in text
    assert "values lost u.user: 1 age out of range" in text
    assert "missing 58 of 65 users have no gender; 1 of 65 users has no age" in text


def test_a_cached_report_is_judged_by_the_limit_of_this_run():
    report = {
        "rows": {},
        "metadata": {},
        "files": {
            "u.data": {"rows": 100, "dropped": {"unknown user": 3}, "repaired": {}, "examples": {}}
        },
    }
    outcome.check_losses(report, 0.05)
    with pytest.raises(InputError, match="3 of 100 rows are lost, more than 1 %"):
        outcome.check_losses(report, 0.01)


def test_table_of_a_run_that_stopped_early_is_short_and_says_where_to_look():
    text = shown(
        summaries.Summary(
            status=summaries.ANOMALIES, dataset=summary().dataset, rows=summary().rows, exit_code=3
        )
    )
    assert "stopped: the data has anomalies" in text
    assert "anomalies.json" in text
    assert RMSE not in text


def test_reasons_call_items_what_the_data_calls_them_and_leave_names_as_they_are(monkeypatch):
    found = summary(dataset=summary().dataset | {"item_noun": "product"}, reasons=[])
    over = "next_visit_recall_at_10_over_popularity_high"
    worse = ThresholdResult(over, "value", 0.0, -0.1, None, False)
    monkeypatch.setattr(
        outcome, "verdict", lambda run: Verdict(False, False, {over: -0.1}, {}, (), (worse,))
    )
    run = ComponentRun("Evaluator", RAN, 1.0, 1.0, None, {})
    outcome.record(found, run)
    assert "the most popular products are found more often" in " ".join(found.reasons)
    found.reasons.append("the folder has models of the kind my-movies-1a2b3c4d")
    assert "the kind my-movies-1a2b3c4d" in shown(found)


def test_threshold_of_an_interval_stands_in_the_row_that_has_the_interval():
    over = "next_visit_recall_at_10_over_popularity"
    bound = threshold(f"{over}_high", "value", bound=0.0, value=0.031, limit=0.0)
    values = {over: 0.021, f"{over}_low": 0.011, f"{over}_high": 0.031}
    text = shown(summary(metrics=summary().metrics | values, thresholds=[bound]))
    assert re.search(
        rf"^{over} +0\.0210 \(0\.0110 to 0\.0310\)   upper end at least 0\.0000 ✓$",
        text,
        re.MULTILINE,
    )
    assert f"{over}_high" not in text


def test_threshold_that_could_not_be_computed_is_shown_without_numbers():
    broken = [threshold(RMSE, "change", bound=0.005, value=0.9, limit=None, passed=False)]
    assert "✗" in shown(summary(thresholds=broken))


def test_metric_that_is_no_number_is_shown_as_such():
    text = shown(summary(metrics=summary().metrics | {RMSE: None}, thresholds=[]))
    assert re.search(rf"^{RMSE} +could not be computed$", text, re.MULTILINE)


def test_threshold_of_a_metric_that_is_no_number_is_valid_json():
    result = ThresholdResult(
        RMSE, "change", bound=0.01, value=math.nan, baseline=math.nan, passed=False
    )
    [found] = summaries.thresholds_as_json([result])
    assert (found["value"], found["baseline"], found["limit"]) == (None, None, None)
    assert (found["bound"], found["passed"]) == (0.01, False)
    assert "no limit" in shown(summary(thresholds=[found]))


def test_next_command_is_one_line_on_a_narrow_terminal_too(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "50")
    stream, finish = terminal
    summaries.show(summary(), Terminal(stream), PATHS)
    assert "make serve ARGS='--model-dir /data/output/serving_model'" in finish()


@pytest.mark.parametrize("folder", ["output", "an output", "it's $HOME", "a/b"])
def test_next_command_serves_the_pushed_model(tmp_path, monkeypatch, folder):
    """Typed into a shell, it starts the server with the directory."""
    monkeypatch.setattr(summaries, "_PROJECT", tmp_path)
    for inherited in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # set where `make test` runs us
        monkeypatch.delenv(inherited, raising=False)
    stream = io.StringIO()
    summaries.show(summary(), Terminal(stream), OutputPaths(tmp_path / folder))
    command = re.search(r"^next +(make serve.*)$", stream.getvalue(), re.MULTILINE)[1]
    assert (command == "make serve") is (folder == "output")
    (tmp_path / "Makefile").write_text(
        "serve:\n\t@for word in $(ARGS); do echo $$word; done\n", encoding="utf-8"
    )
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    expected = [] if folder == "output" else ["--model-dir", f"{folder}/serving_model"]
    assert done.stdout.splitlines() == expected


def test_summary_for_machines_is_json_and_replaced_as_a_whole(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text("old")
    summary().write(path)
    assert json.loads(path.read_text())["status"] == "pushed"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *(("pushed", 0), ("up_to_date", 0), ("no_push", 0), ("failed", 1)),
        *(("anomalies", 3), ("not_blessed", 4), ("other_kind", 5)),
    ],
)
def test_exit_code_of_each_status(status, code):
    found = summaries.Summary()
    found.conclude(status)
    assert (found.status, found.exit_code) == (status, code)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InputError("bad"), "failed", 2),
        (AnomaliesError("odd"), "anomalies", 3),
        (ValueError("oh"), "failed", 1),
    ],
)
def test_exit_code_of_each_kind_of_failure(error, status, code):
    found = summaries.Summary()
    found.fail(error, "text")
    assert (found.status, found.exit_code, found.error) == (status, code, "text")


def test_metrics_of_new_users_stand_beside_those_of_the_evaluator(tmp_path, monkeypatch):
    name = "new_user_3_user_ndcg_at_10"
    metrics = {name: 0.52, f"{name}_low": 0.5, f"{name}_high": 0.54}
    (tmp_path / "new_users.json").write_text(json.dumps({"folds": 5, "metrics": metrics}))
    run = ComponentRun(
        "NewUserEvaluator",
        RAN,
        1.0,
        1.0,
        None,
        {"evaluation": [types.SimpleNamespace(uri=tmp_path)]},
    )
    assert outcome.describe(run) == "5 folds: no user"
    found = summaries.Summary()
    outcome.record(found, run)
    monkeypatch.setattr(
        outcome, "verdict", lambda run: Verdict(True, False, {RECALL: 0.2}, {}, (), ())
    )
    outcome.record(found, dataclasses.replace(run, name="Evaluator"))
    assert found.metrics == {**metrics, RECALL: 0.2}
    text = shown(summary(metrics=found.metrics, thresholds=[], changes=[]))
    assert f"{name} 0.5200 (0.5000 to 0.5400)" in re.sub(r" +", " ", text)


# --- messages


BEAM_ERROR = (
    "Traceback (most recent call last):\n  File x\nOSError: [Errno 28] No space left on device: "
    "'/data/x' [while running 'WriteSplit[train]/Write']"
)


def chained():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the writer gave up") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError(BEAM_ERROR),
        RuntimeError("Error when executing query: database or disk is full query: INSERT"),
        chained(),
    ],
    ids=["itself", "from a Beam worker", "from the metadata store", "as a cause"],
)
def test_full_disk_is_explained_however_it_arrives(error):
    problem = runs.error_to_print(error, PATHS)
    message = runs.explain(problem, PATHS)
    assert problem.exit_code == 2  # type: ignore[attr-defined]
    assert "the disk is full" in message
    assert "/data/output" in message
    assert "Traceback" not in message


def test_full_disk_that_a_component_has_explained_is_left_as_it_is():
    error = InputError("no space left to push the model")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert runs.error_to_print(error, PATHS) is error


def test_other_failure_is_left_as_it_is():
    error = ValueError("odd")
    assert runs.error_to_print(error, PATHS) is error


def test_error_with_a_message_for_people_is_printed_as_it_is():
    assert runs.explain(InputError("odd", file="u.data", row=3), PATHS) == "u.data, row 3: odd"


@pytest.mark.parametrize("text", ["", "one\ntwo\nthree", "x" * 5000])
def test_unexpected_failure_is_two_lines_that_name_the_log(text):
    message = runs.explain(ValueError(text), PATHS)
    assert len(message.splitlines()) == 2
    assert len(message) < 500
    assert message.startswith("Unexpected failure: ValueError")
    assert str(PATHS.log) in message


# --- the log


def capture(tmp_path, code, *, verbose):
    """Runs code under `captured_output` in a process of its own."""
    program = (
        "import logging, os, sys\nfrom pathlib import Path\n"
        "from pipeline.logs import captured_output\n"
        f"with captured_output(Path({str(tmp_path / 'run.log')!r}), verbose={verbose}) as people:\n"
        + "".join(f"    {line}\n" for line in code)
        + "print('after')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return run, (tmp_path / "run.log").read_text()


NOISE = (
    "os.write(1, b'from C to stdout\\n')",
    "os.write(2, b'from C to stderr\\n')",
    "print('printed')",
    "print('printed too', file=sys.stderr)",
    "logging.getLogger('tfx.x').info('logged')",
    "import warnings; warnings.warn('beware')",
    "logging.warning('ArtifactQuery.property_predicate is not supported.')",
    "people.write('for people\\n')",
)
HEARD = ("from C to stdout", "from C to stderr", "printed", "printed too", "logged", "beware")


def test_everything_libraries_write_lands_in_the_log(tmp_path):
    run, log = capture(tmp_path, NOISE, verbose=False)
    assert run.stdout == "for people\nafter\n"
    assert run.stderr == ""
    for word in HEARD:
        assert word in log
    assert "I tfx.x: logged" in log
    assert "property_predicate" not in log
    assert "for people" not in log


def test_verbose_shows_it_as_well(tmp_path):
    run, log = capture(tmp_path, NOISE, verbose=True)
    assert run.stdout == "for people\nafter\n"
    for word in HEARD:
        assert word in run.stderr
        assert word in log


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("pipe", ["2>&1 | head -n 1", ">&- 2>&-"], ids=["head", "closed"])
def test_nobody_who_reads_stops_nothing(tmp_path, verbose, pipe):
    """Output piped into head, a closed window: the run goes on, and its exit code is its own."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom storage import environment\n"
        "environment.prepare()\nfrom pipeline.logs import captured_output\n"
        "from pipeline.terminal import Terminal\n"
        f"with captured_output(Path({str(tmp_path / 'run.log')!r}), verbose={verbose}) as people:\n"
        "    for number in range(2000):\n"
        "        Terminal(people).print(f'for people {number}')\n"
        "        sys.stderr.write('x' * 200 + '\\n')\n"
        "    print('last words')\n"
        "environment.print_to_stderr(['an error'])\nenvironment.flush_streams()\nsys.exit(4)"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$0" -c "$1" {pipe}', sys.executable, program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    log = (tmp_path / "run.log").read_text()
    assert log.count("x" * 200) == 2000
    assert log.endswith("last words\n")


def test_failure_in_the_midst_restores_the_streams(tmp_path):
    code = ("print('before')", "raise SystemExit('gone')")
    run, log = capture(tmp_path, code, verbose=True)
    assert run.returncode == 1
    assert run.stderr.endswith("gone\n")
    assert "gone" not in log


def test_log_of_an_earlier_run_is_replaced(tmp_path):
    (tmp_path / "run.log").write_text("of an earlier run")
    _, log = capture(tmp_path, ("print('new')",), verbose=False)
    assert log == "new\n"


def test_log_that_cannot_be_opened_leaves_the_streams_alone(tmp_path, capfd):
    with pytest.raises(OSError, match="directory"), captured_output(tmp_path, verbose=False):
        pass
    print("still here")
    assert capfd.readouterr().out == "still here\n"
