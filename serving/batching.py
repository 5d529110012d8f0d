"""Micro-batching: calls that wait at the same time go to TensorFlow together.

One thread calls TensorFlow. While it is at work, calls gather; when it is free, those that
may be run together are. An idle server thus adds no delay at all, and a busy one batches as
much as there is to batch. A fixed delay on top can be had (`delay_ms`) and is not worth it:
`benchmarks/serving_load.py` measures it.
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serving.calls import Array, Call, check, run_together
from serving.errors import DeadlineExceeded, Overloaded

Outputs = dict[str, Array]
_CLOSE_SECONDS = 5.0
_MERGED_VALUES = 6_400
"""Rows times columns of the inputs of one batch; 64 rows with lists of 100."""


@dataclass(frozen=True)
class BatchingOptions:
    """How calls are batched.

    Args:
      max_rows: rows of one batch; a larger call goes alone. 1 turns batching off.
      queue_size: calls that may wait; a further one is refused at once.
      delay_ms: how long the first call of a batch waits for company.
      deadline_seconds: when to give up on a call.
    """

    max_rows: int = 64
    queue_size: int = 256
    delay_ms: float = 0.0
    deadline_seconds: float = 5.0


@dataclass(frozen=True)
class _Waiting:
    call: Call
    future: asyncio.Future[Outputs]
    gives_up_at: float


class Batcher:
    """Runs calls, several at once where it can. Belongs to one event loop.

    Args:
      options: how.
      observe: told the rows of each batch and how long TensorFlow took, in seconds.
    """

    def __init__(
        self, options: BatchingOptions, observe: Callable[[int, float], None] | None = None
    ) -> None:
        self._options = options
        self._observe = observe or (lambda rows, seconds: None)
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._executor = ThreadPoolExecutor(1, "tensorflow")
        self._busy = False
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    async def run(self, call: Call) -> Outputs:
        """Runs a call.

        Raises:
          InvalidInput: if the model cannot take the inputs.
          Overloaded: if too many calls wait already.
          DeadlineExceeded: if there is no answer in time.
        """
        check(call)
        if len(self._waiting) >= self._options.queue_size:
            raise Overloaded(len(self._waiting))
        loop = asyncio.get_running_loop()
        seconds = self._options.deadline_seconds
        entry = _Waiting(call, loop.create_future(), loop.time() + seconds)
        self._waiting.append(entry)
        deadline = loop.call_at(entry.gives_up_at, _give_up, entry.future, seconds)
        self._wake(loop)
        try:
            return await entry.future
        finally:
            deadline.cancel()

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._busy or self._timer is not None:
            return
        if self._options.delay_ms > 0:
            self._timer = loop.call_later(self._options.delay_ms / 1000, self._dispatch)
        else:
            # Not at once: requests that are read in the same turn of the loop join.
            self._timer = loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._busy:
            return
        batch = self._take()
        if not batch:
            return
        self._busy = True
        loop = asyncio.get_running_loop()
        self._executor.submit(self._work, loop, batch)

    def _take(self) -> list[_Waiting]:
        """Takes the call that has waited longest and those that may go with it."""
        while self._waiting and self._waiting[0].future.done():
            self._waiting.popleft()
        if not self._waiting:
            return []
        first = self._waiting.popleft()
        batch, rows, columns = [first], first.call.rows, first.call.columns
        others: list[_Waiting] = []
        group = first.call.group()
        while self._waiting and rows < self._options.max_rows:
            entry = self._waiting.popleft()
            if entry.future.done():
                continue
            more, widest = rows + entry.call.rows, max(columns, entry.call.columns)
            # Every row is filled up to the longest one.
            fits = more <= self._options.max_rows and more * widest <= _MERGED_VALUES
            if fits and entry.call.group() == group:
                batch.append(entry)
                rows, columns = more, widest
            else:
                others.append(entry)
        self._waiting.extendleft(reversed(others))
        return batch

    def _work(self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Waiting]) -> None:
        """In the thread: runs a batch and hands the answers over."""
        started = time.perf_counter()
        answers: Sequence[Outputs | BaseException]
        try:
            answers = run_together([entry.call for entry in batch])
        except Exception as error:
            answers = [error] * len(batch)
        seconds = time.perf_counter() - started
        loop.call_soon_threadsafe(self._done, batch, answers, seconds)

    def _done(
        self, batch: Sequence[_Waiting], answers: Sequence[Outputs | BaseException], seconds: float
    ) -> None:
        # The next batch first: TensorFlow works while the answers are written.
        self._busy = False
        if self._waiting:
            self._dispatch()
        self._observe(sum(entry.call.rows for entry in batch), seconds)
        for entry, answer in zip(batch, answers, strict=True):
            if entry.future.done():
                continue
            if isinstance(answer, BaseException):
                entry.future.set_exception(answer)
            else:
                entry.future.set_result(answer)

    def close(self) -> None:
        """Stops the thread; waits a while for the batch at work, not for one that hangs."""
        self._executor.shutdown(wait=False)
        for thread in self._executor._threads:
            thread.join(_CLOSE_SECONDS)


def _give_up(future: asyncio.Future[Outputs], seconds: float) -> None:
    if not future.done():
        future.set_exception(DeadlineExceeded(seconds))
