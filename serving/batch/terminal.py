"""Printing and signals of a batch; closed and full streams are not errors."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import IO

from schema.dataset import number_of
from storage.environment import connect_to_nothing

_MOVING_SECONDS = 0.2
_LINE_SECONDS = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def say(text: str, stream: IO[str] | None = None, end: str = "\n") -> None:
    """Prints to a stream, by default standard error; a closed stream is not an error."""
    stream = stream or sys.stderr
    try:
        stream.write(text + end)
        stream.flush()
    except (OSError, ValueError):
        # What remains in its buffer goes there, so that the interpreter's end does not fail.
        with contextlib.suppress(OSError, ValueError):
            connect_to_nothing(stream.fileno())


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within it SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, once.

    Further signals are ignored, so that clean-up is not interrupted. Signals that are ignored
    already stay ignored, as under nohup.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [one for one in _SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, _interrupt) for one in taken}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def ignore_signals() -> None:
    """Ignores further signals, so that clean-up and renaming of the file are not interrupted."""
    if threading.current_thread() is threading.main_thread():
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    ignore_signals()
    raise KeyboardInterrupt


class Progress:
    """Prints the progress of a batch: one line that is updated in a terminal, else separate lines.

    Args:
      total: users in all.
      stream: standard error by default.
      clock: returns seconds.
    """

    def __init__(
        self,
        total: int,
        stream: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._clock = clock
        self._moves = self._stream.isatty()
        self._every = _MOVING_SECONDS if self._moves else _LINE_SECONDS
        self._shown = False
        self.users = 0
        self.start()

    def start(self) -> None:
        """Counts the time from now on."""
        self._started = self._said = self._clock()

    def reach(self, users: int) -> None:
        """Sets how many users are done."""
        self.users = users
        now = self._clock()
        completes = self._shown and users == self._total
        if not users or (now - self._said < self._every and not completes):
            return
        self._said = now
        rate = users / max(now - self._started, 1e-9)
        text = f"{users:,} of {number_of(self._total, 'user')}, {rate:,.0f} per second"
        # Back to the start of the line, and the rest of it erased.
        say(f"\r{text}\x1b[K" if self._moves else text, self._stream, "" if self._moves else "\n")
        self._shown = self._moves

    def end(self) -> float:
        """Ends the updated line; returns the users per second."""
        if self._shown:
            say("", self._stream)
            self._shown = False
        return self.users / max(self._clock() - self._started, 1e-9)
