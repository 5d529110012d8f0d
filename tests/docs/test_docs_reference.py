"""The tables of docs/reference.md against the code."""

import re
from pathlib import Path

from pipeline.cli import _parser
from pipeline.summary import EXIT_CODES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")


def test_every_option_of_the_pipeline_has_a_row_and_every_row_is_an_option():
    rows = set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE))
    options = {name for action in _parser()._actions for name in action.option_strings}
    assert rows == options - {"-h", "--help"}


def test_every_exit_code_has_a_row():
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert rows == {*EXIT_CODES.values(), 1, 2, 3, 130}
