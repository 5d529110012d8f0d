"""The error that ends batch scoring although it was used rightly."""


class RunError(Exception):
    """The model failed on a user: exit code 1."""

    exit_code = 1
