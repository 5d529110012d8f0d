"""The command: what it needs, what it refuses, and where the tables go."""

import contextlib
import json
import sys
from pathlib import Path

import pytest

from benchmarks.compare import __main__ as command
from benchmarks.compare import baselines_rating, baselines_retrieval
from sources.errors import InputError

# They need numpy alone, which this environment has as well as the baselines' own.
LIGHT = tuple(
    method
    for method in (*baselines_retrieval.METHODS, *baselines_rating.METHODS)
    if method.name in ("popularity", "ease", "mean")
)


@pytest.fixture
def places(movielens, tmp_path, monkeypatch):
    """The command with light baselines only, in a project of its own."""
    monkeypatch.setattr(command, "BASELINES", LIGHT)
    monkeypatch.setattr(command, "BASELINES_PYTHON", Path(sys.executable))
    monkeypatch.setattr(command, "our_methods", lambda: ())
    return tmp_path


def run(places, *options):
    command.main(["--cache-dir", str(places / "cache"), *options])


@pytest.mark.parametrize("options", [[], ["--quick"], ["--quick", "--only", "ials"]])
def test_without_the_baselines_environment_it_says_what_makes_it(movielens, monkeypatch, options):
    monkeypatch.setattr(command, "BASELINES_PYTHON", movielens / "no-such-python")
    monkeypatch.setattr(command, "our_methods", lambda: pytest.fail("loads TensorFlow for nothing"))
    with pytest.raises(InputError, match="make compare") as caught:
        command.main(options)
    assert "no-such-python" in str(caught.value)


def test_an_unknown_method_is_answered_with_the_known_ones(places):
    with pytest.raises(InputError, match="no such method: eaze") as caught:
        run(places, "--only", "popularity", "eaze")
    assert "popularity, ease, mean" in str(caught.value)


def test_baselines_are_measured_by_the_python_of_their_environment(places, capfd):
    run(places, "--quick")
    tables = json.loads((places / "cache" / "draft" / "results.json").read_text("utf-8"))["tables"]
    lists = next(
        table
        for table in tables
        if table["title"] == "Recommendations at the next visit, shuffle 42"
    )
    assert [row[0] for row in lists["rows"]] == ["Popularity", "EASE^R"]
    message = capfd.readouterr()
    assert "EASE^R: test on shuffle 7" in message.err
    assert "results.md" in message.out
    run(places, "--quick")  # nothing is left to do, and nothing is wrong with that
    assert "Not all is measured" not in capfd.readouterr().out


def test_baselines_that_fail_end_the_command_with_their_message(places, monkeypatch, capfd):
    broken = places / "python"
    broken.write_text("#!/bin/sh\necho no module named implicit >&2\nexit 7\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr(command, "BASELINES_PYTHON", broken)
    with pytest.raises(SystemExit) as caught:
        run(places, "--quick")
    assert caught.value.code == 7
    assert "no module named implicit" in capfd.readouterr().err


def test_an_error_of_ours_stops_the_baselines_as_well(places, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    endless = places / "python"
    endless.write_text("#!/bin/sh\nexec sleep 600\n", encoding="utf-8")
    endless.chmod(0o755)
    monkeypatch.setattr(command, "BASELINES_PYTHON", endless)
    monkeypatch.setattr(command.Runner, "run", interrupted)  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        run(places, "--quick")


def test_tables_with_holes_do_not_replace_those_of_the_docs(places, monkeypatch, capfd):
    monkeypatch.setattr(command, "ROOT", places)
    monkeypatch.setattr(command, "_baselines_beside", lambda *given: contextlib.nullcontext())
    run(places)
    assert not (places / "docs").exists()
    assert "Not all is measured yet of: popularity, ease, mean" in capfd.readouterr().out
    run(places, "--baselines-stage")
    run(places)
    assert (places / "docs" / "results.md").exists()


def test_quick_tables_never_go_to_the_docs(places, monkeypatch):
    monkeypatch.setattr(command, "ROOT", places)
    monkeypatch.setattr(command, "_baselines_beside", lambda *given: contextlib.nullcontext())
    run(places, "--quick", "--baselines-stage")
    run(places, "--quick")
    assert not (places / "docs").exists()
    assert (places / "cache" / "draft" / "results.md").exists()
