"""Runs a batch: checks the options, loads the model, scores users and writes the file."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import traceback
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schema.dataset import number_of
from serving.batch import terminal
from serving.batch.errors import RunError
from serving.batch.options import parse
from serving.batch.users import Selection, choose, given_ids
from serving.catalogue import read_users
from serving.errors import ModelError
from storage.environment import flush_streams, open_closed_streams
from storage.errors import UsageError
from storage.paths import local_path, versions_in

if TYPE_CHECKING:
    import pyarrow

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Scores users and writes the file.

    Args:
      argv: the arguments; None for those of the process.

    Returns:
      The exit code: 0 written; 1 unexpected failure; 2 wrong use or unreadable input; 130
      interrupted. Unless it is 0, an existing output file is unchanged.
    """
    open_closed_streams()
    try:
        with terminal.interruptible():
            return _batch(parse(argv))
    except KeyboardInterrupt:
        terminal.say("\nInterrupted; nothing was written.")
        return INTERRUPTED
    except (UsageError, RunError) as error:
        terminal.say(str(error))
        return error.exit_code
    except Exception as error:
        terminal.say(f"Unexpected failure, nothing was written: {_describe(error)}")
        return 1
    finally:
        flush_streams()


def _describe(error: Exception) -> str:
    """Returns an error in one line, with the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text}{where}"


def _batch(arguments: argparse.Namespace) -> int:
    # Imported here, since it takes a moment.
    from serving.batch.output import check_output, write

    started = time.monotonic()
    models = local_path(arguments.model_dir, "--model-dir")
    ids = given_ids(arguments.users, arguments.users_file)
    keep = [Path(arguments.users_file)] if arguments.users_file else []
    output = check_output(arguments.output, keep, models)
    version_dir = newest_version(models)
    try:
        known = read_users(version_dir)
    except ModelError as error:
        raise _unusable(version_dir, error) from error
    selection = choose(ids, known, arguments.unknown, version_dir.name)
    users = number_of(len(selection.ids), "user")
    who = f"{users}, version {version_dir.name}{_left_out(selection)}"
    terminal.say(who)
    progress = terminal.Progress(len(selection.ids))
    tables = _scored(arguments, version_dir, selection, progress)
    try:
        with contextlib.closing(tables):
            rows = write(output, tables, terminal.ignore_signals)
    except ModelError as error:
        raise _unusable(version_dir, error) from error
    terminal.say(
        f"{output}: {number_of(rows, 'row')} for {who}, in {time.monotonic() - started:.1f} s"
        f" ({progress.end():,.0f} users per second after loading)",
        sys.stdout,
    )
    return 0


def newest_version(models: Path) -> Path:
    """Returns the folder of the newest version in a folder of models.

    Raises:
      UsageError: there is none, or the folder cannot be read.
    """
    if (models / "saved_model.pb").exists():
        raise UsageError(
            f"--model-dir {models} is a version",
            expected="the folder with the versions",
            action=f"--model-dir {models.parent}",
        )
    try:
        versions = versions_in(models)
    except OSError as error:
        raise UsageError(
            f"--model-dir {models} cannot be read",
            expected="a folder of pushed versions",
            found=error.strerror or str(error),
        ) from error
    if not versions:
        raise UsageError(
            f"No model has been pushed to {models} yet",
            action="run 'make run' first, or name another folder with --model-dir",
        )
    return models / str(versions[0])


def _unusable(version_dir: Path, error: ModelError) -> UsageError:
    return UsageError(
        f"Version {version_dir.name} of the model in {version_dir.parent} {error.message}",
        action="push a new version with 'make run', or remove this one to use the one before it",
    )


def _left_out(selection: Selection) -> str:
    counts = (
        ("unknown user", selection.skipped, "left out"),
        ("unknown user", len(selection.cold), "treated as new"),
        ("repeated id", selection.repeated, "left out"),
    )
    return "".join(f"; {number_of(count, what)} {how}" for what, count, how in counts if count)


def _scored(
    arguments: argparse.Namespace,
    version_dir: Path,
    selection: Selection,
    progress: terminal.Progress,
) -> Generator[pyarrow.Table, None, None]:
    """Yields a table for each chunk of users."""
    from serving.batch.scoring import chunks, load_version, score

    model = load_version(version_dir, arguments.threads)
    progress.start()
    for chunk in chunks(selection.ids, arguments.chunk):
        yield score(model, chunk, arguments.k, arguments.include_seen, selection.cold)
        progress.reach(progress.users + len(chunk))
