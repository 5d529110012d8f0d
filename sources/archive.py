"""Zip files as they are downloaded: the known files of a data set taken out, and nothing else."""

from __future__ import annotations

import hashlib
import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from sources.errors import InputError
from sources.files import open_regular, unreadable
from sources.staging import staged_directory

MAX_FILE_BYTES = 4 * 2**30
"""Of one file unpacked: MovieLens-32M's ratings take 0.9 GB."""

MAX_RATIO = 100
"""Bytes unpacked for a byte of the zip file: MovieLens takes 3 to 5."""

MAX_MEMBERS = 10_000

MARKER = ".unpacked"
"""In a folder that was made from a zip file: the names of the files taken out of it."""

_BLOCK_BYTES = 1024 * 1024
_ENCRYPTED = 1
_UNPACK_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    UnicodeDecodeError,  # a name that is not UTF-8
    NotImplementedError,  # an unusual compression
    RuntimeError,  # a password
)


def is_archive(path: Path) -> bool:
    """Returns whether a path is a regular file that begins as zip files do.

    Raises:
      InputError: it cannot be read.
    """
    if not path.is_file():
        return False
    try:
        with open_regular(path) as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError as error:
        raise unreadable(path.name, error) from error


def unpacked(path: Path, wanted: Collection[str], parent: Path) -> Path:
    """Takes the known files of a zip file into a folder, which appears whole or not at all.

    Names in the zip file decide nothing about where something is written: every file taken is
    written to the folder by its last name, or by its folder's and its own, which fit `wanted`.

    Args:
      path: the zip file.
      wanted: names of the files to take, or patterns of names, such as "users.*", or of a folder
        and a name, such as "users/*"; those of others are left.
      parent: where the folder is made, named by the zip file's name and content. One that is
        there already is used.

    Returns:
      The folder.

    Raises:
      InputError: it cannot be read, is damaged, encrypted, too large, has a file twice, or none
        of the wanted ones.
    """
    digest = hashlib.blake2b(digest_size=8)
    try:
        with open_regular(path) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise unreadable(path.name, error) from error
    folder = parent / f"{path.stem[:40]}-{digest.hexdigest()}"
    if not folder.is_dir():
        with staged_directory(folder) as staging:
            names = unpack(path, wanted, staging)
            (staging / MARKER).write_text("\n".join(names), encoding="utf-8")
    return folder


def unpack(path: Path, wanted: Collection[str], folder: Path) -> list[str]:
    """Takes the known files of a zip file into a folder that is there, and returns their names.

    Raises:
      InputError: as of `unpacked`.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            members = _members(path, archive, wanted)
            for name, member in members.items():
                (folder / name).parent.mkdir(exist_ok=True)
                _take(path, archive, member, folder / name)
            return list(members)
    except _UNPACK_ERRORS as error:
        raise _damaged(path, error) from error


def remove_unpacked(parent: Path, kept: Path) -> list[Path]:
    """Removes the folders that `unpacked` made in `parent`, but for one; returns those removed.

    A folder without our marker, or with a file that we did not put there, stays.
    """
    removed = []
    for folder in list(parent.iterdir()) if parent.is_dir() else []:
        marker = folder / MARKER
        if folder == kept or folder.is_symlink() or not marker.is_file():
            continue
        ours = {MARKER, *marker.read_text(encoding="utf-8").splitlines()}
        there = {child.relative_to(folder).as_posix() for child in folder.rglob("*")}
        if there <= ours | {name.rpartition("/")[0] for name in ours}:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _members(
    path: Path, archive: zipfile.ZipFile, wanted: Collection[str]
) -> dict[str, zipfile.ZipInfo]:
    """Returns the wanted files by the names under which they are taken."""
    found: dict[str, zipfile.ZipInfo] = {}
    if len(archive.infolist()) > MAX_MEMBERS:
        expected = f"at most {MAX_MEMBERS:,} files"
        raise _refused(path, "too many files in it", expected, f"{len(archive.infolist()):,}")
    for member in archive.infolist():
        place = PurePosixPath(member.filename)
        name = _wanted_name(member, wanted)
        if name is None or "__MACOSX" in place.parts:
            continue
        if place.is_absolute() or ".." in place.parts or "\\" in member.filename:
            expected = "names of files below the zip file's own folder"
            raise _refused(path, "a path that leads outside of it", expected, member.filename)
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _refused(path, "not a regular file in it", "plain files", member.filename)
        if member.flag_bits & _ENCRYPTED:
            raise _refused(path, "encrypted", "files without a password", member.filename)
        if name in found:
            both = f"{found[name].filename} and {member.filename}"
            raise _refused(path, "a file twice", "one data set in a zip file", both)
        found[name] = member
    if not found:
        names = ", ".join(member.filename for member in archive.infolist()[:5])
        expected = f"one or more of {', '.join(sorted(wanted))}"
        raise _refused(path, "no data set in it", expected, names or "an empty zip file")
    return found


def _wanted_name(member: zipfile.ZipInfo, wanted: Collection[str]) -> str | None:
    """Returns the name under which a file is taken; None if it is not wanted."""
    parts = PurePosixPath(member.filename).parts
    for name in ("/".join(parts[-1:]), "/".join(parts[-2:])):
        if name in wanted:
            return name
        fits = any(
            fnmatchcase(name, pattern) for pattern in wanted if ("/" in pattern) == ("/" in name)
        )
        if fits and not member.is_dir():
            return name
    return None


def _take(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Unpacks one file, counting what comes: the size that the zip file names may be a lie."""
    limit = min(MAX_FILE_BYTES, MAX_RATIO * max(member.compress_size, _BLOCK_BYTES))
    written = 0
    with archive.open(member) as source, target.open("xb") as file:
        while block := _read_block(path, source):
            written += len(block)
            if written > limit:
                expected = f"at most {limit:,} bytes unpacked from {member.compress_size:,}"
                raise _refused(path, "a file in it is too large", expected, member.filename)
            file.write(block)


def _read_block(path: Path, source: IO[bytes]) -> bytes:
    """Reads on in a file of a zip file. bzip2 raises an OSError where data is damaged."""
    try:
        return source.read(_BLOCK_BYTES)
    except OSError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    found = str(error).strip("\"'")[:120]
    return _refused(path, "the zip file is damaged", "a whole zip file", found)


def _refused(path: Path, problem: str, expected: str, found: str) -> InputError:
    return InputError(
        problem,
        file=path.name,
        expected=expected,
        found="".join(filter(str.isprintable, found))[:200],
        action="download the zip file again, or unpack it yourself and give its folder",
    )
