"""Reading the folder of one version, with limits and without trust in its content.

A pipe, a circle of links, a file without end or an unreadable file is an error of that version
alone: other versions are still found and served.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from schema.export_contract import MANIFEST, SIGNATURE
from serving.errors import ModelError
from storage.paths import read_bytes

SAVED_MODEL = "saved_model.pb"

_MOST_FILES = 10_000
_DEEPEST = 16
_GRAPH_BYTES = 1 << 30
_MANIFEST_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class File:
    """A file of a version: its path below the version's folder, its size and modification time."""

    name: str
    size: int
    mtime_ns: int


Listing = tuple[File, ...]
Value = TypeVar("Value")


class Incomplete(Exception):
    """A version whose files are not all there yet."""


class Unreadable(ModelError):
    """A version that could not be read for a reason that may be temporary."""


def listing(path: Path) -> Listing:
    """Returns every file of a version; two listings are equal if nothing was written between.

    Raises:
      ModelError: a file is not ordinary, a link leads in circles, or there are too many files.
      Unreadable: the folder cannot be read.
    """
    found: list[File] = []
    for file in _walk(path, "", 0):
        found.append(file)
        if len(found) > _MOST_FILES:
            raise ModelError("INVALID_ARGUMENT", f"has more than {_MOST_FILES:,} files")
    return tuple(sorted(found, key=lambda file: file.name))


def _walk(path: Path, prefix: str, depth: int) -> Iterator[File]:
    if depth > _DEEPEST:
        raise ModelError("INVALID_ARGUMENT", f"has folders more than {_DEEPEST} deep: {prefix!r}")
    with _explained(prefix):
        names = sorted(os.listdir(path))  # noqa: PTH208 - its names alone
    for name in names:
        below = f"{prefix}{name}"
        with _explained(below):
            try:
                found = (path / name).stat()
            except FileNotFoundError:
                if (path / name).is_symlink():
                    raise
                continue  # It was removed meanwhile.
        if stat.S_ISDIR(found.st_mode):
            yield from _walk(path / name, f"{below}/", depth + 1)
        elif stat.S_ISREG(found.st_mode):
            if below == SAVED_MODEL and found.st_size > _GRAPH_BYTES:
                raise ModelError(
                    "INVALID_ARGUMENT", f"has more than {_GRAPH_BYTES:,} bytes in {below!r}"
                )
            yield File(below, found.st_size, found.st_mtime_ns)
        else:
            raise ModelError("INVALID_ARGUMENT", f"cannot be read: {below!r}: no ordinary file")


_LASTING = (errno.ELOOP, errno.EINVAL, errno.EFBIG)
"""Numbers of errors that last until the files change: a circle, no ordinary file, too large."""


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turns an `OSError` about a name of the version into a `ModelError` without its path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"cannot be read: {name or 'its folder'!r}: {reason}"
        if error.errno in _LASTING:
            raise ModelError("INVALID_ARGUMENT", message) from error
        code = "PERMISSION_DENIED" if error.errno in (errno.EACCES, errno.EPERM) else "UNAVAILABLE"
        raise Unreadable(code, message) from error


def read_limited(path: Path, most: int) -> bytes:
    """Reads a regular file of limited size; does not wait for a pipe.

    Raises:
      FileNotFoundError: it does not exist.
      ModelError: it is not an ordinary file, or too large.
      Unreadable: it cannot be read.
    """
    if not os.path.lexists(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with _explained(path.name):
        return read_bytes(path, most)


def read_json(path: Path, most: int) -> Any:
    """Reads a JSON file as `read_limited` does; numbers that JSON does not have are refused.

    Raises:
      FileNotFoundError: it does not exist.
      ModelError: it is not an ordinary file, too large or not JSON.
      Unreadable: it cannot be read.
    """
    content = read_limited(path, most)
    try:
        return orjson.loads(content)
    except ValueError as error:
        raise ModelError("DATA_LOSS", f"has a damaged {path.name!r}: {error}") from error


def read_as(path: Path, most: int, make: Callable[[Any], Value], missing: Value) -> Value:
    """Returns what a JSON file of `assets.extra` describes; `missing` where there is none.

    Raises:
      ModelError: it is not a regular file, too large, not JSON, or describes something else.
      Unreadable: it cannot be read.
    """
    try:
        return make(read_json(path, most))
    except FileNotFoundError:
        return missing
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            "DATA_LOSS", f"{path.parent.name}/{path.name} cannot be read: {error!r}"
        ) from error


# -- completeness ------------------------------------------------------------------------------


def is_whole(path: Path, files: Listing, hashes: dict[File, str]) -> bool:
    """Returns whether a version is complete.

    Args:
      path: the version's folder.
      files: its files.
      hashes: of its files, from earlier calls; changed in place. A file is hashed once per size
        and time.

    Returns:
      True if every file is as in its manifest; False if it has no manifest and is not of this
      pipeline, so that completeness is unknown.

    Raises:
      Incomplete: a file is missing, or not as in the manifest.
      ModelError: a file cannot be used, whatever arrives later.
      Unreadable: a file cannot be read.
    """
    try:
        manifest = _read_manifest(path)
    except FileNotFoundError:
        if is_ours(path):
            raise Incomplete(f"{MANIFEST} is missing") from None
        return False
    there = {file.name: file for file in files}
    for stale in hashes.keys() - set(files):
        del hashes[stale]
    # Sizes first: comparing them takes no time.
    for name, (size, _) in manifest.items():
        if name not in there:
            raise Incomplete(f"{name} is missing")
        if there[name].size != size:
            raise Incomplete(f"{name} has {there[name].size:,} of {size:,} bytes")
    for name, (size, expected) in manifest.items():
        file = there[name]
        if file not in hashes:
            hashes[file] = _sha256(path / name, size)
        if hashes[file] != expected:
            raise Incomplete(f"{name} is not as its manifest says")
    return True


def _read_manifest(path: Path) -> dict[str, tuple[int, str]]:
    """Returns each file's size and hash, by name.

    Raises:
      FileNotFoundError: there is no manifest.
      Incomplete: the manifest is not whole.
    """
    try:
        files = read_json(path / MANIFEST, _MANIFEST_BYTES)["files"]
        found = {name: (int(one["size"]), str(one["sha256"])) for name, one in files.items()}
    except Unreadable:
        raise
    except (ModelError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Incomplete(f"{MANIFEST} is not whole") from error
    if not found:
        raise Incomplete(f"{MANIFEST} is not whole")
    return found


def _sha256(path: Path, size: int) -> str:
    """Returns the hash of the first `size` bytes of a file, which may grow meanwhile."""
    digest = hashlib.sha256()
    with _explained(path.name):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            while size > 0 and (block := stream.read(min(size, _BLOCK_BYTES))):
                digest.update(block)
                size -= len(block)
    return digest.hexdigest()


def is_ours(path: Path) -> bool:
    """Returns whether this pipeline exported a version, by a signature in `saved_model.pb`.

    Raises:
      Incomplete: `saved_model.pb` does not exist, or is not whole.
      ModelError: it is not a regular file, or too large.
      Unreadable: it cannot be read.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    document = saved_model_pb2.SavedModel()
    try:
        document.ParseFromString(read_limited(path / SAVED_MODEL, _GRAPH_BYTES))
    except FileNotFoundError:
        raise Incomplete(f"{SAVED_MODEL} is missing") from None
    except DecodeError:
        raise Incomplete(f"{SAVED_MODEL} is not whole") from None
    return any(SIGNATURE in graph.signature_def for graph in document.meta_graphs)
