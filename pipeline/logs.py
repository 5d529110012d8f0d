"""Where the libraries' output goes: into run.log, and to the terminal only if asked for."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def captured_output(log: Path, *, verbose: bool) -> Iterator[TextIO]:
    """Sends everything this process writes to stdout and stderr to a file.

    Libraries write from C++ as well as from Python, so the file descriptors themselves
    are redirected.

    Args:
      log: the file, written anew.
      verbose: show it on the terminal's stderr too.

    Yields:
      A stream to the real stdout, for what people are meant to see.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    real_out, real_err = os.dup(1), os.dup(2)
    with (
        os.fdopen(real_out, "w", encoding="utf-8", errors="replace") as stdout,
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
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(real_out, 1)
    os.dup2(real_err, 2)


@contextlib.contextmanager
def _tee(file: io.FileIO, terminal: int) -> Iterator[int]:
    """Yields a descriptor; what is written to it arrives in the file and on the terminal."""
    read, write = os.pipe()

    def copy() -> None:
        while data := os.read(read, 65536):
            file.write(data)
            os.write(terminal, data)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    try:
        yield write
    finally:
        os.close(write)
        thread.join(timeout=5)
        os.close(read)


def _log_everything() -> None:
    """Sends Python's own log to stderr, with times; absl's handler would hide the source."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
