"""One complete run on a small sample for all tests of the report."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RATINGS = 3000


@pytest.fixture(scope="session")
def run_output(tmp_path_factory):
    """The output directory of a run; its raw files are in `data/`. Not to be changed.

    REPORT_TEST_OUTPUT names one that is there already, to spare the run while working here.
    """
    there = os.environ.get("REPORT_TEST_OUTPUT")
    if there:
        return Path(there)
    output = tmp_path_factory.mktemp("report") / "output"
    done = subprocess.run(
        [sys.executable, "local_runner.py", "--dataset", "sample", "--sample-ratings", str(RATINGS),
         "--epochs", "1", "--output-dir", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return output
