"""The errors that end a run, each with its exit code.

The runner prints the message of a `PipelineError` (a few lines: what was expected, what was found,
what to do) without a stack trace. Any other exception is a defect of this project.
"""

from __future__ import annotations

from storage.errors import UsageError


class PipelineError(Exception):
    """A failure with a message for users; `exit_code` is the process's status."""

    exit_code = 1


class InputError(UsageError, PipelineError):
    """Wrong use, or input that cannot be read; takes what `UsageError` takes."""

    exit_code = 2


class AnomaliesError(PipelineError):
    """The data has anomalies of severity ERROR against the curated schema."""

    exit_code = 3
