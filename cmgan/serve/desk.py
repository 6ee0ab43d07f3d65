"""Who may work when: a bounded queue, first come first served, a deadline for every request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from cmgan.errors import DeadlineError
from cmgan.serve.metrics import Metrics
from cmgan.serve.refusals import busy
from cmgan.serve.settings import ServeOptions

_Result = TypeVar("_Result")
WORKERS = "cmgan-work"  # names of threads begin so
_BODIES = 8  # full-sized bodies that may be in memory at once


class Gone(Exception):
    """The client has left: nobody wants the result."""


class Ticket:
    """One request's right to be worked on: until its deadline, and as long as its client is there."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._cancelled = False

    def left(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(self._end - time.monotonic(), 0.0)

    def cancel(self) -> None:
        """Let the work end at its next step."""
        self._cancelled = True

    def check(self) -> None:
        """Raise `Gone` or `DeadlineError` (deadline) where going on serves nobody."""
        if self._cancelled:
            raise Gone
        if not self.left():
            raise self.late()

    def late(self) -> DeadlineError:
        """What is said when the deadline has passed."""
        message = (
            f"not done within {self.seconds:g} s (X-Cmgan-Timeout, --request-timeout); a smaller picture is faster"
        )
        return DeadlineError("deadline", message)


class Desk:
    """Hands requests to worker threads. Used from the event loop only."""

    def __init__(self, options: ServeOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        self._slots = asyncio.Semaphore(options.concurrency)
        self._pool = ThreadPoolExecutor(options.concurrency, thread_name_prefix=WORKERS)
        self._waiting = 0
        self._held = 0

    def check_room(self) -> None:
        """Refuse a request that would find the queue full, before its body is read."""
        if self._slots.locked() and self._waiting >= self._options.queue:
            message = f"{self._waiting} requests are waiting already (--queue); come again in a second"
            raise busy("queue_full", message)

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """The block gets `hold(bytes)`, to be called for what it keeps in memory; refused where all bodies together
        would be too much."""
        mine = 0

        def hold(size: int) -> None:
            nonlocal mine
            mine += size
            self._held += size
            if self._held > _BODIES * self._options.max_body_bytes:
                raise busy("memory", "too much is being received at once; come again in a second")

        try:
            yield hold
        finally:
            self._held -= mine

    async def work(self, ticket: Ticket, job: Callable[[], _Result]) -> _Result:
        """The result of `job`, run in a worker thread when it is this request's turn.

        Raises:
            HttpRefusal: queue_full, queue_timeout.
            DeadlineError: deadline; the thread goes on until its next `ticket.check()`.
        """
        await self._turn(ticket)
        future = asyncio.get_running_loop().run_in_executor(self._pool, job)
        self._metrics.working.inc()
        future.add_done_callback(self._done)
        try:
            async with asyncio.timeout(ticket.left()):
                return await asyncio.shield(future)
        except TimeoutError:
            ticket.cancel()
            raise ticket.late() from None
        except asyncio.CancelledError:
            ticket.cancel()
            raise

    async def _turn(self, ticket: Ticket) -> None:
        self.check_room()
        patience = min(self._options.queue_timeout, ticket.left())
        self._waiting += 1
        self._metrics.waiting.set(self._waiting)
        try:
            async with asyncio.timeout(patience):
                await self._slots.acquire()
        except TimeoutError:
            raise busy("queue_timeout", f"waited {patience:.1f} s (--queue-timeout) and it was not its turn") from None
        finally:
            self._waiting -= 1
            self._metrics.waiting.set(self._waiting)

    def _done(self, future: asyncio.Future[_Result]) -> None:
        self._slots.release()
        self._metrics.working.dec()
        if not future.cancelled():
            future.exception()  # looked at, or asyncio complains about a result that nobody waited for

    def close(self) -> None:
        """Take no more work; what runs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def unless_gone(gone: Awaitable[None], work: Awaitable[_Result]) -> _Result:
    """The result of `work`; `Gone`, with the work cancelled, if `gone` comes first."""
    tasks = working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Gone
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
