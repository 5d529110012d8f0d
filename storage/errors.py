"""The error of a path that cannot be used, in words for people."""

from __future__ import annotations

import errno
from collections.abc import Mapping


def describe(problem: str, file: str | None, hints: Mapping[str, str | None]) -> str:
    """Returns a message as people read it: where and what, then one labelled line per hint."""
    where = f"{file}: " if file is not None else ""
    lines = [f"  {label}: {value}" for label, value in hints.items() if value is not None]
    return "\n".join([where + problem, *lines])


class PathError(Exception):
    """A path that cannot be used as it was asked for.

    Args:
      problem: what is wrong, in one line.
      file: the path, if it is not part of the problem's text.
      expected: what would have been right.
      found: what was there instead.
      action: what the user can do next.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        action: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = file
        self.expected = expected
        self.found = found
        self.action = action
        hints = {"expected": expected, "found": found, "what to do": action}
        super().__init__(describe(problem, file, hints))


FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors that say that there is no space left."""


def cannot_write(file: str, error: OSError) -> PathError:
    """Returns the error to raise when a file or folder could not be written."""
    if error.errno in FULL_DISK:
        return PathError(
            "the disk is full; nothing was written there",
            file=file,
            found=error.strerror,
            action="free some space, or choose another place, and run again",
        )
    return PathError(
        "cannot be written; nothing was changed there",
        file=file,
        found=error.strerror or str(error),
        action="choose another place, or change its permissions",
    )
