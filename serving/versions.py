"""Serves the newest version in the folder of models that passes model validation.

A thread lists the folder. A new version is loaded and validated before it is served: in a process
of its own first, unless its manifest matches and no version is served yet, or it was served before.
An incomplete version is checked again; one that fails validation is skipped until its files change;
one that failed for a reason that may be temporary is tried again, after growing pauses. When the
served version is removed, the newest of the others is served; when all are removed, it stays.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from serving.access_log import Log
from serving.config import Config
from serving.errors import RETRY, ModelError, RequestError
from serving.model import RetiredError
from serving.model_validation import load_and_validate
from serving.recommender import Recommender
from serving.validation_process import validate_in_subprocess, within
from serving.version_folder import (
    File,
    Incomplete,
    Listing,
    is_whole,
    listing,
)
from storage.paths import LARGEST_VERSION, numbers_in, versions_in

_START_THREADS = 2
_LONGEST_PAUSE = 300.0
_STOP_SECONDS = 5.0
_MAY_PASS = frozenset(
    {"UNAVAILABLE", "PERMISSION_DENIED", "NOT_FOUND", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED",
     "CANCELLED", "ABORTED", "UNKNOWN", "INTERNAL"}
)  # fmt: skip
"""Codes of failures that may be temporary; the others last until the files change."""


class State(Enum):
    """The life of a version, by TensorFlow Serving's names."""

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    END = "END"


@dataclass(frozen=True)
class Status:
    """The state of a version, and its error if it has one."""

    version: int
    state: State
    code: str = "OK"
    message: str = ""


@dataclass(frozen=True)
class _Refused:
    """A refusal: the version's files, the error's code, the attempts, the time of the next one."""

    files: Listing | None
    code: str
    attempts: int
    again_at: float


@dataclass
class _Known:
    """What is remembered of a version while its folder is there."""

    status: Status | None = None
    seen: Listing | None = None
    """Its files when it was last looked at without a manifest."""
    worked: Listing | None = None
    """Its files when it was served last."""
    hashes: dict[File, str] = field(default_factory=dict)
    overran: bool = False
    """Whether loading it in this process exceeded the time limit."""
    refused: _Refused | None = None
    """Its latest refusal, unless it was served since."""

    @property
    def is_available(self) -> bool:
        """Whether it is served, as loaded before its files changed."""
        return self.status is not None and self.status.state is State.AVAILABLE


class Versions:
    """Keeps the newest working version loaded.

    Args:
      config: the server's configuration.
      log: the server's log.
      changed: called with the recommender after each change of the served version.
      failed: called with the error of each version that is refused.
    """

    def __init__(
        self,
        config: Config,
        log: Log,
        changed: Callable[[Recommender], None] = lambda recommender: None,
        failed: Callable[[ModelError], None] = lambda error: None,
    ) -> None:
        self._config = config
        self.model_dir = config.model_dir
        self._log = log
        self._changed = changed
        self._failed = failed
        self._current: Recommender | None = None
        self._current_files: Listing = ()
        self._known: dict[int, _Known] = {}
        self._logged: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)

    # -- for requests ----------------------------------------------------------------------

    @property
    def current(self) -> Recommender:
        """The served version.

        Raises:
          RequestError: 503 while there is none.
        """
        current = self._current
        if current is None:
            raise RequestError(
                503,
                "No version of the model is loaded yet. /readyz answers 200 once one is.",
                RETRY,
            )
        return current

    @contextlib.contextmanager
    def lease(self) -> Iterator[Recommender]:
        """Yields the served version, which stays open until the block ends.

        Raises:
          RequestError: 503 while there is none.
        """
        while True:
            recommender = self.current
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(recommender.model.lease())
                except RetiredError:
                    continue  # It was replaced meanwhile: there is a newer one.
                yield recommender
                return

    @property
    def ready(self) -> bool:
        """Whether a version is served."""
        return self._current is not None

    def statuses(self) -> list[Status]:
        """Returns the status of every version, the newest first."""
        found = [known.status for known in list(self._known.values()) if known.status is not None]
        return sorted(found, key=lambda status: -status.version)

    # -- the thread ------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the thread."""
        for warning in warnings_about_writers(self.model_dir):
            self._log.warning(warning)
        self._thread.start()

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """Stops the thread and closes the served version.

        Args:
          seconds: how long to wait for a version that is being loaded.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        if self._current is not None:
            self._current.model.retire()
            self._current = None

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except OSError as error:
                self._log_once("directory", f"the directory cannot be read: {error.strerror}")
            except Exception as error:
                self._log_once("directory", f"looking for versions failed: {error!r}")
            else:
                self._logged.pop("directory", None)
            self._stop.wait(self._config.poll_seconds)

    def _log_once(self, subject: str, message: str, **fields: str) -> None:
        """Logs a problem unless it is the latest one about the subject."""
        if self._logged.get(subject) != message:
            self._logged[subject] = message
            (self._log.warning if fields else self._log.error)(message, **fields)

    def look(self) -> None:
        """Lists the folder once, and loads or rolls back if necessary.

        Raises:
          OSError: the directory cannot be read.
        """
        numbers = numbers_in(self.model_dir)
        there = [number for number in numbers if number <= LARGEST_VERSION]
        for number in numbers[: len(numbers) - len(there)]:
            self._log_once(
                f"number {number}", f"{number} is ignored: a version is at most {LARGEST_VERSION}"
            )
        self._forget_all_but(there)
        if not there:
            self._note_missing()
            return
        self._logged.pop("missing", None)
        for version in there:
            served = self._current is not None and self._current.model.version == version
            if self._stop.is_set() or self._try(version, served) or served:
                return

    def _forget_all_but(self, there: list[int]) -> None:
        for version in self._known.keys() - set(there):
            kept = self._known.pop(version)
            if self._current is not None and self._current.model.version == version:
                self._known[version] = _Known(kept.status)

    def _note_missing(self) -> None:
        message, fields = "no version yet", {"model_dir": str(self.model_dir)}
        if self._current is not None:
            message = "every version was removed from the directory; the last one stays served"
            fields["version"] = self._current.version
        self._log_once("missing", message, **fields)

    def _try(self, version: int, served: bool) -> bool:
        """Loads and serves a version if it is complete and valid; returns whether it is.

        Args:
          version: the version.
          served: whether it is the served one: it is only loaded again if it has changed.
        """
        path, files = self.model_dir / str(version), None
        known = self._known.setdefault(version, _Known())
        try:
            files = listing(path)
            if served and files == self._current_files:
                known.status = Status(version, State.AVAILABLE)
                return True
            refused = known.refused
            if refused and refused.files == files and time.monotonic() < refused.again_at:
                return False
            complete = is_whole(path, files, known.hashes)
            if not complete and not self._settled(known, files):
                return False
            started = time.perf_counter()
            recommender = self._load(path, version, files, complete)
        except Incomplete as error:
            self._await(version, known, str(error))
            return False
        except ModelError as error:
            if not self._stop.is_set():
                self._refuse(version, known, files, error)
            return False
        known.refused = None
        self._serve(recommender, files, complete, time.perf_counter() - started)
        return True

    def _settled(self, known: _Known, files: Listing) -> bool:
        """Whether the version's files have not been written lately."""
        newest = max((file.mtime_ns for file in files), default=0) / 1e9
        unchanged = known.seen == files
        known.seen = files
        return unchanged or time.time() - newest > self._config.settle_seconds

    def _load(self, path: Path, version: int, files: Listing, complete: bool) -> Recommender:
        known = self._known[version]
        if not known.is_available:
            known.status = Status(version, State.LOADING)
        threads, limits = self._config.threads, self._config.validation
        if known.worked == files:
            # A rollback: it was validated before.
            return self._load_here(
                lambda: load_and_validate(path, version, threads, validated=True), version
            )
        if complete and self._current is None and not known.overran:
            # No version is served yet: a second load would double the time until one is.
            return self._load_here(
                lambda: load_and_validate(path, version, threads, _START_THREADS), version
            )
        size = sum(file.size for file in files)
        validate_in_subprocess(path, version, size, threads, limits, self._stop)
        return self._load_here(
            lambda: load_and_validate(path, version, threads, validated=True), version
        )

    def _load_here(self, load: Callable[[], Recommender], version: int) -> Recommender:
        given_up = threading.Event()

        def load_or_drop() -> Recommender:
            made = load()
            if given_up.is_set():
                made.model.retire()
            return made

        try:
            return within(self._config.validation.seconds, self._stop, load_or_drop)
        except ModelError as error:
            given_up.set()
            if error.code == "DEADLINE_EXCEEDED":
                # Its thread cannot be ended. The next attempt is in a process, which can.
                self._known[version].overran = True
            raise

    def _await(self, version: int, known: _Known, missing: str) -> None:
        """Sets the status of an incomplete version, which is checked again."""
        message = f"is not complete yet: {missing}"
        status = Status(version, State.START, "UNAVAILABLE", message)
        if known.is_available:
            status = Status(version, State.AVAILABLE, "UNAVAILABLE", f"changed, and {message}")
        before, known.status = known.status, status
        # Once, not for every file that arrives.
        if before is None or (before.state, before.code) != (status.state, status.code):
            self._log.warning(
                f"version {version} {status.message}; it is checked again",
                version=str(version),
                serving=self._current.version if self._current else "none",
            )

    def _refuse(
        self, version: int, known: _Known, files: Listing | None, error: ModelError
    ) -> None:
        before = known.refused
        attempts = before.attempts + 1 if before is not None and before.files == files else 1
        pause = min(2.0 ** (attempts - 1), _LONGEST_PAUSE)
        again_at = time.monotonic() + pause if error.code in _MAY_PASS else math.inf
        known.refused = _Refused(files, error.code, attempts, again_at)
        state = State.AVAILABLE if known.is_available else State.END
        known.status = Status(version, state, error.code, error.message)
        if before is None or (before.files, before.code) != (files, error.code):
            again = "it is tried again" if error.code in _MAY_PASS else "it is skipped"
            self._log.error(
                f"version {version} {error.message}; {again}",
                version=str(version),
                code=error.code,
                serving=self._current.version if self._current else "none",
            )
            self._failed(error)

    def _serve(
        self, recommender: Recommender, files: Listing, complete: bool, seconds: float
    ) -> None:
        previous, self._current = self._current, recommender
        self._current_files = files
        version = recommender.model.version
        if previous is not None:
            former = previous.model.version
            self._known.setdefault(former, _Known()).status = Status(former, State.END)
        self._known[version].worked = files
        self._known[version].status = Status(version, State.AVAILABLE)
        lacks = recommender.lacks if complete else ("a manifest", *recommender.lacks)
        self._changed(recommender)
        self._log.info(
            f"serving version {version}",
            version=str(version),
            seconds=round(seconds, 2),
            before=previous.version if previous else None,
            **({} if complete else {"made_by": "another program, or an earlier release"}),
            **({"lacks": list(lacks)} if lacks else {}),
        )
        if previous is not None:
            previous.model.retire()


def warnings_about_writers(model_dir: Path) -> list[str]:
    """Returns a warning for each folder of models that other users may write in."""
    warnings = []
    paths = [model_dir]
    with contextlib.suppress(OSError):
        paths += sorted(model_dir / str(version) for version in versions_in(model_dir)[:10])
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue
        writers = []
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            writers.append("everybody")
        elif found.st_mode & stat.S_IWGRP:
            writers.append(f"group {found.st_gid}")
        if found.st_uid not in (0, os.geteuid()):
            writers.append(f"user {found.st_uid}")
        if writers:
            warnings.append(
                f"{' and '.join(writers)} may write in {path}: a model is a program, and writers"
                " of this folder decide what the server runs"
            )
    return warnings
