"""Micro-batching: calls that wait at the same time are run as one call of TensorFlow.

One thread calls TensorFlow. While it runs a call, others wait; when it is free, those that can be
merged are run as one. An idle server thus adds no delay. A fixed delay in addition (`delay_ms`)
does not pay: `benchmarks/serving_load.py` measures it.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serving.errors import RETRY, ModelFault, Overloaded, RequestError
from serving.signatures import Array, Call, Outcome, check_inputs, run_together

Outputs = dict[str, Array]
_CLOSE_SECONDS = 5.0
_MERGED_VALUES = 6_400
"""Rows times columns of the inputs of one batch; 64 rows with lists of 100."""


@dataclass(frozen=True)
class BatchingOptions:
    """How calls are batched.

    Args:
      max_rows: rows of one batch; a larger call is run alone. 1 turns batching off.
      queue_size: calls that may wait; a further one is refused at once.
      delay_ms: how long the first call of a batch waits for others.
      deadline_seconds: time limit of a call, waiting included.
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
    """Runs calls, merged where possible. Belongs to one event loop.

    Args:
      options: of batching.
      observe: called with the rows of each batch and TensorFlow's seconds for it.
      failed: called with each call that failed on valid inputs, and its error.
    """

    def __init__(
        self,
        options: BatchingOptions,
        observe: Callable[[int, float], None] = lambda rows, seconds: None,
        failed: Callable[[Call, ModelFault], None] = lambda call, fault: None,
    ) -> None:
        self._options = options
        self._observe = observe
        self._failed = failed
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._executor = ThreadPoolExecutor(1, "tensorflow")
        self._busy = False
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None

    @property
    def waiting(self) -> int:
        """The number of waiting calls."""
        return len(self._waiting)

    async def run(self, call: Call) -> Outputs:
        """Runs a call, possibly merged with others.

        Raises:
          InvalidInput: if an input is invalid.
          ModelFault: if the model fails on valid inputs.
          Overloaded: if the queue is full.
          RequestError: 504 if there is no result in time.
        """
        check_inputs(call)
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
        outcomes = asyncio.get_running_loop().run_in_executor(
            self._executor, run_together, [entry.call for entry in batch]
        )
        outcomes.add_done_callback(functools.partial(self._done, batch, time.perf_counter()))

    def _take(self) -> list[_Waiting]:
        """Takes the call that has waited longest and those that can be merged with it."""
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
            # Every row is padded to the longest one.
            fits = more <= self._options.max_rows and more * widest <= _MERGED_VALUES
            if fits and entry.call.group() == group:
                batch.append(entry)
                rows, columns = more, widest
            else:
                others.append(entry)
        self._waiting.extendleft(reversed(others))
        return batch

    def _done(
        self, batch: Sequence[_Waiting], started: float, done: asyncio.Future[list[Outcome]]
    ) -> None:
        """Passes the outcomes of a batch to those who wait for them."""
        seconds = time.perf_counter() - started
        # The next batch first: TensorFlow runs while the responses are written.
        self._busy = False
        if self._waiting:
            self._dispatch()
        self._observe(sum(entry.call.rows for entry in batch), seconds)
        error = done.exception()
        outcomes = [error] * len(batch) if error is not None else done.result()
        for entry, outcome in zip(batch, outcomes, strict=True):
            if entry.future.done():
                continue
            if isinstance(outcome, ModelFault):
                self._failed(entry.call, outcome)
            if isinstance(outcome, BaseException):
                entry.future.set_exception(outcome)
            else:
                entry.future.set_result(outcome)

    def close(self) -> None:
        """Stops the thread; waits a limited time for a running batch."""
        closing = threading.Thread(target=self._executor.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


def _give_up(future: asyncio.Future[Outputs], seconds: float) -> None:
    if not future.done():
        message = f"No answer within {seconds:g} s. Try again in a second."
        future.set_exception(RequestError(504, message, RETRY))
