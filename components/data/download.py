"""MovieLens-100K from GroupLens, verified and kept in a local cache."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import stat
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from components.data.progress import Progress
from components.data.staging import staged_directory, writable
from components.errors import InputError

if TYPE_CHECKING:
    import requests

URL_VARIABLE = "MOVIELENS_URL"
CACHE_VARIABLE = "MOVIELENS_CACHE_DIR"

LICENCE_NOTE = """\
MovieLens-100K is for research use and may not be redistributed, nor used commercially, \
without permission of GroupLens (see README in the data directory). Please cite:
F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. \
ACM TiiS 5, 4, Article 19. https://doi.org/10.1145/2827872"""

_CONNECT_SECONDS = 4.0
_READ_SECONDS = 10.0
_ANSWER_SECONDS = 8.0
"""Until the first byte in all: the other two do not cover name look-up and redirections."""

_BLOCK_BYTES = 1 << 16
_MAX_ARCHIVE_BYTES = 50_000_000
_MAX_FILE_BYTES = 20_000_000

# Signs in the messages of the libraries below, most telling first.
_REASONS = (
    ("IncompleteRead", "cut off: the connection closed before the end"),
    ("Connection refused", "connection refused"),
    ("NameResolutionError", "the server's name cannot be resolved"),
    ("Name or service not known", "the server's name cannot be resolved"),
    ("unreachable", "the network cannot be reached"),
    ("CERTIFICATE_VERIFY_FAILED", "the server's certificate is not trusted"),
    ("Read timed out", "cut off: no more data in time"),
    ("Connection reset", "cut off: the connection was reset"),
    ("RemoteDisconnected", "cut off: the server closed the connection"),
    ("Connection broken", "cut off: the connection broke"),
)
_UNPACK_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    KeyError,  # a file is not in the zip file
    EOFError,
    NotImplementedError,  # an unusual compression
    RuntimeError,  # a password
)

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip file that holds a data set in one folder.

    Attributes:
      name: what people call it.
      url: where it is.
      md5: of the zip file (hex).
      folder: the folder in it, and the name of the directory in the cache.
      files: what is taken from the folder; all of it must be there.
      ratings_md5: of `u.data` (hex).
    """

    name: str
    url: str
    md5: str
    folder: str
    files: tuple[str, ...]
    ratings_md5: str


ML_100K = Archive(
    name="MovieLens-100K",
    url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
    md5="0e33842e24a9c977be4e0107933c0723",
    folder="ml-100k",
    files=("u.data", "u.user", "u.item", "u.genre", "u.occupation", "u.info", "README"),
    ratings_md5="6e47046882bad158b0efbb84cd5cb987",
)


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
    return directory if is_original(directory, archive) else None


def is_original(directory: Path, archive: Archive = ML_100K) -> bool:
    """Returns whether the ratings in `directory` are those of `archive`, byte for byte."""
    try:
        with (directory / "u.data").open("rb") as file:
            # A file of any other size needs no hashing, however large it is.
            digest = _md5_of(file.read(_MAX_FILE_BYTES))
    except OSError:
        return False
    return digest == archive.ratings_md5


def download(archive: Archive = ML_100K, progress: Progress | None = None) -> Path:
    """Downloads a data set into the cache.

    The address can be changed by `$MOVIELENS_URL` (a mirror), the checksum cannot. The
    directory appears in the cache complete or not at all; several processes may do this
    at once. There are no retries: where the network is closed this fails within seconds.

    Args:
      archive: what to download.
      progress: told the bytes received so far.

    Returns:
      The directory that holds the files.

    Raises:
      InputError: the download was refused, cut off or corrupt, or the cache cannot be
        written.
    """
    if (directory := cached(archive)) is not None:
        return directory
    directory = cache_directory() / archive.folder
    with writable(directory):
        _move_harmed(directory, archive)
    try:
        with staged_directory(directory) as staging:
            packed = staging.with_name("archive.zip")
            _receive(archive, packed, progress)
            _verify(archive, packed)
            _unpack(archive, packed, staging)
    except InputError:
        if cached(archive) is None:  # else somebody else was quicker
            raise
    return directory


def _move_harmed(directory: Path, archive: Archive) -> None:
    """Makes room where a directory of the cache is incomplete or altered; nothing is deleted."""
    with contextlib.suppress(FileNotFoundError):  # somebody else did it
        if not directory.is_dir() or not any(directory.iterdir()):
            return
        if cached(archive) is not None:  # somebody else has just put it there
            return
        number = 1
        while (aside := directory.with_name(f"{directory.name}.damaged-{number}")).exists():
            number += 1
        directory.rename(aside)


def _receive(archive: Archive, target: Path, progress: Progress | None) -> None:
    """Writes what the server sends to `target`; OSErrors of writing pass through."""
    import requests

    url = os.environ.get(URL_VARIABLE) or archive.url
    try:
        response = _within(_ANSWER_SECONDS, lambda: _request(url))
        with response:
            response.raise_for_status()
            total = int(response.headers.get("Content-Length") or 0)
            received = 0
            with target.open("wb") as file:
                for block in response.iter_content(_BLOCK_BYTES):
                    received += len(block)
                    if received > _MAX_ARCHIVE_BYTES:
                        found = f"more than {_MAX_ARCHIVE_BYTES:,} bytes"
                        raise _failure(archive, url, found)
                    file.write(block)
                    if progress is not None:
                        progress(f"Downloading {archive.name}", received, total)
    except (requests.RequestException, ValueError) as error:
        raise _failure(archive, url, _reason(error)) from error
    if received < total:
        raise _failure(archive, url, f"cut off after {received:,} of {total:,} bytes")


def _request(url: str) -> requests.Response:
    import requests

    return requests.get(
        url,
        stream=True,
        timeout=(_CONNECT_SECONDS, _READ_SECONDS),
        # A zip file is compressed already; then the length announced is that of the file.
        headers={"Accept-Encoding": "identity"},
    )


def _within(seconds: float, call: Callable[[], _T]) -> _T:
    """Returns what `call` returns; raises `requests.Timeout` if that takes too long.

    Resolving a name takes half a minute where name servers do not answer, and nothing
    can interrupt it: it is left behind in a thread.
    """
    import requests

    done: list[_T] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            done.append(call())
        except Exception as error:  # handed over to the caller's thread below
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise requests.Timeout(f"no answer within {seconds:.0f} seconds")
    return done[0]


def _reason(error: Exception) -> str:
    """Returns what went wrong in a few words; libraries say it in many lines."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}".strip()
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    text = str(error)
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let it through"
    for sign, reason in _REASONS:
        if sign in text:
            return reason
    return f"{type(error).__name__}: {text}".splitlines()[0][:120]


def _verify(archive: Archive, packed: Path) -> None:
    content = packed.read_bytes()  # at most _MAX_ARCHIVE_BYTES
    found = _md5_of(content)
    if found != archive.md5:
        url = os.environ.get(URL_VARIABLE) or archive.url
        kind = " (a web page)" if content.lstrip()[:1] == b"<" else ""
        raise _failure(archive, url, f"corrupt: {len(content):,} bytes{kind} with MD5 {found}")


def _failure(archive: Archive, url: str, found: str) -> InputError:
    return InputError(
        f"{archive.name} could not be downloaded",
        expected=f"{url} (MD5 {archive.md5})",
        found=found,
        action="unpack it yourself and give --data-dir or MOVIELENS_DIR, or use --dataset sample",
    )


def _unpack(archive: Archive, packed: Path, directory: Path) -> None:
    """Takes the known files out of a zip file, and nothing else, whatever it holds."""
    try:
        with zipfile.ZipFile(packed) as source:
            for name in archive.files:
                member = source.getinfo(f"{archive.folder}/{name}")
                kind = stat.S_IFMT(member.external_attr >> 16)
                if member.file_size > _MAX_FILE_BYTES or kind not in (0, stat.S_IFREG):
                    raise zipfile.BadZipFile(f"{name} is too large or no plain file")
                with source.open(member) as file:
                    # One byte more than allowed: the size in the zip file may be a lie.
                    content = file.read(_MAX_FILE_BYTES + 1)
                if len(content) > _MAX_FILE_BYTES:
                    raise zipfile.BadZipFile(f"{name} is too large")
                (directory / name).write_bytes(content)
    except _UNPACK_ERRORS as error:
        raise InputError(
            f"{archive.name} could not be unpacked",
            file=packed.name,
            expected=f"a zip file with {', '.join(archive.files)} in {archive.folder}/",
            found=str(error).strip("\"'")[:120],
            action="try another mirror ($MOVIELENS_URL), or give --data-dir or MOVIELENS_DIR",
        ) from error


def _md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
