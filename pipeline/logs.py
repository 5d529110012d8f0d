"""Redirects the libraries' output into run.log, and with --verbose to the terminal as well."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


@contextlib.contextmanager
def captured_output(log: Path, *, verbose: bool) -> Iterator[TextIO]:
    """Sends everything this process writes to stdout and stderr to a file.

    Libraries write from C++ as well as from Python, so the file descriptors themselves
    are redirected.

    Args:
      log: the file, which is overwritten.
      verbose: copy the output to the terminal's stderr.

    Yields:
      A stream to the real stdout, for the run's own output.
    """
    _flush()
    real_out, real_err = os.dup(1), os.dup(2)
    with (
        _BestEffortText(real_out) as stdout,
        log.open("wb", buffering=0) as file,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(os.close, real_err)
        target = file.fileno()
        if verbose:
            target = stack.enter_context(_tee(file, real_err))
        os.dup2(target, 1)
        os.dup2(target, 2)
        stack.callback(_restore, real_out, real_err)
        _log_everything()
        yield stdout


def _restore(real_out: int, real_err: int) -> None:
    _flush()
    os.dup2(real_out, 1)
    os.dup2(real_err, 2)


class _BestEffortText(io.TextIOWrapper):
    """Text output without errors when its reader has ended, as after `| head`.

    Args:
      descriptor: where to write; closed with the stream.
    """

    def __init__(self, descriptor: int) -> None:
        buffer = io.BufferedWriter(_Raw(descriptor, "w"))
        super().__init__(buffer, encoding="utf-8", errors="replace")


class _Raw(io.FileIO):
    """A file whose writes never fail."""

    def write(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
            return written
        except OSError:
            return len(data)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


@contextlib.contextmanager
def _tee(file: io.FileIO, terminal: int) -> Iterator[int]:
    """Yields a descriptor; what is written to it arrives in the file and on the terminal."""
    read, write = os.pipe()

    def copy() -> None:
        targets = [file.fileno(), terminal]
        while data := os.read(read, 65536):
            for target in list(targets):
                try:
                    os.write(target, data)
                except OSError:
                    # A full disk or a closed terminal: the other one still gets the output.
                    targets.remove(target)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    try:
        yield write
    finally:
        os.close(write)
        thread.join(timeout=5)
        os.close(read)


def _log_everything() -> None:
    """Sends Python's log to stderr with times and, unlike absl's handler, loggers' names."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s: %(message)s"))
    handler.addFilter(_is_of_use)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)


def _is_of_use(record: logging.LogRecord) -> bool:
    """Returns whether a record belongs into the log.

    TFX's `channel_resolver` warns once per input about a predicate that TFX's own compiler adds;
    these lines are left out.
    """
    return not str(record.msg).endswith("property_predicate is not supported.")
