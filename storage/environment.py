"""Neutralises environment variables, warnings and standard streams that would stop a program.

It runs before TensorFlow is imported, which reads its variables once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping, MutableMapping

IGNORED: Mapping[str, str] = {
    "TF_USE_LEGACY_KERAS": "this version of TensorFlow has the Keras that is used here",
    "KERAS_BACKEND": "the models are TensorFlow's",
    "TF_CONFIG": "all work is done by this process",
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "the libraries choose one that works",
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION_VERSION": "the libraries choose it",
    "MPLBACKEND": "no window is opened",
}
"""Variables that break the libraries, and why they are not needed."""

_LEAST_COLUMNS = 20


def prepare(environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """Prepares the process for any environment.

    Closed standard streams are connected to /dev/null, variables that break the libraries are
    removed, and warnings turned into errors are warnings again.

    Args:
      environment: the variables, changed in place.

    Returns:
      A sentence about each thing that is ignored.
    """
    open_closed_streams()
    ignored = [
        f"{name}={environment.pop(name)} is ignored: {why}."
        for name, why in IGNORED.items()
        if name in environment
    ]
    if _undo_warnings_as_errors():
        ignored.append(
            "Warnings are not treated as errors here, whatever PYTHONWARNINGS or -W says."
        )
    columns = environment.get("COLUMNS", "")
    if columns and not (columns.isdecimal() and int(columns) >= _LEAST_COLUMNS):
        del environment["COLUMNS"]
    if not _has_home(environment):
        environment["HOME"] = tempfile.gettempdir()
    return ignored


def print_to_stderr(lines: list[str]) -> None:
    """Prints lines to stderr; a closed stream is not an error."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()


def flush_streams() -> None:
    """Flushes the standard streams before the process ends.

    If their reader has ended, Python would replace the program's exit code by 120.
    """
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                connect_to_nothing(descriptor)


def open_closed_streams() -> None:
    """Connects closed standard streams to /dev/null.

    Otherwise files and sockets opened later would get their descriptors, and the output.
    Characters that the terminal's encoding lacks are escaped.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            connect_to_nothing(descriptor)
    # The streams of the process stay open until it ends.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123
    if sys.stdout is None:
        sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def connect_to_nothing(descriptor: int) -> None:
    """Connects a descriptor to /dev/null."""
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != descriptor:
        os.dup2(nothing, descriptor)
        os.close(nothing)


def _undo_warnings_as_errors() -> bool:
    """Keeps the libraries' warnings on import from ending the process."""
    as_errors = [option for option in sys.warnoptions if option.startswith("error")]
    if not as_errors:
        return False
    os.environ.pop("PYTHONWARNINGS", None)
    for option in as_errors:
        sys.warnoptions.remove(option)
    kept = [found for found in warnings.filters if found[0] != "error"]
    warnings.resetwarnings()
    # A list, which the library's types have as a sequence.
    warnings.filters[:] = kept  # type: ignore[index]
    return True


def _has_home(environment: Mapping[str, str]) -> bool:
    """Whether there is a home folder; user ids without a name, as in containers, have none."""
    if environment.get("HOME"):
        return True
    import pwd

    try:
        return bool(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return False
