"""Large predict calls: few at a time, JSON read and written in a thread, memory freed afterwards.

Reading and writing megabytes of JSON in the event loop would delay all other requests, health
checks included.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serving.errors import Overloaded
from serving.model import trim_memory

T = TypeVar("T")
_TRIM_SECONDS = 0.5


class LargeCalls:
    """Limits large calls. Belongs to one event loop.

    Args:
      at_once: how many may run at the same time.
      wait_seconds: how long a further one waits before it is refused.
    """

    def __init__(self, at_once: int, wait_seconds: float) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._wait_seconds = wait_seconds
        self._waiting = 0
        self._executor = ThreadPoolExecutor(1, "json")
        self._trim: asyncio.TimerHandle | None = None

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Runs a function in the thread for JSON."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Waits for a free place among the running calls, and frees it at the end.

        Raises:
          Overloaded: if none becomes free in time.
        """
        self._waiting += 1
        try:
            await asyncio.wait_for(self._free.acquire(), self._wait_seconds)
        except asyncio.TimeoutError:
            raise Overloaded(self._waiting) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()
            self._trim_soon()

    def _trim_soon(self) -> None:
        """Schedules the return of memory to the system, once for several calls."""
        if self._trim is None:
            loop = asyncio.get_running_loop()
            self._trim = loop.call_later(_TRIM_SECONDS, self._trim_now)

    def _trim_now(self) -> None:
        self._trim = None
        # Without garbage collection, which would stop every other thread meanwhile.
        self._executor.submit(trim_memory)
