"""Progress of long steps, independent of who shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)`: what is going on, in a few words, and how far.

`total` is 0 where it is not known. The units (bytes, rows) are the caller's own.
"""


@contextlib.contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """Shows the progress of each step as a bar while the context lasts.

    Args:
      console: where to draw. Nothing is drawn when it is not a terminal, so that
        plain output stays plain.

    Yields:
      The callable to pass as `progress`.
    """
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    if not console.is_terminal:
        yield lambda what, done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, console=console, transient=True) as bars:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=None)
            bars.update(tasks[what], completed=done, total=total or None)

        yield show
