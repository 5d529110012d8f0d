"""The command: what it needs, what it refuses, and where the tables go."""

import contextlib
import json
import sys
from pathlib import Path

import pytest

from benchmarks.compare import __main__ as command
from benchmarks.compare import peers_rating, peers_retrieval
from components.errors import InputError

# They need numpy alone, which this environment has as well as the peers' own.
LIGHT = tuple(
    method
    for method in (*peers_retrieval.METHODS, *peers_rating.METHODS)
    if method.name in ("popularity", "ease", "mean")
)


@pytest.fixture
def places(movielens, tmp_path, monkeypatch):
    """The command with light peers only, in a project of its own."""
    monkeypatch.setattr(command, "PEERS", LIGHT)
    monkeypatch.setattr(command, "PEERS_PYTHON", Path(sys.executable))
    monkeypatch.setattr(command, "our_methods", lambda: ())
    return tmp_path


def run(places, *options):
    command.main(["--cache-dir", str(places / "cache"), *options])


@pytest.mark.parametrize("options", [[], ["--quick"], ["--quick", "--only", "ials"]])
def test_without_the_peers_environment_it_says_what_makes_it(movielens, monkeypatch, options):
    monkeypatch.setattr(command, "PEERS_PYTHON", movielens / "no-such-python")
    monkeypatch.setattr(command, "our_methods", lambda: pytest.fail("loads TensorFlow for nothing"))
    with pytest.raises(InputError, match="make compare") as caught:
        command.main(options)
    assert "no-such-python" in str(caught.value)


def test_an_unknown_method_is_answered_with_the_known_ones(places):
    with pytest.raises(InputError, match="no such method: eaze") as caught:
        run(places, "--only", "popularity", "eaze")
    assert "popularity, ease, mean" in str(caught.value)


def test_peers_are_measured_by_the_python_of_their_environment(places, capfd):
    run(places, "--quick")
    tables = json.loads((places / "cache" / "draft" / "results.json").read_text("utf-8"))["tables"]
    lists = next(table for table in tables if table["title"] == "Retrieval, shuffle 42")
    assert [row[0] for row in lists["rows"]] == ["Popularity", "EASE^R"]
    said = capfd.readouterr()
    assert "EASE^R: test on shuffle 7" in said.err
    assert "RESULTS.md" in said.out
    run(places, "--quick")  # nothing is left to do, and nothing is wrong with that
    assert "Not all is measured" not in capfd.readouterr().out


def test_peers_that_fail_end_the_command_with_what_they_said(places, monkeypatch, capfd):
    broken = places / "python"
    broken.write_text("#!/bin/sh\necho no module named implicit >&2\nexit 7\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr(command, "PEERS_PYTHON", broken)
    with pytest.raises(SystemExit) as caught:
        run(places, "--quick")
    assert caught.value.code == 7
    assert "no module named implicit" in capfd.readouterr().err


def test_an_error_of_ours_stops_the_peers_as_well(places, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    endless = places / "python"
    endless.write_text("#!/bin/sh\nexec sleep 600\n", encoding="utf-8")
    endless.chmod(0o755)
    monkeypatch.setattr(command, "PEERS_PYTHON", endless)
    monkeypatch.setattr(command, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(places, "--quick")


def test_tables_with_holes_do_not_replace_those_of_the_docs(places, monkeypatch, capfd):
    monkeypatch.setattr(command, "ROOT", places)
    monkeypatch.setattr(command, "_peers_beside", lambda *given: contextlib.nullcontext())
    run(places)
    assert not (places / "docs").exists()
    assert "Not all is measured yet of: popularity, ease, mean" in capfd.readouterr().out
    run(places, "--peers-stage")
    run(places)
    assert (places / "docs" / "RESULTS.md").exists()


def test_quick_tables_never_go_to_the_docs(places, monkeypatch):
    monkeypatch.setattr(command, "ROOT", places)
    monkeypatch.setattr(command, "_peers_beside", lambda *given: contextlib.nullcontext())
    run(places, "--quick", "--peers-stage")
    run(places, "--quick")
    assert not (places / "docs").exists()
    assert (places / "cache" / "draft" / "RESULTS.md").exists()
