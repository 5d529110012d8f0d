"""Model validation in a process of its own.

A graph can loop for ever, use all memory or crash, and a call of TensorFlow cannot be interrupted.
So a new version is first loaded and validated in a process that can be killed: with a time limit, a
memory limit, a lower priority than the server's, and no right to write files.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from serving.errors import ModelError

_ROOT = Path(__file__).resolve().parents[1]
_POLL_SECONDS = 0.05
_ANSWER_BYTES = 65_536
_NICENESS = 5
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MACHINE_BYTES = _PAGE * os.sysconf("SC_PHYS_PAGES")
_SHARE = 0.8
_SECRET = re.compile("token|secret|passw|credential|key|auth|dsn|_url$|_uri$", re.IGNORECASE)
"""Names of environment variables with secret values, which are not passed on."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class ValidationLimits:
    """Limits for loading and validating a version.

    Args:
      seconds: of time, for loading and validation together.
      memory_bytes: of memory, in addition to eight times the bytes of the version's files; at most
        four fifths of the machine's memory.
    """

    seconds: float = 300.0
    memory_bytes: int = 2 << 30


def validate_in_subprocess(
    path: Path,
    version: int,
    size: int,
    threads: int = 1,
    limits: ValidationLimits | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Loads and validates a version in a process of its own.

    Args:
      path: its folder.
      version: its number.
      size: bytes of all its files.
      threads: how many threads TensorFlow may use.
      limits: beyond which the process is killed.
      stop: set when the server stops; the process is then killed.

    Raises:
      ModelError: it cannot be loaded, fails validation or exceeds a limit.
    """
    limits = limits or ValidationLimits()
    answer, reply = os.pipe()
    try:
        command = [sys.executable, "-m", "serving.validation_process", str(path.resolve()),
                   str(version), str(threads), str(reply)]  # fmt: skip
        child = subprocess.Popen(
            command,
            # The child ends when this is closed, however this process ends.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[reply],
            env=_environment(),
        )
    except OSError as error:
        os.close(answer)
        raise ModelError("UNAVAILABLE", f"cannot be validated: {error.strerror}") from error
    finally:
        os.close(reply)
    try:
        memory = min(limits.memory_bytes + 8 * size, int(_MACHINE_BYTES * _SHARE))
        _watch(child, limits, memory, stop or threading.Event())
        _judge(child.returncode, os.read(answer, _ANSWER_BYTES))
    finally:
        child.kill()
        child.wait()
        if child.stdin is not None:
            child.stdin.close()
        os.close(answer)


def _environment() -> dict[str, str]:
    """Returns the environment without secrets: a model can run code that reads them."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    kept = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    return {**kept, "PYTHONPATH": path}


def _watch(
    child: subprocess.Popen[bytes], limits: ValidationLimits, memory: int, stop: threading.Event
) -> None:
    def has_ended(pause: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(pause)
        if child.returncode is None and _memory_of(child.pid) > memory:
            raise ModelError(
                "RESOURCE_EXHAUSTED",
                f"takes more than {memory / 2**20:,.0f} MiB to load and validate",
            )
        return child.returncode is not None

    _wait(has_ended, limits.seconds, stop)


def _wait(has_ended: Callable[[float], bool], seconds: float, stop: threading.Event) -> None:
    """Waits until `has_ended`, called with how many seconds it may take to find out, is true.

    Raises:
      ModelError: it takes too long, or the server stops.
    """
    end = time.monotonic() + seconds
    while not has_ended(_POLL_SECONDS):
        if stop.is_set():
            raise ModelError("CANCELLED", "was not loaded and validated: the server stops")
        if time.monotonic() > end:
            raise ModelError(
                "DEADLINE_EXCEEDED", f"was not loaded and validated within {seconds:g} s"
            )


def _memory_of(process: int) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    return 0


def _judge(code: int, answer: bytes) -> None:
    try:
        document = json.loads(answer)
        found, message = str(document["code"]), str(document["message"])
    except (ValueError, KeyError, TypeError):
        # Not signal.Signals: it has no names for most real-time signals.
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        raise ModelError("INTERNAL", f"ended the process that validates it: {how}") from None
    if found != "OK":
        raise ModelError(found, message)


def within(seconds: float, stop: threading.Event, function: Callable[[], Answer]) -> Answer:
    """Runs a function in a thread of its own, with a time limit.

    Raises:
      ModelError: it takes too long, or the server stops. The thread continues; its result is
        dropped.
    """
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    def has_ended(pause: float) -> bool:
        return future in wait([future], pause).done

    threading.Thread(target=run, name="load", daemon=True).start()
    _wait(has_ended, seconds, stop)
    return future.result()


# -- in the process of its own -----------------------------------------------------------------


def main(arguments: list[str]) -> None:
    """Validates a version and writes the result to a pipe; never returns."""
    path, version, threads, reply = arguments
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    os.nice(_NICENESS)
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    answer = _validated(Path(path), int(version), int(threads))
    os.write(int(reply), json.dumps(answer).encode()[:_ANSWER_BYTES])
    os._exit(0)


def _end_with_the_server() -> None:
    sys.stdin.buffer.read()
    os._exit(3)


def _validated(path: Path, version: int, threads: int) -> dict[str, Any]:
    from serving import tensorflow_import

    tensorflow_import.install()
    from serving.model_validation import load_and_validate

    try:
        load_and_validate(path, version, threads)
    except ModelError as error:
        return {"code": error.code, "message": error.message[:2000]}
    return {"code": "OK", "message": ""}


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(sys.argv[1:])
