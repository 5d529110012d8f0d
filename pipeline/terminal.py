"""Output to the terminal: a line per component, with a spinner while it runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

RAN, CACHED, FAILED = "ran", "cached", "failed"

_MARKS = {RAN: ("✓", "green"), CACHED: ("○", "cyan"), FAILED: ("✗", "red")}
_NAME_WIDTH = 24


class Terminal:
    """Prints a spinner and seconds on a terminal, plain lines into files and pipes.

    Args:
      stream: where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        terminal = stream.isatty()
        # Explicit, since rich takes any file for a terminal if FORCE_COLOR is set.
        self.console = Console(
            file=stream, highlight=False, soft_wrap=not terminal, force_terminal=terminal
        )

    def print(self, text: str = "", style: str = "") -> None:
        """Prints lines."""
        self.console.print(Text(text, style=style))

    @contextlib.contextmanager
    def working(self, name: str) -> Iterator[Callable[[str], None]]:
        """Shows a spinner; yields a function that shows the progress beside it."""
        if not self.console.is_terminal:
            yield lambda _: None
            return
        line = _Working(name)
        with Live(line, console=self.console, transient=True, refresh_per_second=8):
            yield line.update

    def component(self, name: str, state: str, seconds: float, result: str) -> None:
        """Prints the line of a finished component."""
        mark, color = _MARKS[state]
        line = Text.assemble(
            (f"{mark} ", color),
            f"{name:<{_NAME_WIDTH}}",
            (f"{state:<7}", color),
            f"{seconds:6.1f} s  ",
            result,
        )
        self.console.print(line, no_wrap=not self.console.is_terminal)


class _Working:
    """A spinner, a name, the seconds so far and the latest progress."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._start = time.monotonic()
        self._progress = ""
        self._spinner = Spinner("dots")

    def update(self, progress: str) -> None:
        self._progress = progress

    def __rich__(self) -> Spinner:
        seconds = time.monotonic() - self._start
        text = f"{self._name:<{_NAME_WIDTH}}{'running':<7}{seconds:6.1f} s  {self._progress}"
        self._spinner.update(text=Text(text, overflow="ellipsis", no_wrap=True))
        return self._spinner
