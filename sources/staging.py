"""Directories that appear complete or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sources.errors import InputError

_SETTLING_SECONDS = 60.0
"""A younger staging directory may be one whose owner has not taken its lock yet."""


@contextlib.contextmanager
def staged_directory(final: Path) -> Iterator[Path]:
    """Yields an empty directory that becomes `final` in one rename when the block succeeds.

    Several processes may stage the same `final` at once: the first rename wins and
    the others throw their copy away. What a killed process left behind is removed by
    the next one that stages the same directory.

    Args:
      final: the directory to make. An empty one may exist already.

    Yields:
      A directory on the same file system as `final`.

    Raises:
      InputError: the disk is full, the place is not writable, or `final` holds files
        before the block begins.
    """
    with writable(final):
        if final.is_dir() and any(final.iterdir()):
            raise InputError(
                "this directory is not empty",
                file=str(final),
                expected="a new or an empty directory",
                action="choose another directory, or empty it",
            )
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(final)
        area = Path(tempfile.mkdtemp(prefix=_prefix(final), dir=final.parent))
        try:
            with (area / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                payload = area / "payload"
                payload.mkdir()
                yield payload
                _publish(payload, final)
        finally:
            shutil.rmtree(area, ignore_errors=True)


@contextlib.contextmanager
def writable(place: Path) -> Iterator[None]:
    """Turns any `OSError` in the block into an `InputError` that names `place`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror or error}",
            file=str(place),
            expected="a writable directory with enough free space",
            action="free some space, correct its permissions, or choose another directory",
        ) from error


def _publish(payload: Path, final: Path) -> None:
    try:
        payload.rename(final)
    except OSError:
        # A directory with files in it is never replaced: somebody was quicker.
        if not (final.is_dir() and any(final.iterdir())):
            raise


def _prefix(final: Path) -> str:
    return f".{final.name}.staging-"


def _remove_abandoned(final: Path) -> None:
    """Removes staging directories of `final` whose owner is gone (the lock is free)."""
    for area in final.parent.glob(_prefix(final) + "*"):
        with contextlib.suppress(OSError):
            if time.time() - area.stat().st_mtime < _SETTLING_SECONDS:
                continue
            with (area / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(area, ignore_errors=True)
