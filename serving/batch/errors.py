"""The error that ends a batch whose options are right, such as a full disk."""


class RunError(Exception):
    """The model failed on a user: exit code 1."""

    exit_code = 1
