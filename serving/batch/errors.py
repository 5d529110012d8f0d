"""The errors that end batch scoring."""

from __future__ import annotations

from storage.errors import UsageError as UsageError


class RunError(Exception):
    """The model failed on a user, or a Beam runner could not do its work: exit code 1."""

    exit_code = 1
