"""Which examples property tests draw: the same ones by default, new ones in `make fuzz`."""

import ast
import os
import time
from pathlib import Path

import fuzz
import pytest
from hypothesis import settings
from hypothesis_profiles import CI_EXAMPLES, FUZZ_FACTOR, examples

TESTS = Path(__file__).parent

FAILING = """
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples
@examples(10)
@given(number=st.integers())
def test_small(number):
    print("drawn", number)
    assert number < 10**6
"""


@pytest.fixture
def run_tests(tmp_path):
    """Runs a file with the project's conftest and returns the round."""

    def run(text, until=None):
        folder = tmp_path / "tests"
        folder.mkdir(exist_ok=True)
        for path in TESTS.glob("*.py"):
            if not path.name.startswith("test_"):
                (folder / path.name).write_text(path.read_text("utf-8"), "utf-8")
        (folder / "test_made.py").write_text(text)
        arguments = [f"--rootdir={tmp_path}", "-n", "0", "-s", str(folder)]
        return fuzz.run_round(7, until or time.time() + 600, arguments)

    return run


@pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE", "ci") != "ci", reason="about the default profile"
)
def test_the_default_profile_draws_the_same_examples_every_time():
    assert settings.default.derandomize
    assert settings.default.database is None
    assert settings.default.deadline is None
    assert examples(CI_EXAMPLES).max_examples == settings.default.max_examples


def test_the_fuzz_profile_draws_other_examples_and_more_of_them():
    profile = settings.get_profile("fuzz")
    assert not profile.derandomize
    assert profile.max_examples == FUZZ_FACTOR * CI_EXAMPLES


def test_no_test_fixes_its_number_of_examples_or_its_seed():
    """`settings(max_examples=…)` and `seed(…)` would hold in `make fuzz` too."""
    found = [
        f"{path.relative_to(TESTS)}:{node.lineno}"
        for path in TESTS.rglob("*.py")
        if path.name != "hypothesis_profiles.py" and "hypothesis" in path.read_text("utf-8")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"settings", "seed"}
    ]
    assert not found, "use hypothesis_profiles.examples(number, …)"


def test_a_failure_is_reported_with_the_line_that_reproduces_it(run_tests, capsys):
    done = run_tests(FAILING)
    assert done.exit_code == 1
    (failure,) = done.failures
    assert failure.test.endswith("test_made.py::test_small")
    assert failure.reproduce.startswith("@reproduce_failure(")
    assert done.examples > 1
    text = fuzz.summary([done, done], 0.5)
    assert "2 rounds, 2 tests" in text
    assert "1 failures" in text
    assert f"reproduce: {failure.reproduce}" in text


def test_examples_written_for_ci_are_multiplied(run_tests):
    done = run_tests(FAILING.replace("assert number < 10**6", ""))
    assert done.exit_code == 0
    assert done.examples == 10 * FUZZ_FACTOR


def test_tests_are_skipped_once_the_time_is_up(run_tests):
    done = run_tests(FAILING, until=time.time() - 1)
    assert (done.exit_code, done.tests, done.failures) == (0, 0, ())
