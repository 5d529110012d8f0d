"""One run of the whole product on a small sample, as somebody would type it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tiers

ARGUMENTS = ("--dataset", "sample", "--sample-ratings", "5000", "--epochs", "2")

OUT, ERR = "run.out", "run.err"
"""What the run printed, beside its output directory."""

_OURS = ("MOVIELENS_DIR", "MOVIES_METADATA_DIR", "TF_CPP_MIN_LOG_LEVEL")
"""Variables of these tests that a run is not to see."""


def run(output: Path) -> None:
    """Runs the pipeline in the folder of the output directory, which it makes."""
    output.parent.mkdir(parents=True, exist_ok=True)
    out, err = output.with_name(OUT), output.with_name(ERR)
    with out.open("w") as stdout, err.open("w") as stderr:
        done = subprocess.run(
            [sys.executable, str(tiers.ROOT / "local_runner.py"), *ARGUMENTS,
             "--output-dir", str(output)],
            cwd=output.parent,
            env={name: value for name, value in os.environ.items() if name not in _OURS},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            check=False,
        )  # fmt: skip
    assert done.returncode == 0, out.read_text() + err.read_text()
