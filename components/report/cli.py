"""The command line of `-m components.report`: regenerates the report of the latest run."""

from __future__ import annotations

import argparse
import contextlib
import os
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from components.names import METADATA_FILE, REPORT_FILE
from sources.errors import InputError
from storage import environment
from storage.errors import PathError, cannot_write
from storage.paths import local_path, working_in

# Set before TensorFlow is imported: its C++ side reads it once.
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m components.report",
        description="Builds the HTML report of the latest run in an output directory.",
        epilog="exit codes: 0 written, 1 a part of the page failed, 2 wrong use, no run found, "
        "what it left cannot be read, or the page cannot be written, 130 interrupted",
    )
    parser.add_argument("--output-dir", default="output", help="default: output")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the report and prints its path; returns the exit code."""
    environment.print_to_stderr(environment.prepare())
    try:
        options = _parser().parse_args(arguments)
        output_dir = local_path(options.output_dir, "--output-dir")
        return _make(output_dir.resolve(), show=options.open)
    except (InputError, PathError) as error:
        environment.print_to_stderr([str(error)])
        return error.exit_code
    except KeyboardInterrupt:
        environment.print_to_stderr(["Interrupted; the report is as it was."])
        return 130
    finally:
        environment.flush_streams()


def _make(output_dir: Path, *, show: bool) -> int:
    if not (output_dir / METADATA_FILE).is_file():
        raise _no_run(output_dir, f"no {METADATA_FILE}")
    os.environ.update({k: v for k, v in _QUIET.items() if k not in os.environ})
    from components.report.build import write_report
    from components.report.sources import find_sources

    path = output_dir / REPORT_FILE
    with working_in(output_dir):
        sources = find_sources(Path())
        if sources.lineage is None:
            raise _no_run(output_dir, f"a {METADATA_FILE} that knows of none")
        try:
            report = write_report(sources, path)
        except OSError as error:
            raise cannot_write(str(path), error) from error
    # Whether or not somebody reads it.
    with contextlib.suppress(OSError, ValueError):
        print(path, flush=True)
    if report.broken:
        environment.print_to_stderr([f"These parts could not be made: {', '.join(report.broken)}"])
    if show and not webbrowser.open(path.as_uri()):
        environment.print_to_stderr(["No browser was found; open the path above in one."])
    return 1 if report.broken else 0


def _no_run(output_dir: Path, found: str) -> InputError:
    return InputError(
        "no run was found",
        file=str(output_dir),
        expected=f"{METADATA_FILE}, which a run of the pipeline writes",
        found=found,
        action="run the pipeline first (make run), or name its directory with --output-dir",
    )
