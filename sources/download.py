"""MovieLens from GroupLens: downloaded by name, verified, and kept in a local cache."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sources import archive as zips
from sources.errors import InputError
from sources.files import open_regular
from sources.progress import Progress
from sources.releases import ML_100K, Archive
from sources.staging import staged_directory, writable

URL_VARIABLE = "MOVIELENS_URL"
CACHE_VARIABLE = "MOVIELENS_CACHE_DIR"

_MEGABYTE = 1_000_000
_MAX_FILE_BYTES = 20_000_000
"""Of the ratings of MovieLens-100K."""

_MAX_CHECKSUM_BYTES = 1_000
_READMES = ("README", "README.txt", "README.html")


def cache_directory() -> Path:
    """Returns where downloads are kept: `$MOVIELENS_CACHE_DIR`, else the user's own cache."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("movielens-tfx"))


def cached(archive: Archive = ML_100K) -> Path | None:
    """Returns the directory of a data set in the cache, None if it is not there unharmed."""
    directory = cache_directory() / archive.folder
    if not all((directory / name).is_file() for name in archive.files):
        return None
    return directory if archive.ratings_md5 is None or is_original(directory, archive) else None


def is_original(directory: Path, archive: Archive = ML_100K) -> bool:
    """Returns whether the ratings in `directory` are those of `archive`, byte for byte."""
    try:
        with open_regular(directory / "u.data") as file:
            # A file of any other size needs no hashing, however large it is.
            return _md5(file.read(_MAX_FILE_BYTES)) == archive.ratings_md5
    except (OSError, InputError):
        return False


def download(archive: Archive = ML_100K, progress: Progress | None = None) -> Path:
    """Downloads a data set into the cache.

    The address can be changed by `$MOVIELENS_URL` (a mirror; `{name}` in it is replaced), a
    checksum cannot. The directory appears in the cache complete or not at all. Processes that
    download the same take turns. What was received before a connection broke is kept, and the
    next download goes on from there. There are no retries: where the network is closed this fails
    within seconds.

    Args:
      archive: what to download.
      progress: called with the bytes received so far.

    Returns:
      The directory that holds the files.

    Raises:
      InputError: the download was refused, cut off or corrupt, or the cache cannot be
        written.
    """
    if (directory := cached(archive)) is not None:
        return directory
    directory = cache_directory() / archive.folder
    with writable(directory), _part_of(directory) as part:
        if cached(archive) is None:  # else another process was quicker
            _move_harmed(directory)
            resumed = part.seek(0, os.SEEK_END) > 0
            try:
                _obtain(archive, part, directory, progress)
            except InputError:
                if not resumed or part.seek(0, os.SEEK_END):
                    raise
                # What there was is of another file, or damaged.
                _obtain(archive, part, directory, progress)
    return directory


@contextlib.contextmanager
def _part_of(directory: Path) -> Iterator[IO[bytes]]:
    """Yields what has been received of a zip file, to append to; one process at a time has it.

    It is kept if an exception ends the block, unless it is empty.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    path = directory.with_name(f".{directory.name}.zip.part")
    while True:
        part = path.open("a+b")
        fcntl.flock(part, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(part.fileno())):
                break
        part.close()  # removed by the process that had it
    with part:
        try:
            yield part
            path.unlink()
        except BaseException:  # interrupts too: an empty part must not stay
            if not path.stat().st_size:
                path.unlink()
            raise


def _obtain(archive: Archive, part: IO[bytes], directory: Path, progress: Progress | None) -> None:
    """Receives the rest of a zip file, verifies it and unpacks it; empties it if it is no good."""
    from sources import transfer

    url, what = _url(archive), f"Downloading {archive.name}"
    shown = (lambda *counts: progress(what, *counts)) if progress else (lambda *_: None)
    try:
        transfer.receive(url, part, archive.max_megabytes * _MEGABYTE, shown)
    except transfer.TransferError as error:
        raise _failure(archive, url, str(error)) from error
    try:
        _verify(archive, part)
        with staged_directory(directory) as staging:
            _unpack(archive, Path(part.name), staging)
    except (InputError, OSError):
        part.truncate(0)
        raise


def _move_harmed(directory: Path) -> None:
    """Makes room where a directory of the cache is incomplete or altered; nothing is deleted."""
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    number = 1
    while (aside := directory.with_name(f"{directory.name}.damaged-{number}")).exists():
        number += 1
    directory.rename(aside)


def _url(archive: Archive) -> str:
    return (os.environ.get(URL_VARIABLE) or archive.url).replace("{name}", archive.folder)


def _md5(data: bytes | mmap.mmap) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _verify(archive: Archive, part: IO[bytes]) -> None:
    """Compares the zip file with its checksum, where one is known or published."""
    expected = archive.md5 or _published_md5(archive)
    size = part.seek(0, os.SEEK_END)
    data = mmap.mmap(part.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    if expected is not None and (digest := _md5(data)) != expected:
        kind = " (a web page)" if data[:4096].lstrip()[:1] == b"<" else ""
        found = f"corrupt: {size:,} bytes{kind} with MD5 {digest}"
        raise _failure(archive, _url(archive), found, expected)


def _published_md5(archive: Archive) -> str | None:
    """Returns the MD5 sum in the file beside the zip file; None where there is none."""
    from sources import transfer

    with tempfile.TemporaryFile() as file:
        with contextlib.suppress(transfer.TransferError):
            transfer.receive(f"{_url(archive)}.md5", file, _MAX_CHECKSUM_BYTES)
        file.seek(0)
        found = re.search(rb"\b[0-9a-fA-F]{32}\b", file.read(_MAX_CHECKSUM_BYTES))
    return found[0].decode("ascii").lower() if found else None


def _failure(archive: Archive, url: str, found: str, md5: str | None = None) -> InputError:
    md5 = md5 or archive.md5
    return InputError(
        f"{archive.name} could not be downloaded",
        expected=url + (f" (MD5 {md5})" if md5 else ""),
        found=found,
        action="download or unpack it yourself and give --data or MOVIELENS_DIR, or use "
        "--dataset sample",
    )


def _unpack(archive: Archive, packed: Path, directory: Path) -> None:
    """Takes the known files out of a zip file, and nothing else, whatever it holds."""
    try:
        names = zips.unpack(packed, {*archive.files, *_READMES}, directory)
        missing = [name for name in archive.files if name not in names]
        if missing:
            raise InputError("files are missing", found=f"no {', '.join(missing)}")
    except InputError as error:
        raise InputError(
            f"{archive.name} could not be unpacked",
            file=f"{archive.folder}.zip",
            expected=f"a zip file with {', '.join(archive.files)}",
            found=f"{error.problem}: {error.found}",
            action="try another mirror ($MOVIELENS_URL), or give --data or MOVIELENS_DIR",
        ) from error
