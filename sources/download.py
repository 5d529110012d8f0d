"""MovieLens from GroupLens: downloaded by name, verified, and kept in a local cache."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sources import archive as zips
from sources import movielens_csv, movielens_dat
from sources.errors import InputError
from sources.files import open_regular
from sources.names import ML_100K as ML_100K_NAME
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
"""For each 50 MB that a zip file may have."""

_BLOCK_SECONDS = 20.0
"""For each `_BLOCK_BYTES`: slower, a download is given up."""

_BLOCK_BYTES = 4096
_MAX_REDIRECTS = 5
_MAX_ARCHIVE_BYTES = 50_000_000
_MAX_FILE_BYTES = 20_000_000
"""Of the ratings of MovieLens-100K."""

_MAX_CHECKSUM_BYTES = 1_000
_READMES = ("README", "README.txt", "README.html")

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


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip file that holds a data set.

    Attributes:
      name: what people call it.
      url: where it is.
      folder: the name of the directory in the cache.
      files: what is taken out of it; all of it must be there. Its README is taken as well.
      md5: of the zip file (hex); None: the one that is published beside it, if there is one.
      ratings_md5: of `u.data` (hex); None: not known.
      max_megabytes: a larger zip file is refused.
    """

    name: str
    url: str
    folder: str
    files: tuple[str, ...]
    md5: str | None = None
    ratings_md5: str | None = None
    max_megabytes: int = 50


_BASE = "https://files.grouplens.org/datasets/movielens"
_DAT = (movielens_dat.RATINGS, movielens_dat.MOVIES)
_CSV = (movielens_csv.RATINGS, movielens_csv.MOVIES, movielens_csv.LINKS)

ML_100K = Archive(
    name="MovieLens-100K",
    url=f"{_BASE}/ml-100k.zip",
    folder=ML_100K_NAME,
    files=("u.data", "u.user", "u.item", "u.genre", "u.occupation", "u.info", "README"),
    md5="0e33842e24a9c977be4e0107933c0723",
    ratings_md5="6e47046882bad158b0efbb84cd5cb987",
)


def _archive(folder: str, name: str, files: tuple[str, ...], max_megabytes: int = 50) -> Archive:
    return Archive(name, f"{_BASE}/{folder}.zip", folder, files, max_megabytes=max_megabytes)


ARCHIVES: Mapping[str, Archive] = {
    one.folder: one
    for one in (
        ML_100K,
        _archive("ml-1m", "MovieLens-1M", (*_DAT, movielens_dat.USERS)),
        _archive("ml-10m", "MovieLens-10M", _DAT, 200),
        _archive("ml-20m", "MovieLens-20M", _CSV, 600),
        _archive("ml-25m", "MovieLens-25M", _CSV, 800),
        _archive("ml-32m", "MovieLens-32M", _CSV, 800),
        _archive("ml-latest", "MovieLens latest", _CSV, 1_200),
        _archive("ml-latest-small", "MovieLens latest-small", _CSV),
    )
}
"""What can be downloaded, by the name in `--dataset`. GroupLens publishes MD5 sums beside its zip
files; but for that of MovieLens-100K none is repeated here."""


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
            digest = hashlib.md5(file.read(_MAX_FILE_BYTES), usedforsecurity=False).hexdigest()
    except (OSError, InputError):
        return False
    return digest == archive.ratings_md5


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
            _move_harmed(directory, archive)
            with staged_directory(directory) as staging:
                _obtain(archive, part, staging, progress)
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


def _obtain(archive: Archive, part: IO[bytes], staging: Path, progress: Progress | None) -> None:
    """Receives the rest of a zip file, verifies it and unpacks it."""
    resumed = part.seek(0, os.SEEK_END) > 0
    try:
        _receive(archive, part, progress)
        try:
            _verify(archive, part)
            _unpack(archive, Path(part.name), staging)
        except (InputError, OSError):
            part.truncate(0)
            raise
    except InputError:
        if not resumed or part.seek(0, os.SEEK_END):
            raise
        # What there was is of another file, or damaged.
        for file in staging.iterdir():
            file.unlink()
        _obtain(archive, part, staging, progress)


def _move_harmed(directory: Path, archive: Archive) -> None:
    """Makes room where a directory of the cache is incomplete or altered; nothing is deleted."""
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    number = 1
    while (aside := directory.with_name(f"{directory.name}.damaged-{number}")).exists():
        number += 1
    directory.rename(aside)


def _url(archive: Archive) -> str:
    return (os.environ.get(URL_VARIABLE) or archive.url).replace("{name}", archive.folder)


def _receive(archive: Archive, part: IO[bytes], progress: Progress | None) -> None:
    """Appends what the server sends; OSErrors of writing pass through."""
    import requests
    import urllib3

    url = _url(archive)
    limit = _MAX_ARCHIVE_BYTES * archive.max_megabytes // 50
    transfer = _Transfer(url, part, limit, f"Downloading {archive.name}", progress)
    try:
        transfer.run()
    except _Refused as error:
        if not isinstance(error, _TooSlow):
            part.truncate(0)
        raise _failure(archive, url, str(error)) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise _failure(archive, url, _reason(error)) from error
    finally:
        part.flush()
    if transfer.received < transfer.total:
        cut = f"cut off after {transfer.received:,} of {transfer.total:,} bytes"
        raise _failure(archive, url, cut)


class _Refused(Exception):
    """The server does what no server of a plain file does; the text says what."""


class _TooSlow(_Refused):
    """What came may be right, and is kept."""


class _Transfer:
    """A download in a thread of its own, which is left behind when it takes too long.

    Nothing else ends a look-up of a name, or a server that sends a byte a second: a time
    limit on reading starts anew with each byte.

    Args:
      url: what to download.
      target: the file to append to; what it holds is the beginning of the download.
      limit: the largest number of bytes to take.
      what: said to `progress`.
      progress: called with the bytes received so far.

    Attributes:
      received: bytes so far, with those of earlier downloads.
      total: bytes announced; 0 if none were.
    """

    def __init__(
        self, url: str, target: IO[bytes], limit: int, what: str, progress: Progress | None
    ) -> None:
        self.received = target.seek(0, os.SEEK_END)
        self.total = 0
        self._limit = limit
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

        started, first = self._last, self.received
        seconds = _TOTAL_SECONDS * max(1.0, self._limit / 50e6)
        threading.Thread(target=self._work, daemon=True).start()
        with self._news:
            while not self._ended:
                now = time.monotonic()
                limit = _BLOCK_SECONDS if self._answered else _ANSWER_SECONDS
                left = min(self._last + limit, started + seconds) - now
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
        raise _TooSlow(
            f"too slow: {self.received - first:,} bytes in {time.monotonic() - started:.0f} seconds"
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
        with _request(self._url, self.received) as response:
            if response.status_code == 416:
                # Nothing comes after what there is: it is whole, or of another file.
                whole = f"bytes */{self.received}"
                if response.headers.get("Content-Range") != whole:
                    raise _Refused("no such part")
                return
            response.raise_for_status()
            encoding = response.headers.get("Content-Encoding", "").strip().lower()
            if encoding not in ("", "identity"):
                raise _Refused(
                    f"compressed ({encoding[:40]}), although the request accepts a plain file alone"
                )
            self._begin(response)
            self.total = int(response.headers.get("Content-Length") or 0)
            self.total += self.received if self.total else 0
            if self.total > self._limit:
                raise _Refused(f"more than {self._limit:,} bytes: {self.total:,}")
            self._take(0)
            # As they are sent: whatever is packed in them is not unpacked.
            while block := response.raw.read(_BLOCK_BYTES, decode_content=False):
                if self._given_up:
                    return
                self._take(len(block))
                if self.received > self._limit:
                    raise _Refused(f"more than {self._limit:,} bytes")
                self._target.write(block)

    def _begin(self, response: requests.Response) -> None:
        """Starts anew where the server sends the whole file, as one without ranges does."""
        if response.status_code == 206:
            found = response.headers.get("Content-Range", "")
            if not found.startswith(f"bytes {self.received}-"):
                raise _Refused(f"another part than the requested one: {found[:40]}")
            return
        self._target.truncate(0)
        self.received = 0

    def _take(self, count: int) -> None:
        """Notes that so many bytes more have come."""
        with self._news:
            self._answered = True
            self.received += count
            self._last = time.monotonic()
            self._news.notify()
        if count and self._progress is not None:
            self._progress(self._what, self.received, self.total)


def _request(url: str, start: int = 0) -> requests.Response:
    """Returns the answer after redirections, its body, from a byte on, not read yet."""
    import requests

    # A zip file is compressed already; then the length announced is that of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.Session() as session:
        # Its own way reads the bodies of redirections, and unpacks them.
        vars(session)["resolve_redirects"] = lambda *_args, **_kwargs: iter(())
        for _ in range(_MAX_REDIRECTS + 1):
            response = session.get(
                url,
                stream=True,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                headers=headers,
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


def _verify(archive: Archive, part: IO[bytes]) -> None:
    """Compares the zip file with its checksum, where one is known or published."""
    expected = archive.md5 or _published_md5(archive)
    if expected is None:
        return
    part.seek(0)
    beginning, digest, size = part.read(_BLOCK_BYTES), hashlib.md5(usedforsecurity=False), 0
    block = beginning
    while block:
        digest.update(block)
        size += len(block)
        block = part.read(1 << 20)
    if digest.hexdigest() != expected:
        kind = " (a web page)" if beginning.lstrip()[:1] == b"<" else ""
        found = f"corrupt: {size:,} bytes{kind} with MD5 {digest.hexdigest()}"
        raise _failure(archive, _url(archive), found, expected)


def _published_md5(archive: Archive) -> str | None:
    """Returns the MD5 sum in the file beside the zip file; None where there is none."""
    import requests
    import urllib3

    with tempfile.TemporaryFile() as file:
        try:
            url = f"{_url(archive)}.md5"
            _Transfer(url, file, _MAX_CHECKSUM_BYTES, "Checksum", None).run()
        except (_Refused, requests.RequestException, urllib3.exceptions.HTTPError, ValueError):
            return None
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
