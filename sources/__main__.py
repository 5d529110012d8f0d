"""`.venv/bin/python -m sources describe PATH`: what the pipeline understands of data."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sources.cleaning_log import DEFAULT_MAX_LOSS, LossLimits
from sources.errors import InputError
from storage.errors import PathError
from storage.paths import local_path


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
    options = parser.parse_args(arguments)
    try:
        limits = LossLimits.of(options.max_loss)
        path = local_path(options.path, "PATH")
        output_dir = local_path(options.output_dir, "--output-dir")
        # pandas and Arrow are loaded for a path that can be read.
        from sources.describe import describe

        with tempfile.TemporaryDirectory() as scratch:
            folder = output_dir.expanduser()
            for line in describe(path.expanduser(), Path(scratch), folder, limits):
                print(line)
    except (InputError, PathError) as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
