"""What ends a batch, in words for people."""

from __future__ import annotations

from storage.errors import describe


class UsageError(Exception):
    """Wrong use, or input that cannot be read: exit code 2.

    Args:
      problem: what is wrong, in one line.
      expected: what would have been right.
      found: what was there instead.
      action: what the user can do next.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        action: str | None = None,
    ) -> None:
        hints = {"expected": expected, "found": found, "what to do": action}
        super().__init__(describe(problem, None, hints))


class RunError(Exception):
    """The model failed on a user, or a Beam runner could not do its work: exit code 1."""

    exit_code = 1
