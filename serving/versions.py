"""Which version of the model is served: the newest in the directory that works.

A thread looks at the directory. A version that appears is loaded, tried on queries and only
then served; one that cannot be loaded or answers nonsense is skipped until its files change.
A version that disappears is rolled back from. If all of them disappear, the last one goes on:
an old answer is better than none.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from serving.canary import try_out
from serving.errors import ModelError, NotReady
from serving.events import Log
from serving.model import RetiredError, load
from serving.recommender import Recommender, make_recommender

_START_THREADS = 2
Fingerprint = tuple[tuple[str, int, int], ...]


class State(Enum):
    """The life of a version, by TensorFlow Serving's names."""

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


@dataclass(frozen=True)
class Status:
    """The state of a version, and the error that brought it there, if one did."""

    version: int
    state: State
    code: str = "OK"
    message: str = ""


def versions_in(model_dir: Path) -> list[int]:
    """Returns the versions in a directory, the newest first: subfolders named by a number.

    Raises:
      OSError: if the directory cannot be read.
    """
    try:
        names = [path.name for path in model_dir.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
    return sorted((int(name) for name in names if _is_version(name)), reverse=True)


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and str(int(name)) == name


def fingerprint(path: Path) -> Fingerprint:
    """Returns names, sizes and times of a version's files; equal while nothing is written."""
    found = []
    for file in sorted(path.rglob("*")):
        try:
            stat = file.stat()
        except FileNotFoundError:
            continue
        found.append((str(file.relative_to(path)), stat.st_size, stat.st_mtime_ns))
    return tuple(found)


class Versions:
    """Keeps the newest working version of a directory loaded.

    Args:
      model_dir: the directory with a subfolder per version.
      log: for what happens.
      threads: how many threads TensorFlow may use.
      poll_seconds: how often to look.
      settle_seconds: a version whose files are younger is looked at twice, since somebody
        may be copying it.
      changed: called with the recommender after each change of the served version.
      failed: called after each version that could not be loaded.
    """

    def __init__(
        self,
        model_dir: Path,
        log: Log,
        threads: int = 1,
        poll_seconds: float = 1.0,
        settle_seconds: float = 2.0,
        changed: Callable[[Recommender], None] | None = None,
        failed: Callable[[ModelError], None] | None = None,
    ) -> None:
        self.model_dir = model_dir
        self._log = log
        self._threads = threads
        self._poll_seconds = poll_seconds
        self._settle_seconds = settle_seconds
        self._changed = changed or (lambda recommender: None)
        self._failed = failed or (lambda error: None)
        self._current: Recommender | None = None
        self._statuses: dict[int, Status] = {}
        self._refused: dict[int, Fingerprint] = {}
        self._seen: dict[int, Fingerprint] = {}
        self._missing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)

    # -- what requests ask -----------------------------------------------------------------

    @property
    def current(self) -> Recommender:
        """The version that answers.

        Raises:
          NotReady: while there is none.
        """
        current = self._current
        if current is None:
            raise NotReady
        return current

    @contextlib.contextmanager
    def lease(self) -> Iterator[Recommender]:
        """Gives the version that answers, which stays open until the caller is done.

        Raises:
          NotReady: while there is none.
        """
        while True:
            recommender = self.current
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(recommender.model.lease())
                except RetiredError:
                    continue  # Replaced in between: there is a newer one.
                yield recommender
                return

    @property
    def ready(self) -> bool:
        """Whether there is a version that answers."""
        return self._current is not None

    def statuses(self) -> list[Status]:
        """Returns what is known of every version, the newest first."""
        return sorted(self._statuses.values(), key=lambda status: -status.version)

    # -- the thread ------------------------------------------------------------------------

    def start(self) -> None:
        """Starts to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stops to look, and closes what is loaded."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._current is not None:
            self._current.model.retire()
            self._current = None

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except Exception as error:
                self._log.error("looking for versions failed", error=repr(error))
            self._stop.wait(self._poll_seconds)

    def look(self) -> None:
        """Looks once, and loads or rolls back if that is due."""
        there = versions_in(self.model_dir)
        self._forget_all_but(there)
        if not there:
            self._note_missing()
            return
        self._missing = False
        for version in there:
            if self._current is not None and self._current.model.version == version:
                return
            if self._try(version):
                return

    def _forget_all_but(self, there: list[int]) -> None:
        served = self._current.model.version if self._current else None
        for version in set(self._statuses) - set(there) - {served}:
            del self._statuses[version]
        for remembered in (self._refused, self._seen):
            for version in set(remembered) - set(there):
                del remembered[version]

    def _note_missing(self) -> None:
        if self._missing:
            return
        self._missing = True
        if self._current is None:
            self._log.warning("no version yet", model_dir=str(self.model_dir))
        else:
            self._log.warning(
                "every version is gone from the directory; the last one goes on",
                model_dir=str(self.model_dir),
                version=self._current.version,
            )

    def _try(self, version: int) -> bool:
        """Loads and serves a version if it is complete and works; returns whether it does."""
        path = self.model_dir / str(version)
        found = fingerprint(path)
        if self._refused.get(version) == found:
            return False
        if not self._settled(version, found):
            return False
        self._refused.pop(version, None)
        self._statuses[version] = Status(version, State.LOADING)
        started = time.perf_counter()
        try:
            recommender = self._load(path, version)
        except ModelError as error:
            self._refuse(version, found, error)
            return False
        self._serve(recommender, time.perf_counter() - started)
        return True

    def _settled(self, version: int, found: Fingerprint) -> bool:
        """Whether nobody seems to be writing the version's files."""
        newest = max((changed for _, _, changed in found), default=0) / 1e9
        unchanged = self._seen.get(version) == found
        self._seen[version] = found
        return unchanged or time.time() - newest > self._settle_seconds

    def _load(self, path: Path, version: int) -> Recommender:
        try:
            model = load(path, version, self._threads)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError("UNKNOWN", f"cannot be loaded: {error!r}") from error
        try:
            recommender = make_recommender(model)
            # While nobody is answered yet, nobody has to be left processor time.
            try_out(recommender, threads=1 if self._current else _START_THREADS)
            return recommender
        except ModelError:
            model.retire()
            raise
        except Exception as error:
            model.retire()
            raise ModelError("INTERNAL", f"fails on a query: {error}") from error

    def _refuse(self, version: int, found: Fingerprint, error: ModelError) -> None:
        self._refused[version] = found
        self._statuses[version] = Status(version, State.END, error.code, error.message)
        serving = self._current.version if self._current else "none"
        self._log.error(
            f"version {version} {error.message}; it is skipped",
            version=str(version),
            code=error.code,
            serving=serving,
        )
        self._failed(error)

    def _serve(self, recommender: Recommender, seconds: float) -> None:
        previous, self._current = self._current, recommender
        version = recommender.model.version
        self._statuses[version] = Status(version, State.AVAILABLE)
        self._changed(recommender)
        self._log.info(
            f"serving version {version}",
            version=str(version),
            seconds=round(seconds, 2),
            before=previous.version if previous else None,
        )
        if previous is not None:
            self._statuses[previous.model.version] = Status(previous.model.version, State.END)
            previous.model.retire()
