"""What a batch prints, also where the terminal is gone, and how signals interrupt it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import IO

from storage.environment import open_closed_streams

_MOVING_SECONDS = 0.2
_LINE_SECONDS = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def keep_standard_streams() -> None:
    """Opens what is closed of standard input, output and error, so that no file takes its place.

    Characters that the terminal's encoding lacks are escaped.
    """
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(text: str, stream: IO[str] | None = None, end: str = "\n") -> None:
    """Prints to a stream, by default standard error; a closed stream is not an error."""
    stream = stream or sys.stderr
    try:
        stream.write(text + end)
        stream.flush()
    except (OSError, ValueError):
        _forget(stream)


def flush() -> None:
    """Writes out what is printed and not written yet, such as the help."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _forget(stream)


def _forget(stream: IO[str]) -> None:
    """Lets a stream whose reader is gone write to nowhere, also when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within it SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, once.

    Further signals are ignored, so that cleaning up is not cut short. What is ignored already
    stays ignored, as under nohup.
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
    """Ignores signals from here on: cleaning up, or renaming the complete file, is to end."""
    if threading.current_thread() is threading.main_thread():
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    ignore_signals()
    raise KeyboardInterrupt


class Progress:
    """Says how far a batch is: one line that moves in a terminal, else a line now and then.

    Args:
      total: users in all.
      stream: where to say it; standard error by default.
      clock: seconds.
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
        self._started = self._said = clock()
        self._shown = False
        self.users = 0

    def reach(self, users: int) -> None:
        """Notes how many users are done."""
        self.users = users
        now = self._clock()
        completes = self._shown and users == self._total
        if not users or (now - self._said < self._every and not completes):
            return
        self._said = now
        rate = users / max(now - self._started, 1e-9)
        text = f"{users:,} of {self._total:,} users, {rate:,.0f} per second"
        # Back to the start of the line, and the rest of it erased.
        say(f"\r{text}\x1b[K" if self._moves else text, self._stream, "" if self._moves else "\n")
        self._shown = self._moves

    def end(self) -> float:
        """Ends the line that moves; returns the users per second."""
        if self._shown:
            say("", self._stream)
            self._shown = False
        return self.users / max(self._clock() - self._started, 1e-9)
