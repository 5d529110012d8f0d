"""Surroundings that stop programs elsewhere: variables, closed streams, readers that leave."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage import environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", environment.IGNORED)
def test_variables_that_break_libraries_are_removed_and_named(name):
    variables = {name: "1", "PATH": "/bin", "HOME": "/root"}
    [warning] = environment.prepare(variables)
    assert variables == {"PATH": "/bin", "HOME": "/root"}
    assert warning.startswith(f"{name}=1 is ignored: ")


def test_ordinary_surroundings_give_no_warning():
    variables = {"PATH": "/bin", "HOME": "/root", "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
    before = dict(variables)
    assert environment.prepare(variables) == []
    assert variables == before


@pytest.mark.parametrize("value", ["0", "1", "-5", "wide"])
def test_a_width_that_nothing_fits_into_is_forgotten(value):
    variables = {"COLUMNS": value, "HOME": "/root"}
    environment.prepare(variables)
    assert "COLUMNS" not in variables


def test_a_user_without_a_home_gets_one(monkeypatch):
    import pwd

    def unknown(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    variables = {}
    environment.prepare(variables)
    assert Path(variables["HOME"]).is_dir()


def python(code, shell="", **variables):
    """Runs code in a process of its own; the shell's redirections come after it."""
    command = f'"$0" -c "$1" {shell}'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command, sys.executable, code],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


PREPARED = (
    "import sys\nfrom storage import environment\n"
    "environment.print_to_stderr(environment.prepare())\n"
)


def test_warnings_that_were_made_errors_are_warnings():
    code = PREPARED + "import warnings\nwarnings.warn('beware')\nprint('after')"
    done = python(code, PYTHONWARNINGS="error")
    assert done.returncode == 0
    assert done.stdout == "after\n"
    assert "PYTHONWARNINGS" in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_empty_ones_and_no_file_gets_their_number(tmp_path, closed):
    target = tmp_path / "file"
    code = (
        f"{PREPARED}file = open({str(target)!r}, 'w')\n"
        "assert file.fileno() > 2\nprint('lost')\nsys.stderr.write('lost')\n"
        "file.write(repr(sys.stdin.read() if sys.stdin else ''))"
    )
    done = python(code, closed if "<" in closed else f"{closed} </dev/null")
    assert done.returncode == 0, done.stderr
    assert target.read_text() == "''"


def test_a_reader_that_leaves_does_not_change_the_exit_code():
    code = PREPARED + (
        "try:\n    for _ in range(100000): print('line')\n"
        "except BrokenPipeError:\n    pass\n"
        "environment.flush_streams()\nsys.exit(4)"
    )
    done = python(code, "| head -n 1")
    assert done.returncode == 4
    assert (done.stdout, done.stderr) == ("line\n", "")


def test_python_without_docstrings_is_refused_in_words():
    """The libraries read their own documentation when they are imported."""
    done = subprocess.run(
        [sys.executable, "local_runner.py", "--dataset", "sample"],
        cwd=ROOT,
        env=os.environ | {"PYTHONOPTIMIZE": "2"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "PYTHONOPTIMIZE=2" in done.stderr
    assert len(done.stderr.splitlines()) == 2
