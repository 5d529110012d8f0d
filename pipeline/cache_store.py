"""Checks the metadata store before a run, and deletes it on request.

The store holds the cache and the lineage of earlier runs. Without it every component runs again;
serving does not need it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

from pipeline.config import OutputPaths
from sources.errors import InputError

_TABLE = "MLMDEnv"
"""A table of every store of ML Metadata."""

_SIDE_FILES = ("-journal", "-wal", "-shm")
_PATIENCE_SECONDS = 2.0

_ONLY_THE_CACHE = (
    "run again with --reset-cache, which deletes it; that costs only the cache: everything is run "
    "once more, and what is served stays"
)


def prepare(paths: OutputPaths, *, reset: bool) -> None:
    """Checks the store; deletes it first if `reset` is True.

    Raises:
      InputError: it is damaged, another program's file, locked, or cannot be written.
    """
    file = paths.metadata
    if os.path.lexists(file) and not file.is_file():
        raise InputError(
            "the metadata store is not a file",
            file=str(file),
            action="move it away, or choose another --output-dir",
        )
    problem = _problem(file) if file.exists() else None
    if reset and _may_be_deleted(problem):
        for name in (file.name, *(file.name + ending for ending in _SIDE_FILES)):
            file.with_name(name).unlink(missing_ok=True)
    elif problem is not None:
        raise problem


def is_fresh(paths: OutputPaths) -> bool:
    """Whether there is no store, or an empty file."""
    return not paths.metadata.exists() or paths.metadata.stat().st_size == 0


def drop_unknown_artifacts(paths: OutputPaths, components: Iterable[str]) -> None:
    """Deletes the components' folders in the pipeline root, for a run with a new store.

    A new store numbers its executions from 1 again, so new files would mix with the old ones.
    """
    for name in components:
        folder = paths.pipeline_root / name
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)


def _may_be_deleted(problem: InputError | None) -> bool:
    return problem is None or problem.action == _ONLY_THE_CACHE


def _problem(file: Path) -> InputError | None:
    """Returns why a store cannot be used; None if it can."""
    address = f"file:{urllib.parse.quote(str(file))}?mode=rw"
    try:
        with contextlib.closing(
            sqlite3.connect(address, uri=True, timeout=_PATIENCE_SECONDS)
        ) as database:
            # Takes the lock that a run needs, and rolls back the journal of a killed run.
            database.execute("BEGIN IMMEDIATE")
            [state] = database.execute("PRAGMA quick_check(1)").fetchone()
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            database.rollback()
    except sqlite3.OperationalError as error:
        return unusable(file, str(error))
    except sqlite3.DatabaseError as error:
        return damaged(file, str(error))
    if state != "ok":
        return damaged(file, str(state))
    if tables and _TABLE not in tables:
        return InputError(
            "the metadata store is another program's database; nothing was touched",
            file=str(file),
            found=f"tables {', '.join(sorted(tables)[:5])}",
            action="move it away, or choose another --output-dir",
        )
    return None


def unusable(file: Path, found: str) -> InputError:
    """Returns the error to raise for a store that gives this message."""
    if "locked" in found or "busy" in found:
        return InputError(
            "the metadata store is in use by another program",
            file=str(file),
            found=found,
            action="close that program, and run again",
        )
    if "readonly" in found or "unable to open" in found:
        return InputError(
            "the metadata store cannot be written to",
            file=str(file),
            found=found,
            action="change its permissions, or choose another --output-dir",
        )
    return damaged(file, found)


def damaged(file: Path, found: str) -> InputError:
    """Returns the error to raise for a store that cannot be read."""
    return InputError(
        "the metadata store is damaged", file=str(file), found=found, action=_ONLY_THE_CACHE
    )
