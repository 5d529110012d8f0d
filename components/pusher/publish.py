"""Publishing a SavedModel as the next version in a directory that a model server watches.

TensorFlow Serving reads every child with a numeric name as a version and ignores the rest. A
version is therefore written under another name and then renamed, so that it is complete whenever
the process or the machine stops. This module imports no library beyond the standard one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.pusher import kind as kinds
from components.pusher.kind import Kind
from schema.export_contract import MANIFEST, RUN_RECORD
from sources.errors import InputError
from storage.errors import FULL_DISK, PathError
from storage.paths import LARGEST_VERSION, sync, versions_in

TEMPORARY_PREFIX = ".tmp-push-"
"""Prefix of the names of unfinished versions, which model servers ignore."""

SAVED_MODEL_FILE = "saved_model.pb"

_FINGERPRINT_FILE = "fingerprint.pb"
_NOT_THE_MODEL = frozenset({MANIFEST, RUN_RECORD})
_BLOCK_BYTES = 1024 * 1024
_MANIFEST_VERSION = 1

# Independent of the umask: only the owner may change what a server runs.
_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755


class Reason(enum.Enum):
    """Whether there is a new version, or why not."""

    PUSHED = "pushed"
    NOT_BLESSED = "not_blessed"
    UP_TO_DATE = "up_to_date"
    OTHER_KIND = "other_kind"
    NO_PUSH = "no_push"


@dataclasses.dataclass(frozen=True)
class Publication:
    """The result of publishing a model.

    Attributes:
      reason: PUSHED if the version is new, UP_TO_DATE if the newest version equals the model,
        OTHER_KIND if the model must not replace the served one.
      version: the version that holds the model; None if none does.
      path: its directory.
      explanation: message about why it was not pushed.
    """

    reason: Reason
    version: int | None
    path: Path | None
    explanation: str = ""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a model comes from.

    Attributes:
      kind: its kind.
      replace: whether it may replace models of another kind.
      run: content of the version's run record: run, metrics and verdict.
    """

    kind: Kind
    replace: bool = False
    run: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def publish(
    model: Path,
    destination: Path,
    clock: Callable[[], float] = time.time,
    origin: Origin | None = None,
) -> Publication:
    """Publishes the SavedModel in `model`, unless the newest version already equals it.

    Old versions stay. Unfinished versions of killed runs are removed first. A lock makes two
    processes that publish to one destination take turns.

    Args:
      model: directory of the SavedModel.
      destination: directory of the versions; made if it is missing.
      clock: returns the time in unix seconds, which names the version.
      origin: where the model comes from. The destination's kind is then checked and recorded,
        and the version gets a run record. None: any model may replace any.

    Raises:
      FileNotFoundError: `model` holds no SavedModel.
      InputError: the disk is full or `destination` cannot be written. No version is
        left half-written.
    """
    if not (model / SAVED_MODEL_FILE).is_file():
        raise FileNotFoundError(f"expected a SavedModel in {model}, found no {SAVED_MODEL_FILE}")
    with _explain_os_errors(destination):
        _make_directories(destination)
        with _locked(destination):
            remove_leftovers(destination)
            newest = newest_version(destination)
            refusal = _take_kind(destination, newest, origin)
            if refusal is not None:
                return Publication(Reason.OTHER_KIND, None, None, refusal)
            if newest is not None and tree_digest(destination / str(newest)) == tree_digest(model):
                return Publication(Reason.UP_TO_DATE, newest, destination / str(newest))
            now = int(clock())
            version = _next_version(now, newest or 0, destination)
            path = destination / str(version)
            _copy_and_rename(model, path, None if origin is None else _record(origin, now))
            return Publication(Reason.PUSHED, version, path)


def _take_kind(destination: Path, newest: int | None, origin: Origin | None) -> str | None:
    """Records the model's kind as the destination's, or returns why that is not allowed.

    The kind is recorded before the version is published. If the process ends in between, the run
    record of the newest version still has the old kind, and `read_served` returns both.
    """
    if origin is None:
        return None
    served = kinds.read_served(destination, newest)
    refusal = kinds.refusal(origin.kind, served, replace=origin.replace)
    if refusal is None and kinds.read_kind(destination) != origin.kind:
        kinds.write_kind(destination, origin.kind)
    return refusal


def _record(origin: Origin, now: int) -> str:
    document = {
        "schema_version": kinds.SCHEMA_VERSION,
        **origin.run,
        "kind": origin.kind.to_json(),
        "pushed_at": now,
    }
    # A path of the training machine is of no use to a server.
    document["kind"].pop("data_dir", None)
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def newest_version(destination: Path) -> int | None:
    """Returns the highest version in `destination`, of `versions_in`; None if there is none.

    A folder that cannot be looked at, such as a link to itself, is none: a server reports it.
    """
    numbers = versions_in(destination) if destination.is_dir() else ()
    return next((number for number in numbers if (destination / str(number)).is_dir()), None)


def tree_digest(directory: Path) -> str | None:
    """Returns a digest of the names and contents of all files below `directory`.

    `fingerprint.pb` is left out: it is computed from the other files, and later versions of
    TensorFlow put a random id into it. Run record and manifest are left out: only pushed versions
    have them. Fresh processes that export the same weights write equal files; a second export in
    one process names its graph functions differently and counts as another model.

    Returns:
      64 hexadecimal digits, or None if `directory` is no directory.
    """
    if not directory.is_dir():
        return None
    digest = hashlib.sha256()
    for file in _files_below(directory):
        relative = file.relative_to(directory).as_posix()
        if file.name == _FINGERPRINT_FILE or relative in _NOT_THE_MODEL:
            continue
        name = os.fsencode(relative)
        digest.update(b"%d:%s%d:" % (len(name), name, file.stat().st_size))
        _add_content(digest, file)
    return digest.hexdigest()


def _add_content(digest: hashlib._Hash, file: Path) -> None:
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)


def remove_leftovers(destination: Path) -> None:
    """Removes unfinished versions; the caller holds the lock, so no other process writes one.

    Links are removed, not followed. What cannot be removed stays, ignored by servers.
    """
    for child in destination.iterdir():
        if not child.name.startswith(TEMPORARY_PREFIX):
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                child.unlink()


def _next_version(now: int, newest: int, destination: Path) -> int:
    version = max(now, newest + 1)
    if version > LARGEST_VERSION:
        raise InputError(
            "there is no number left for a new version; nothing was pushed",
            file=str(destination / str(newest)),
            expected=f"versions below {LARGEST_VERSION}",
            found=str(newest),
            action="remove that version or choose another output directory",
        )
    return version


def _files_below(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _copy_and_rename(model: Path, path: Path, record: str | None) -> None:
    # A random name, since a leftover that could not be removed may have any other.
    temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name}-{secrets.token_hex(4)}"
    try:
        temporary.mkdir(_DIRECTORY_MODE)
        for file in _files_below(model):
            target = temporary / file.relative_to(model)
            _make_directories(target.parent)
            copy_file(file, target)
        if record is not None:
            write_record(temporary / RUN_RECORD, record)
        write_manifest(temporary)
        for directory in [temporary, *(d for d in temporary.rglob("*") if d.is_dir())]:
            sync(directory)
        temporary.rename(path)
    except BaseException:
        # What cannot be removed now is removed by the next push.
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync(path.parent)


def copy_file(source: Path, target: Path) -> None:
    """Copies one file and waits until it is on the disk."""
    target.touch(_FILE_MODE)
    shutil.copyfile(source, target)
    sync(target)


def _make_directories(path: Path) -> None:
    """Makes a directory and its missing parents, writable by their owner only."""
    if not path.is_dir():
        if path.parent != path:
            _make_directories(path.parent)
        path.mkdir(_DIRECTORY_MODE, exist_ok=True)


def write_manifest(directory: Path) -> None:
    """Writes `assets.extra/manifest.json`: size and SHA-256 of every other file of a version.

    It is written last. A reader that finds a file missing, shorter or different treats the version
    as incomplete.
    """
    files: dict[str, dict[str, Any]] = {}
    for file in _files_below(directory):
        name = file.relative_to(directory).as_posix()
        if name != MANIFEST:
            digest = hashlib.sha256()
            _add_content(digest, file)
            files[name] = {"size": file.stat().st_size, "sha256": digest.hexdigest()}
    document = {"schema_version": _MANIFEST_VERSION, "files": files}
    write_record(directory / MANIFEST, json.dumps(document, ensure_ascii=False) + "\n")


def write_record(target: Path, text: str) -> None:
    """Writes text into an unfinished version and waits until it is on the disk."""
    _make_directories(target.parent)
    target.touch(_FILE_MODE)
    target.write_text(text, encoding="utf-8")
    sync(target)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Waits for the lock on a directory; it ends with the process, and leaves no file."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


@contextlib.contextmanager
def _explain_os_errors(destination: Path) -> Iterator[None]:
    """Turns the errors of a full or unwritable disk into an `InputError`."""
    try:
        yield
    except PathError as error:
        raise InputError(f"cannot push the model; nothing was pushed: {error}") from error
    except OSError as error:
        if error.errno in FULL_DISK:
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
