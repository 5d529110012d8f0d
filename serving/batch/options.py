"""The command line of the batch. Has no slow imports: --help and wrong options are fast."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from serving.batch import terminal
from storage.errors import UsageError

MAX_K = 1_000
MAX_CHUNK = 2_048
MAX_THREADS = 256
UNKNOWN = ("error", "skip", "cold")

_DESCRIPTION = (
    "Writes recommendations for many users to a file: one row per recommendation, best first."
)
_EPILOG = """\
examples:
  .venv/bin/python -m serving.batch --output recommendations.parquet
      all known users, 20 recommendations each
  .venv/bin/python -m serving.batch --users 1,2,3 --k 5 --output three.csv
  .venv/bin/python -m serving.batch --users-file ids.txt --unknown skip --output some.jsonl

The ending of the output determines its format: .parquet, .csv, or .jsonl and .ndjson (JSON lines).
Columns: user_id, rank, movie_id, title, display_title, score, stars, model_version; no stars where
the training data has no ratings. The users are in the order in which they were given. An existing
file is replaced once the new one is complete; of a link, the file that it points to is replaced.

exit codes: 0 written; 1 unexpected failure; 2 wrong use or unreadable input, nothing written;
130 interrupted, nothing written
"""
_WHOLE = re.compile("[0-9]{1,9}")


class _Parser(argparse.ArgumentParser):
    """Raises errors instead of printing the usage and exiting."""

    def print_help(self, file: Any = None) -> None:
        terminal.say(self.format_help(), file or sys.stdout, end="")

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            message[:1].upper() + message[1:],
            action=".venv/bin/python -m serving.batch --help has the options and examples",
        )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line.

    Args:
      argv: the arguments; None for those of the process.

    Raises:
      UsageError: an option is missing or unknown, or its value is not as expected.
    """
    return _parser().parse_args(argv)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=".venv/bin/python -m serving.batch",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--output", required=True, metavar="FILE", help="the file to write: .parquet, .csv, .jsonl")
    users = parser.add_mutually_exclusive_group()
    users.add_argument(
        "--users", metavar="IDS", help="ids with commas between, or 'all' (default: all)"
    )
    users.add_argument(
        "--users-file", metavar="FILE", help="a text file in UTF-8 with one id on each line"
    )
    add(
        "--unknown",
        choices=UNKNOWN,
        default="error",
        help="unknown users: stop before anything is written (default), leave them out, or give "
        "them the recommendations of a new user",
    )
    add(
        "--k",
        type=_between(1, MAX_K),
        default=20,
        help=f"recommendations for each user, 1 to {MAX_K} (default: 20)",
    )
    add("--include-seen", action="store_true", help="include what a user has rated")
    add(
        "--model-dir",
        default="output/serving_model",
        metavar="DIR",
        help="folder of pushed versions; the newest is used (default: output/serving_model)",
    )
    add(
        "--chunk",
        type=_between(1, MAX_CHUNK),
        default=256,
        help=f"users in one call of the model, 1 to {MAX_CHUNK} (default: 256)",
    )
    add(
        "--threads",
        type=_between(1, MAX_THREADS),
        default=min(os.cpu_count() or 1, MAX_THREADS),
        help="threads of TensorFlow (default: one for each core)",
    )
    return parser


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected {least} to {most}, found {text!r}")
        return int(text)

    return number
