"""Progress of long work, from inside a component to the terminal or another listener.

A component reports a short text ("epoch 3 of 10"). The runner sets a sink that shows it;
without one (on a cluster's worker) the text goes to the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Sink = Callable[[str], None]

_logger = logging.getLogger(__name__)
_sink: Sink | None = None


def report(text: str) -> None:
    """Shows a short text on the line of the component that is running."""
    _logger.info("%s", text)
    if _sink is not None:
        _sink(text)


@contextmanager
def sink(new: Sink) -> Iterator[None]:
    """Sends reports of this process to `new` while the context is open."""
    global _sink
    previous, _sink = _sink, new
    try:
        yield
    finally:
        _sink = previous
