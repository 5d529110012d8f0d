"""MovieLens-100K from GroupLens, verified and kept in a local cache."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import stat
import threading
import time
import urllib.parse
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from sources.errors import InputError
from sources.files import open_regular
from sources.progress import Progress
from sources.staging import staged_directory, writable

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

_TOTAL_SECONDS = 300.0
_BLOCK_SECONDS = 20.0
"""For each `_BLOCK_BYTES`: slower, a download is given up."""

_BLOCK_BYTES = 4096
_MAX_REDIRECTS = 5
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
        with open_regular(directory / "u.data") as file:
            # A file of any other size needs no hashing, however large it is.
            digest = _md5_of(file.read(_MAX_FILE_BYTES))
    except (OSError, InputError):
        return False
    return digest == archive.ratings_md5


def download(archive: Archive = ML_100K, progress: Progress | None = None) -> Path:
    """Downloads a data set into the cache.

    The address can be changed by `$MOVIELENS_URL` (a mirror), the checksum cannot. The
    directory appears in the cache complete or not at all; several processes may do this
    at once. There are no retries: where the network is closed this fails within seconds.

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
    import urllib3

    url = os.environ.get(URL_VARIABLE) or archive.url
    transfer = _Transfer(url, target, f"Downloading {archive.name}", progress)
    try:
        transfer.run()
    except _Refused as error:
        raise _failure(archive, url, str(error)) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise _failure(archive, url, _reason(error)) from error
    if transfer.received < transfer.total:
        cut = f"cut off after {transfer.received:,} of {transfer.total:,} bytes"
        raise _failure(archive, url, cut)


class _Refused(Exception):
    """The server does what no server of a plain file does; the text says what."""


class _Transfer:
    """A download in a thread of its own, which is left behind when it takes too long.

    Nothing else ends a look-up of a name, or a server that sends a byte a second: a time
    limit on reading starts anew with each byte.

    Args:
      url: what to download.
      target: the file to write.
      what: said to `progress`.
      progress: called with the bytes received so far.

    Attributes:
      received: bytes so far.
      total: bytes announced; 0 if none were.
    """

    def __init__(self, url: str, target: Path, what: str, progress: Progress | None) -> None:
        self.received = self.total = 0
        self._url = url
        self._target = target
        self._what = what
        self._progress = progress
        self._answered = False
        self._last = time.monotonic()
        self._given_up = self._ended = False
        self._news = threading.Condition()
        self._failure: Exception | None = None

    def run(self) -> None:
        """Downloads the file.

        Raises:
          _Refused: the server's answer is none that can be taken, or comes too slowly.
          Exception: whatever else went wrong in the thread.
        """
        import requests

        started = self._last
        threading.Thread(target=self._work, daemon=True).start()
        with self._news:
            while not self._ended:
                now = time.monotonic()
                limit = _BLOCK_SECONDS if self._answered else _ANSWER_SECONDS
                left = min(self._last + limit, started + _TOTAL_SECONDS) - now
                if left <= 0:
                    self._given_up = True
                    break
                self._news.wait(left)
        if self._failure is not None:
            raise self._failure
        if self._ended:
            return
        if not self._answered:
            raise requests.Timeout(f"no answer within {_ANSWER_SECONDS:.0f} seconds")
        raise _Refused(
            f"too slow: {self.received:,} bytes in {time.monotonic() - started:.0f} seconds"
        )

    def _work(self) -> None:
        try:
            self._download()
        except Exception as error:  # handed over to the caller's thread
            self._failure = error
        with self._news:
            self._ended = True
            self._news.notify()

    def _download(self) -> None:
        with _request(self._url) as response, self._target.open("wb") as file:
            response.raise_for_status()
            encoding = response.headers.get("Content-Encoding", "").strip().lower()
            if encoding not in ("", "identity"):
                raise _Refused(f"compressed ({encoding[:40]}), although a plain file was asked for")
            self.total = int(response.headers.get("Content-Length") or 0)
            if self.total > _MAX_ARCHIVE_BYTES:
                raise _Refused(f"more than {_MAX_ARCHIVE_BYTES:,} bytes: {self.total:,}")
            self._take(0)
            # As they are sent: whatever is packed in them is not unpacked.
            while block := response.raw.read(_BLOCK_BYTES, decode_content=False):
                if self._given_up:
                    return
                self._take(len(block))
                if self.received > _MAX_ARCHIVE_BYTES:
                    raise _Refused(f"more than {_MAX_ARCHIVE_BYTES:,} bytes")
                file.write(block)

    def _take(self, count: int) -> None:
        """Notes that so many bytes more have come."""
        with self._news:
            self._answered = True
            self.received += count
            self._last = time.monotonic()
            self._news.notify()
        if count and self._progress is not None:
            self._progress(self._what, self.received, self.total)


def _request(url: str) -> requests.Response:
    """Returns the answer after redirections, its body not read yet."""
    import requests

    with requests.Session() as session:
        # Its own way reads the bodies of redirections, and unpacks them.
        vars(session)["resolve_redirects"] = lambda *_args, **_kwargs: iter(())
        for _ in range(_MAX_REDIRECTS + 1):
            response = session.get(
                url,
                stream=True,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                # A zip file is compressed already; then the length announced is that of the file.
                headers={"Accept-Encoding": "identity"},
            )
            if not response.is_redirect:
                return response
            response.close()
            url = urllib.parse.urljoin(url, response.headers["Location"])
    raise _Refused(f"more than {_MAX_REDIRECTS} redirections")


def _reason(error: Exception) -> str:
    """Returns what went wrong in a few words; libraries say it in many lines."""
    import requests
    import urllib3

    if isinstance(error, requests.HTTPError) and error.response is not None:
        reason = "".join(filter(str.isprintable, str(error.response.reason)))
        return f"HTTP {error.response.status_code} {reason[:60]}".strip()
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
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
        action="unpack it yourself and give --data or MOVIELENS_DIR, or use --dataset sample",
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
            action="try another mirror ($MOVIELENS_URL), or give --data or MOVIELENS_DIR",
        ) from error


def _md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
