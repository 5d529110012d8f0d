"""Errors of wrong use and of paths that cannot be used, with messages for users."""

from __future__ import annotations

import errno


class UsageError(Exception):
    """Wrong use, or input that cannot be read.

    Args:
      problem: what is wrong, in one line.
      file: the file or folder it is in, if any.
      row: the 1-based line of the file, if known.
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
        row: int | None = None,
        expected: str | None = None,
        found: str | None = None,
        action: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = file
        self.row = row
        self.expected = expected
        self.found = found
        self.action = action
        place = "" if row is None else f", row {row}"
        where = "" if file is None else f"{file}{place}: "
        hints = {"expected": expected, "found": found, "what to do": action}
        lines = [f"  {label}: {value}" for label, value in hints.items() if value is not None]
        super().__init__("\n".join([where + problem, *lines]))


class PathError(UsageError):
    """A path that cannot be used as it was given."""


FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors that mean that there is no space left."""


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
