"""The tables of docs/reference/ against the code."""

import dataclasses
import re
from pathlib import Path

import pytest

import components.report.cli
import pipeline.cli
import serving.batch.options
import serving.cli
from pipeline.summary import EXIT_CODES, Summary

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


def page(name):
    return (REFERENCE / name).read_text(encoding="utf-8")


def section(text, title):
    """The text between a heading and the next one of its level."""
    return re.split(r"^## ", text.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text):
    """The first cell of every row of its tables, one on each line."""
    return "\n".join(re.findall(r"^\| (.*?) \|", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("title", "parser"),
    [
        ("Pipeline", pipeline.cli._parser),
        ("Report", components.report.cli._parser),
        ("Server", serving.cli._parser),
        ("Batch scoring", serving.batch.options._parser),
    ],
)
def test_every_option_has_a_row_and_every_row_is_an_option(title, parser):
    names = re.findall(r"`(--[a-z-]+)", first_cells(section(page("command-line.md"), title)))
    options = {name for action in parser()._actions for name in action.option_strings}
    assert set(names) == options - {"-h", "--help"}


def test_every_exit_code_has_a_row():
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", page("exit-codes.md"), re.MULTILINE)}
    assert rows == {*EXIT_CODES.values(), 1, 2, 3, 130}


def test_every_key_of_summary_json_has_a_row():
    rows = re.findall(
        r"^\| (`.+?`) \|", section(page("artifacts.md"), "summary.json"), re.MULTILINE
    )
    keys = {field.name for field in dataclasses.fields(Summary)} - {"schema_version"}
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == keys


def test_every_benchmark_has_a_row():
    rows = first_cells(section(page("command-line.md"), "Benchmarks"))
    named = re.findall(r"-m benchmarks\.(\w+)", rows)
    files = (ROOT / "benchmarks").glob("*.py")
    programs = (file.stem for file in files if '"__main__"' in file.read_text(encoding="utf-8"))
    assert sorted(named) == sorted({*programs, "compare"})
