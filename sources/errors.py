"""The errors a user can meet, each with the exit code it ends the run with.

An `InputError` is somebody's own mistake or unreadable input: the runner prints
its message (a few lines: what was expected, what was found, what to do) without
a stack trace. Anything that is not a `PipelineError` is a defect of ours.
"""

from __future__ import annotations


class PipelineError(Exception):
    """A failure with a message for people; `exit_code` is the process's status."""

    exit_code = 1


class InputError(PipelineError):
    """Wrong use, or input that cannot be read.

    Args:
      problem: what is wrong, in one line.
      file: the file it is in, if any.
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
        super().__init__(self.describe())

    def describe(self) -> str:
        """Returns the message as people read it, at most five lines."""
        where = ""
        if self.file is not None:
            where = self.file if self.row is None else f"{self.file}, row {self.row}"
            where += ": "
        lines = [where + self.problem]
        for label, value in (
            ("expected", self.expected),
            ("found", self.found),
            ("what to do", self.action),
        ):
            if value is not None:
                lines.append(f"  {label}: {value}")
        return "\n".join(lines)


class AnomaliesError(PipelineError):
    """The data has anomalies of severity ERROR against the curated schema."""

    exit_code = 3
