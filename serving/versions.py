"""Which version of the model is served: the newest in the directory that works.

A thread looks at the directory. A version that appears is loaded, tried on queries and only
then served: in a process of its own first, unless its manifest matches and no version is served
yet, or it was served before. One that is not complete is looked at again; one with wrong answers
is skipped until its files change; one that failed for a reason that may pass is tried again,
after growing pauses.
A version that disappears is rolled back from. If all of them disappear, the last one goes on:
an old answer is better than none.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from serving.access_log import Log
from serving.errors import ModelError, NotReady
from serving.model import RetiredError
from serving.model_validation import load_and_validate, load_and_warm_up
from serving.recommender import Recommender
from serving.validation_process import ValidationLimits, validate_in_subprocess, within
from serving.version_folder import (
    LARGEST_VERSION,
    Completeness,
    Incomplete,
    Listing,
    listing,
    strange_numbers_in,
    versions_in,
)

_START_THREADS = 2
_LONGEST_PAUSE = 300.0
_STOP_SECONDS = 5.0
_MAY_PASS = frozenset(
    {"UNAVAILABLE", "PERMISSION_DENIED", "NOT_FOUND", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED",
     "CANCELLED", "ABORTED", "UNKNOWN", "INTERNAL"}
)  # fmt: skip
"""Codes of failures that another attempt may not have; the others stay until the files change."""


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


class Versions:
    """Keeps the newest working version of a directory loaded.

    Args:
      model_dir: the directory with a subfolder per version.
      log: for what happens.
      threads: how many threads TensorFlow may use.
      poll_seconds: how often to look.
      settle_seconds: a version without a manifest whose files are younger is looked at twice,
        since somebody may be copying it.
      limits: what a version may take until it is loaded and has answered the validation queries.
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
        limits: ValidationLimits | None = None,
        changed: Callable[[Recommender], None] | None = None,
        failed: Callable[[ModelError], None] | None = None,
    ) -> None:
        self.model_dir = model_dir
        self._log = log
        self._threads = threads
        self._poll_seconds = poll_seconds
        self._settle_seconds = settle_seconds
        self._limits = limits or ValidationLimits()
        self._changed = changed or (lambda recommender: None)
        self._failed = failed or (lambda error: None)
        self._current: Recommender | None = None
        self._current_files: Listing = ()
        self._statuses: dict[int, Status] = {}
        self._refused: dict[int, _Refusal] = {}
        self._seen: dict[int, Listing] = {}
        self._overran: set[int] = set()
        self._worked: dict[int, Listing] = {}
        self._completeness = Completeness()
        self._missing = False
        self._said: dict[str, object] = {}
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
        for warning in warnings_about_writers(self.model_dir):
            self._log.warning(warning)
        self._thread.start()

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """Stops to look, and closes what is loaded.

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
                self._say("directory", f"the directory cannot be read: {error.strerror}")
            except Exception as error:
                self._say("directory", f"looking for versions failed: {error!r}")
            else:
                self._said.pop("directory", None)
            self._stop.wait(self._poll_seconds)

    def _say(self, about: str, message: str) -> None:
        """Logs an error once, not at every look."""
        if self._said.get(about) != message:
            self._said[about] = message
            self._log.error(message)

    def look(self) -> None:
        """Looks once, and loads or rolls back if that is due.

        Raises:
          OSError: the directory cannot be read.
        """
        there = versions_in(self.model_dir)
        for name in strange_numbers_in(self.model_dir):
            self._say(
                f"number {name}", f"{name} is ignored: a version is at most {LARGEST_VERSION}"
            )
        self._forget_all_but(there)
        if not there:
            self._note_missing()
            return
        self._missing = False
        for version in there:
            served = self._current is not None and self._current.model.version == version
            if self._stop.is_set() or self._try(version, served) or served:
                return

    def _forget_all_but(self, there: list[int]) -> None:
        served = self._current.model.version if self._current else None
        for version in set(self._statuses) - set(there) - {served}:
            del self._statuses[version]
        remembered: dict[int, Any]
        for remembered in (self._refused, self._seen, self._worked):
            for version in set(remembered) - set(there):
                del remembered[version]
        self._overran &= set(there)
        self._completeness.forget_all_but({self._path(version) for version in there})

    def _path(self, version: int) -> Path:
        return self.model_dir / str(version)

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

    def _try(self, version: int, served: bool) -> bool:
        """Loads and serves a version if it is complete and works; returns whether it does.

        Args:
          version: the version.
          served: whether it is the one that answers: it is only loaded again if it has changed.
        """
        path, files = self._path(version), None
        try:
            files = listing(path)
            if served and files == self._current_files:
                self._statuses[version] = Status(version, State.AVAILABLE)
                return True
            refusal = self._refused.get(version)
            if refusal is not None and refusal.holds(files):
                return False
            complete = self._completeness.check(path, files)
            if not complete and not self._settled(version, files):
                return False
            started = time.perf_counter()
            recommender = self._load(path, version, files, complete)
        except Incomplete as error:
            self._await(version, str(error))
            return False
        except ModelError as error:
            if not self._stop.is_set():
                self._refuse(version, files, error)
            return False
        self._refused.pop(version, None)
        self._serve(recommender, files, complete, time.perf_counter() - started)
        return True

    def _settled(self, version: int, files: Listing) -> bool:
        """Whether nobody seems to be writing the version's files."""
        newest = max((file.mtime_ns for file in files), default=0) / 1e9
        unchanged = self._seen.get(version) == files
        self._seen[version] = files
        return unchanged or time.time() - newest > self._settle_seconds

    def _load(self, path: Path, version: int, files: Listing, complete: bool) -> Recommender:
        if self._state_of(version) is not State.AVAILABLE:
            self._statuses[version] = Status(version, State.LOADING)
        if self._worked.get(version) == files:
            # Rolled back to: it was tried before.
            return self._load_here(lambda: load_and_warm_up(path, version, self._threads), version)
        if complete and self._current is None and version not in self._overran:
            # No version is served yet: a second load would double the time to the first answer.
            return self._load_here(
                lambda: load_and_validate(path, version, self._threads, _START_THREADS), version
            )
        size = sum(file.size for file in files)
        validate_in_subprocess(path, version, size, self._threads, self._limits, self._stop)
        return self._load_here(lambda: load_and_warm_up(path, version, self._threads), version)

    def _load_here(self, load: Callable[[], Recommender], version: int) -> Recommender:
        gone = threading.Event()

        def load_or_drop() -> Recommender:
            made = load()
            if gone.is_set():
                made.model.retire()
            return made

        try:
            return within(self._limits.seconds, self._stop, load_or_drop)
        except ModelError as error:
            gone.set()
            if error.code == "DEADLINE_EXCEEDED":
                # Its thread cannot be ended. The next attempt is made where it can.
                self._overran.add(version)
            raise

    def _state_of(self, version: int) -> State | None:
        status = self._statuses.get(version)
        return status.state if status else None

    def _await(self, version: int, missing: str) -> None:
        """Notes that a version is not complete yet; it is looked at again."""
        message = f"is not complete yet: {missing}"
        status = Status(version, State.START, "UNAVAILABLE", message)
        if self._state_of(version) is State.AVAILABLE:
            status = Status(version, State.AVAILABLE, "UNAVAILABLE", f"changed, and {message}")
        before = self._statuses.get(version)
        self._statuses[version] = status
        # Once, not for every file that arrives.
        if before is None or (before.state, before.code) != (status.state, status.code):
            self._log.warning(
                f"version {version} {status.message}; it is looked at again",
                version=str(version),
                serving=self._current.version if self._current else "none",
            )

    def _refuse(self, version: int, files: Listing | None, error: ModelError) -> None:
        self._refused[version] = _Refusal.after(self._refused.get(version), files, error)
        state = State.END
        if self._state_of(version) is State.AVAILABLE:
            state = State.AVAILABLE  # As it was loaded, before its files changed.
        status = Status(version, state, error.code, error.message)
        if self._said.get(f"refused {version}") != (files, error.code):
            again = "it is tried again" if error.code in _MAY_PASS else "it is skipped"
            self._log.error(
                f"version {version} {error.message}; {again}",
                version=str(version),
                code=error.code,
                serving=self._current.version if self._current else "none",
            )
            self._failed(error)
        self._said[f"refused {version}"] = (files, error.code)
        self._statuses[version] = status

    def _serve(
        self, recommender: Recommender, files: Listing, complete: bool, seconds: float
    ) -> None:
        previous, self._current = self._current, recommender
        self._current_files = files
        version = recommender.model.version
        self._worked[version] = files
        self._said.pop(f"refused {version}", None)
        if previous is not None:
            self._statuses[previous.model.version] = Status(previous.model.version, State.END)
        lacks = recommender.lacks if complete else ("a manifest", *recommender.lacks)
        self._statuses[version] = Status(version, State.AVAILABLE)
        self._changed(recommender)
        self._log.info(
            f"serving version {version}",
            version=str(version),
            seconds=round(seconds, 2),
            before=previous.version if previous else None,
            **({} if complete else {"made_by": "somebody else, or an earlier release"}),
            **({"lacks": list(lacks)} if lacks else {}),
        )
        if previous is not None:
            previous.model.retire()


@dataclass(frozen=True)
class _Refusal:
    """A version that did not work: with which files, how often, and when to try again."""

    files: Listing | None
    attempts: int
    again_at: float

    @classmethod
    def after(cls, before: _Refusal | None, files: Listing | None, error: ModelError) -> _Refusal:
        """The refusal after an error: the pause grows with each attempt at the same files."""
        same = before is not None and before.files == files
        attempts = before.attempts + 1 if before is not None and same else 1
        pause = min(2.0 ** (attempts - 1), _LONGEST_PAUSE)
        again_at = time.monotonic() + pause if error.code in _MAY_PASS else math.inf
        return cls(files, attempts, again_at)

    def holds(self, files: Listing) -> bool:
        """Whether there is no reason yet to try again."""
        return self.files == files and time.monotonic() < self.again_at


def warnings_about_writers(model_dir: Path) -> list[str]:
    """Returns a warning for each folder of the models that others than the server may write in."""
    warnings = []
    for path in (model_dir, *sorted(_children(model_dir))):
        try:
            found = path.stat()
        except OSError:
            continue
        who = []
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            who.append("everybody")
        elif found.st_mode & stat.S_IWGRP:
            who.append(f"group {found.st_gid}")
        if found.st_uid not in (0, os.geteuid()):
            who.append(f"user {found.st_uid}")
        if who:
            warnings.append(
                f"{' and '.join(who)} may write in {path}: a model is a program, and who writes"
                " there decides what the server runs"
            )
    return warnings


def _children(model_dir: Path) -> list[Path]:
    try:
        return [model_dir / str(version) for version in versions_in(model_dir)[:10]]
    except OSError:
        return []
