"""Paths as strings: joining, listing without patterns, and atomic writing of files.

Only local paths are supported; URLs are refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from storage.errors import PathError

# One slash, since pathlib turns "gs://bucket" into "gs:/bucket". Two letters at least: one letter
# is a drive, although RFC 3986 allows it as a scheme.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_PARTIAL = ".partial-"
_ATTEMPTS = 100
_JSON_BYTES = 16 << 20

LARGEST_VERSION = 2**63 - 1
"""Model servers keep version numbers as int64."""


def is_url(value: str | os.PathLike[str]) -> bool:
    """Whether a path begins with the scheme of a URL, such as `gs://`, `s3://` or `file://`."""
    return _URL.match(os.fspath(value).lstrip()) is not None


def refuse_url(value: str | os.PathLike[str], option: str) -> None:
    """Refuses a URL.

    Args:
      value: a path as it was given.
      option: where it was given, such as "--output-dir", for the message.

    Raises:
      PathError: it is a URL.
    """
    text = os.fspath(value)
    if is_url(text):
        raise PathError(
            f"{option} is a URL",
            expected="a path on this machine",
            found=text,
            action=f"copy the files by other means; a folder of that very name is ./{text}",
        )


def local_path(value: str | os.PathLike[str], option: str) -> Path:
    """Returns an option's value as a path.

    Args:
      value: a path as it was given.
      option: where it was given, such as "--output-dir", for the message.

    Raises:
      PathError: it is empty, a URL, or not text in UTF-8 without control characters.
    """
    text = os.fspath(value)
    if not text:
        raise PathError(f"{option} is empty", expected="a path", found="''", action="give one")
    refuse_url(text, option)
    refuse_unreadable_name(text, option)
    return Path(text)


def refuse_unreadable_name(value: str | os.PathLike[str], option: str) -> None:
    """Refuses names that are not UTF-8 or have control characters: libraries cannot use them.

    Raises:
      PathError: it is such a name; the message shows it escaped.
    """
    text = os.fspath(value)
    try:
        text.encode("utf-8")
        if not any(ord(character) < 32 or ord(character) == 127 for character in text):
            return
        what = "has control characters"
    except UnicodeEncodeError:
        what = "is not UTF-8"
    raise PathError(
        f"{option} {what}",
        expected="a path of printable characters in UTF-8",
        found=repr(os.fsencode(text))[1:],
        action="rename the folder or file, or make a link to it with another name",
    )


def join(base: str | os.PathLike[str], *names: str) -> str:
    """Returns the path of a name below a folder; slashes at the seams count once."""
    parts = [os.fspath(base).rstrip("/") or "/", *(name.strip("/") for name in names)]
    return "/".join(["" if parts[0] == "/" else parts[0], *parts[1:]]) or "/"


def list_names(folder: str | os.PathLike[str]) -> list[str]:
    """Returns the sorted names in a folder; none if it does not exist.

    The path is never taken for a pattern.
    """
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - its names alone
    except (FileNotFoundError, NotADirectoryError):
        return []


def numbers_in(folder: Path) -> list[int]:
    """Returns the numbers that name subfolders of a directory, the greatest first.

    Raises:
      OSError: if the directory cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if _is_number(entry.name) and _is_dir(entry)]
    except FileNotFoundError:
        return []
    return sorted(map(int, found), reverse=True)


def versions_in(folder: Path) -> list[int]:
    """Returns the versions in a directory of models, the newest first.

    As for model servers, files, numbers beyond int64 and numbers with leading zeros are no
    versions.

    Raises:
      OSError: if the directory cannot be read.
    """
    return [number for number in numbers_in(folder) if number <= LARGEST_VERSION]


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and str(int(name)) == name


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return True  # Reading it reports the error.


def read_bytes(path: str | os.PathLike[str], most: int) -> bytes:
    """Returns the content of an ordinary file; does not wait for a pipe.

    Raises:
      OSError: there is none, it cannot be read, is no ordinary file, or has more than `most` bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "no ordinary file", os.fspath(path))
        # The size first, so that a large file is not read.
        content = b"" if found.st_size > most else stream.read(most + 1)
    if found.st_size > most or len(content) > most:
        raise OSError(errno.EFBIG, f"more than {most:,} bytes", os.fspath(path))
    return content


def read_json(path: str | os.PathLike[str]) -> Any:  # noqa: ANN401 - whatever it says
    """Returns the content of a JSON file, read as by `read_bytes`.

    Raises:
      OSError: it cannot be read, or has more than 16 MiB.
      ValueError: it is no JSON, or nested too deeply.
    """
    content = read_bytes(path, _JSON_BYTES)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


@contextlib.contextmanager
def publish_file(target: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Writes a file atomically.

    The bytes go into a temporary file beside the target, which replaces the target when the block
    ends without an exception. If the target is a link, the file it points to is replaced.
    Temporary files of killed writers of the same target are removed.

    Args:
      target: path of the file; its folder exists.

    Yields:
      A stream of bytes.

    Raises:
      PathError: the target is a folder or no ordinary file.
      OSError: it cannot be written.
    """
    path = Path(os.path.realpath(target))
    _refuse_what_is_no_file(path)
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    _remove_leftovers(path)
    partials: list[Path] = []
    try:
        with _open_partial(path, partials) as stream:
            yield stream
            stream.flush()
            if mode is not None:
                os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
            partials[-1].replace(path)
    except BaseException:
        for partial in partials:
            partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_text(target: str | os.PathLike[str], text: str) -> None:
    """Publishes text in UTF-8 as a file; see `publish_file`."""
    with publish_file(target) as stream:
        stream.write(text.encode("utf-8"))


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Makes a folder the working directory inside the block.

    TFX, Beam and TensorFlow take every path for a pattern. Paths relative to the output directory
    do not contain its name, which may hold any character.
    """
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


def sync(path: Path) -> None:
    """Waits until a file's bytes, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_what_is_no_file(path: Path) -> None:
    if path.is_dir():
        raise PathError(
            "is a folder",
            file=str(path),
            expected="the path of a file",
            action="give a file's name in it; nothing in it was touched",
        )
    if path.is_symlink() or (path.exists() and not path.is_file()):
        # `path` has no links left, unless one leads back to itself.
        raise PathError("is no ordinary file", file=str(path), expected="the path of a file")


def _key(path: Path) -> str:
    """A short hash of the target's name, which may have the greatest possible length."""
    return hashlib.blake2b(os.fsencode(path.name), digest_size=6).hexdigest()


def _open_partial(path: Path, opened: list[Path]) -> BinaryIO:
    """Opens a locked temporary file beside the target; the lock ends with the process.

    Args:
      path: the target.
      opened: gets the name before there is such a file, so that the caller can remove it after an
        interrupt at any moment.
    """
    for _ in range(_ATTEMPTS):
        partial = path.with_name(f"{_PARTIAL}{_key(path)}-{secrets.token_hex(8)}")
        opened.append(partial)
        stream = open(partial, "xb")  # noqa: SIM115, PTH123 - closed by the caller
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
            # Before it was locked, another writer may have removed it as a leftover.
            if partial.exists():
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()
    raise OSError(f"every temporary file beside {path} was removed by another process")


def _remove_leftovers(path: Path) -> None:
    """Removes temporary files of the same target that no running writer has locked."""
    for name in list_names(path.parent):
        if not name.startswith(f"{_PARTIAL}{_key(path)}-"):
            continue
        leftover = path.with_name(name)
        with contextlib.suppress(OSError), leftover.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
