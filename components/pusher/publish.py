"""Publishing a SavedModel as the next version in a directory that a model server watches.

TensorFlow Serving reads every child with a numeric name as a version and ignores the
rest. A version is therefore made complete under another name and then renamed: it is
there as a whole or not at all, whenever the process or the machine stops.

Only the standard library is imported here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from components.errors import InputError

TEMPORARY_PREFIX = ".tmp-push-"
"""How the names of unfinished versions begin: not a number, so no server reads them."""

SAVED_MODEL_FILE = "saved_model.pb"

_FINGERPRINT_FILE = "fingerprint.pb"
_BLOCK_BYTES = 1024 * 1024


class Reason(enum.Enum):
    """Why there is, or is not, a new version."""

    PUSHED = "pushed"
    NOT_BLESSED = "not_blessed"
    UP_TO_DATE = "up_to_date"


@dataclasses.dataclass(frozen=True)
class Publication:
    """What came of publishing a model.

    Attributes:
      reason: PUSHED if the version is new, UP_TO_DATE if it was already there.
      version: the version that now holds the model.
      path: its directory.
    """

    reason: Reason
    version: int
    path: Path


def publish(model: Path, destination: Path, clock: Callable[[], float] = time.time) -> Publication:
    """Publishes the SavedModel in `model`, unless the newest version already equals it.

    Old versions stay. What killed runs left behind is removed first. Two processes
    that publish to one destination take turns.

    Args:
      model: directory of the SavedModel.
      destination: directory of the versions; made if it is missing.
      clock: returns the time in unix seconds, which names the version.

    Raises:
      FileNotFoundError: `model` holds no SavedModel.
      InputError: the disk is full or `destination` cannot be written. No version is
        left half-written.
    """
    if not (model / SAVED_MODEL_FILE).is_file():
        raise FileNotFoundError(f"expected a SavedModel in {model}, found no {SAVED_MODEL_FILE}")
    with _explain_os_errors(destination):
        destination.mkdir(parents=True, exist_ok=True)
        with _locked(destination):
            remove_leftovers(destination)
            newest = newest_version(destination)
            if newest is not None and tree_digest(destination / str(newest)) == tree_digest(model):
                return Publication(Reason.UP_TO_DATE, newest, destination / str(newest))
            version = max(int(clock()), (newest or 0) + 1)
            path = destination / str(version)
            _copy_and_rename(model, destination / f"{TEMPORARY_PREFIX}{version}", path)
            return Publication(Reason.PUSHED, version, path)


def newest_version(destination: Path) -> int | None:
    """Returns the highest version in `destination`; None if it has none or is missing."""
    if not destination.is_dir():
        return None
    return max(
        (int(child.name) for child in destination.iterdir() if _is_version(child.name)),
        default=None,
    )


def tree_digest(directory: Path) -> str | None:
    """Returns a digest of the names and contents of all files below `directory`.

    `fingerprint.pb` is left out: it is computed from the other files, and later
    versions of TensorFlow put a random id into it. The other files of a SavedModel are
    the same, byte for byte, when the same weights are exported by a fresh process. Within
    one process a second export names its graph functions differently, so it counts as
    another model; the copy of an export never does.

    Returns:
      64 hexadecimal digits, or None if `directory` is no directory.
    """
    if not directory.is_dir():
        return None
    digest = hashlib.sha256()
    for file in _files_below(directory):
        if file.name == _FINGERPRINT_FILE:
            continue
        name = file.relative_to(directory).as_posix().encode()
        digest.update(b"%d:%s%d:" % (len(name), name, file.stat().st_size))
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def remove_leftovers(destination: Path) -> None:
    """Removes unfinished versions; nobody else writes one while the lock is held."""
    for child in destination.iterdir():
        if child.name.startswith(TEMPORARY_PREFIX) and child.is_dir():
            shutil.rmtree(child)


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _files_below(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _copy_and_rename(model: Path, temporary: Path, path: Path) -> None:
    try:
        temporary.mkdir()
        for file in _files_below(model):
            target = temporary / file.relative_to(model)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_file(file, target)
        for directory in [temporary, *(d for d in temporary.rglob("*") if d.is_dir())]:
            _sync(directory)
        temporary.rename(path)
    except BaseException:
        # Best effort: what stays is removed by the next push.
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(path.parent)


def copy_file(source: Path, target: Path) -> None:
    """Copies one file and waits until it is on the disk."""
    shutil.copyfile(source, target)
    _sync(target)


def _sync(path: Path) -> None:
    """Waits until a file's contents, or a directory's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Waits for the lock on a directory; it ends with the process, and leaves no file."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


@contextlib.contextmanager
def _explain_os_errors(destination: Path) -> Iterator[None]:
    """Turns the errors of a full or unwritable disk into messages for people."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise InputError(
                "no space left to push the model; nothing was pushed",
                file=str(destination),
                found=error.strerror,
                action="free some space, or choose another output directory, and run again",
            ) from error
        if error.errno in _NOT_WRITABLE:
            raise InputError(
                "cannot push the model; nothing was pushed",
                file=str(destination),
                expected="a directory that can be written",
                found=f"{error.strerror}: {error.filename}",
                action="correct its permissions, or choose another output directory",
            ) from error
        raise
