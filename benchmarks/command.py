"""Ends a benchmark's command with a message and an exit code on wrong use and on Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from sources.errors import InputError

INTERRUPTED = 130
"""The exit code of a command that was stopped from the keyboard."""


def run(main: Callable[[Sequence[str]], None], interrupted: str) -> None:
    """Runs a command with the process's arguments; a mistake is a message, not a stack trace.

    Args:
      main: takes the arguments.
      interrupted: message for a command that is stopped from the keyboard.
    """
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(INTERRUPTED)
