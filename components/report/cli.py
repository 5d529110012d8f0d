"""The command line of `.venv/bin/python -m components.report`: remakes the latest run's report."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from components.errors import InputError
from components.names import METADATA_FILE, REPORT_FILE
from storage.errors import PathError
from storage.paths import local_path, standing_in

# Set before TensorFlow is imported: its C++ side reads it once.
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m components.report",
        description="Makes a page of what the latest run in an output directory left behind.",
        epilog="exit codes: 0 written, 1 a part of the page failed, 2 wrong use or no run found",
    )
    parser.add_argument("--output-dir", default="output", help="default: output")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the report and prints its path; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        output_dir = local_path(options.output_dir, "--output-dir")
        return _make(output_dir.resolve(), show=options.open)
    except (InputError, PathError) as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _make(output_dir: Path, *, show: bool) -> int:
    metadata = output_dir / METADATA_FILE
    if not metadata.is_file():
        raise InputError(
            "no run was found",
            file=str(output_dir),
            expected=f"{METADATA_FILE}, which a run of the pipeline writes",
            action="run the pipeline first (make run), or name its directory with --output-dir",
        )
    os.environ.update({k: v for k, v in _QUIET.items() if k not in os.environ})
    from components.report.build import write_report
    from components.report.sources import find_sources

    path = output_dir / REPORT_FILE
    with standing_in(output_dir):
        report = write_report(find_sources(Path()), path)
    print(path)
    if report.broken:
        print(f"These parts could not be made: {', '.join(report.broken)}", file=sys.stderr)
    if show and not webbrowser.open(path.as_uri()):
        print("No browser was found; open the path above in one.", file=sys.stderr)
    return 1 if report.broken else 0
