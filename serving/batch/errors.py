"""Errors that end batch scoring."""

from __future__ import annotations

from storage.errors import UsageError as UsageError


class RunError(Exception):
    """The model failed on a user, or a Beam runner failed: exit code 1."""

    exit_code = 1
