"""One engine for many requests: calls side by side where it can, one after the other where not, merged if wanted."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from cmgan.runtime.engine import Engine, EngineInfo
from cmgan.serve.desk import Ticket
from cmgan.serve.metrics import Metrics


@dataclass
class _Call:
    inputs: tuple[np.ndarray, np.ndarray, np.ndarray]  # image, mask, z
    ticket: Ticket
    result: Future[np.ndarray] = field(default_factory=Future)

    @property
    def size(self) -> int:
        return len(self.inputs[0])


class Batcher:
    """Runs an engine in threads of its own.

    With a `window` (seconds) a call waits so long for windows of other requests and takes up to `most` of them along.
    Without one, calls are never merged: a picture's bytes do not depend on who else is there.
    """

    def __init__(self, engine: Engine, metrics: Metrics, *, window: float = 0.0, most: int = 8) -> None:
        self.engine = engine
        self._metrics = metrics
        self._window, self._most = window, most
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._closed = False
        # An engine of several streams serves so many calls at once; any other has all the threads for one.
        lanes = int(engine.info.details.get("streams", 1))
        self._threads = [threading.Thread(target=self._lane, daemon=True, name="cmgan-engine") for _ in range(lanes)]
        for thread in self._threads:
            thread.start()

    def run(self, ticket: Ticket, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The engine's answer, see `cmgan.runtime.engine.Engine`. Blocks; `Gone` or `DeadlineError` by the ticket."""
        ticket.check()
        call = _Call((image, mask, z), ticket)
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()
        return call.result.result()

    def close(self) -> None:
        """Finish what is waiting, end the threads and close the engine."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self.engine.close()

    def _lane(self) -> None:
        while group := self._taken():
            wanted = [call for call in group if _still_wanted(call)]
            if wanted:
                self._answer(wanted)

    def _taken(self) -> list[_Call]:
        """The calls to run next; none when the batcher is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            group = [self._waiting.popleft()]
            end = time.monotonic() + self._window
            size = group[0].size
            while self._window and size < self._most:
                if not self._changed.wait_for(lambda: self._waiting, end - time.monotonic()):
                    break
                if size + self._waiting[0].size > self._most:
                    break
                group.append(self._waiting.popleft())
                size += group[-1].size
            return group

    def _answer(self, group: list[_Call]) -> None:
        started = time.perf_counter()
        try:
            image, mask, z = (np.concatenate(arrays) for arrays in zip(*(call.inputs for call in group), strict=True))
            output = self.engine(image, mask, z)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the request
            if len(group) == 1:
                group[0].result.set_exception(error)
            else:
                for call in group:  # one by one: the others shall not fail with it
                    self._answer([call])
            return
        self._metrics.calls.observe(time.perf_counter() - started)
        self._metrics.batch.observe(len(output))
        start = 0
        for call in group:
            call.result.set_result(output[start : start + call.size])
            start += call.size


def _still_wanted(call: _Call) -> bool:
    try:
        call.ticket.check()
    except Exception as error:  # noqa: BLE001 - for the thread that waits
        call.result.set_exception(error)
        return False
    return True


class TicketEngine:
    """The engine as one request sees it: every call first looks at its ticket."""

    def __init__(self, batcher: Batcher, ticket: Ticket) -> None:
        self._batcher, self._ticket = batcher, ticket

    @property
    def info(self) -> EngineInfo:
        return self._batcher.engine.info

    def __call__(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        return self._batcher.run(self._ticket, image, mask, z)

    def close(self) -> None:
        """The engine goes on: it is everybody's."""
