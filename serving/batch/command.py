"""Runs a batch: checks the options, loads the model, scores users and writes the file.

Scores in this process, unless an option of Beam is given.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import traceback
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.batch import terminal
from serving.batch.errors import RunError, UsageError
from serving.batch.options import parse
from serving.batch.users import Selection, choose, given_ids
from serving.catalogue import read_users
from serving.errors import ModelError
from serving.version_folder import versions_in
from storage.environment import flush_streams
from storage.paths import local_path

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
    terminal.keep_standard_streams()
    try:
        with terminal.interruptible():
            arguments, others = parse(argv)
            return _batch(arguments, others)
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


def _batch(arguments: argparse.Namespace, others: Sequence[str]) -> int:
    # Imported here, since it takes a moment.
    from serving.batch.output import check_output, write

    started = time.monotonic()
    models = local_path(arguments.model_dir, "--model-dir")
    ids = given_ids(arguments.users, arguments.users_file)
    keep = [Path(arguments.users_file)] if arguments.users_file else []
    output = check_output(arguments.output, keep, models)
    options = _beam_options(others) if others else None
    version_dir = newest_version(models)
    try:
        known = read_users(version_dir)
    except ModelError as error:
        raise _unusable(version_dir, error) from error
    selection = choose(ids, known, arguments.unknown, version_dir.name)
    terminal.say(f"{len(selection.ids):,} users, version {version_dir.name}{_left_out(selection)}")
    progress = terminal.Progress(len(selection.ids))
    if options is None:
        tables = _here(arguments, version_dir, selection, progress)
    else:
        tables = _on_beam(arguments, version_dir, selection, progress, options, output)
    try:
        with contextlib.closing(tables):
            rows = write(output, tables, terminal.ignore_signals)
    except ModelError as error:
        raise _unusable(version_dir, error) from error
    terminal.say(
        f"{output}: {rows:,} rows for {len(selection.ids):,} users, version {version_dir.name}"
        f"{_left_out(selection)}, in {time.monotonic() - started:.1f} s"
        f" ({progress.end():,.0f} users per second"
        f" {'after' if options is None else 'with'} loading)",
        sys.stdout,
    )
    return 0


def _beam_options(others: Sequence[str]) -> Any:
    words = [word for word in others if not word.startswith("-")]
    if len(words) == len(others):
        raise UsageError(
            f"Not an option: {' '.join(others)}",
            action=".venv/bin/python -m serving.batch --help has the options and examples",
        )
    from serving.batch.on_beam import beam_options

    return beam_options(others)


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
    counts = {
        "unknown users left out": selection.skipped,
        "unknown users treated as new users": len(selection.cold),
        "repeated ids left out": selection.repeated,
    }
    return "".join(f"; {count:,} {what}" for what, count in counts.items() if count)


def _here(
    arguments: argparse.Namespace,
    version_dir: Path,
    selection: Selection,
    progress: terminal.Progress,
) -> Generator[pyarrow.Table, None, None]:
    """Yields a table for each chunk, scored in this process."""
    from serving.batch.scoring import chunks, load_version, score

    model = load_version(version_dir, arguments.threads)
    progress.start()
    for chunk in chunks(selection.ids, arguments.chunk):
        yield score(model, chunk, arguments.k, arguments.include_seen, selection.cold)
        progress.reach(progress.users + len(chunk))


def _on_beam(
    arguments: argparse.Namespace,
    version_dir: Path,
    selection: Selection,
    progress: terminal.Progress,
    options: Any,
    output: Path,
) -> Generator[pyarrow.Table, None, None]:
    """Yields a table for each chunk, scored by Beam's workers."""
    from serving.batch.on_beam import Recommend, tables
    from serving.batch.scoring import chunks

    settings = {
        "k": arguments.k, "include_seen": arguments.include_seen, "cold": selection.cold
    }  # fmt: skip
    yield from tables(
        lambda parts: Recommend(str(version_dir), parts, settings, arguments.threads),
        list(chunks(selection.ids, arguments.chunk)),
        options,
        output,
        lambda done: progress.reach(min(done * arguments.chunk, len(selection.ids))),
    )
