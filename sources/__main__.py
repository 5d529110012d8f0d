"""`.venv/bin/python -m sources describe PATH`: what the pipeline understands of data."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import preflight

if __name__ == "__main__":
    wants_help = not {"-h", "--help"}.isdisjoint(sys.argv[1:])
    preflight.require("-m sources describe", "runtime", packages=not wants_help)

from sources.cleaning_log import DEFAULT_MAX_LOSS, LossLimits
from sources.errors import InputError
from storage.environment import flush_streams
from storage.errors import PathError
from storage.paths import local_path

if TYPE_CHECKING:
    from sources.adapter import DatasetAdapter


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what is understood of the data at a path; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m sources", description="Looks at data of any format that is known."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("describe", help="print what is understood of the data")
    command.add_argument("path", metavar="PATH", help="folder, zip file or file of a data set")
    command.add_argument(
        "--output-dir",
        metavar="DIR",
        default="output",
        help="folder of a data.toml that says what columns are; one is written there where "
        "something can be understood in several ways (default: output)",
    )
    command.add_argument(
        "--max-loss",
        metavar="SHARE",
        type=float,
        default=DEFAULT_MAX_LOSS,
        help="share of ratings, rows or values that may be lost as unreadable (default: "
        f"{DEFAULT_MAX_LOSS:g}), as in a run",
    )
    try:
        return _describe(parser.parse_args(arguments))
    except BrokenPipeError:  # as in `| head`
        return 128 + signal.SIGPIPE
    finally:
        flush_streams()


def _describe(options: argparse.Namespace) -> int:
    try:
        limits = LossLimits.of(options.max_loss)
        path = local_path(options.path, "PATH")
        output_dir = local_path(options.output_dir, "--output-dir")
        # pandas and Arrow are loaded for a path that can be read.
        from sources.describe import describe

        with tempfile.TemporaryDirectory() as scratch:
            folder = output_dir.expanduser()
            for line in describe(
                path.expanduser(), Path(scratch), folder, limits, lambda a: _refuse(a, limits)
            ):
                print(line)
    except (InputError, PathError) as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _refuse(adapter: DatasetAdapter, limits: LossLimits) -> None:
    """Refuses own tables that a run with the options of the default refuses at the first look."""
    from components.example_gen.early import check_early
    from sources.table import Table

    if not isinstance(adapter, Table):
        return
    try:
        check_early(adapter, "random", 42, limits)
    except InputError as error:
        raise InputError(
            f"a run refuses this data: {error.problem}",
            file=error.file,
            row=error.row,
            expected=error.expected,
            found=error.found,
            action=error.action,
        ) from error


if __name__ == "__main__":
    sys.exit(main())
