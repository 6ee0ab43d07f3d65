"""Calls of the engine, merged and not: everybody gets what is theirs."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cmgan.runtime.engine import EngineInfo
from cmgan.serve.batcher import Batcher, TicketEngine
from cmgan.serve.desk import Gone, Ticket
from cmgan.serve.metrics import Metrics


class Engine:
    """Adds one to every picture; notes its batches; refuses pictures that begin with 99; waits for `gate`."""

    def __init__(self, **details) -> None:
        self.info = EngineInfo("test", "test", 4, 2, "fp32", True, "", details)
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.running = self.most = 0
        self.closed = False

    def __call__(self, image, mask, z):
        self.running += 1
        self.most = max(self.most, self.running)
        assert self.gate.wait(10)
        time.sleep(0.005)
        self.running -= 1
        self.batches.append(len(image))
        if (image[:, 0, 0, 0] == 99).any():
            raise ValueError("99")
        return image + 1

    def close(self) -> None:
        self.closed = True


def inputs(value: int, size: int = 1):
    image = np.full((size, 4, 4, 3), value, np.uint8)
    return image, np.zeros((size, 4, 4), np.uint8), np.zeros((size, 2), np.float32)


def test_without_a_window_calls_are_not_merged():
    engine = Engine()
    batcher = Batcher(engine, Metrics())
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: batcher.run(Ticket(10), *inputs(n)), range(8)))
    assert [result[0, 0, 0, 0] for result in results] == list(range(1, 9))
    assert engine.batches == [1] * 8 and engine.most == 1
    batcher.close()
    assert engine.closed


def test_with_a_window_they_are_up_to_the_most():
    engine = Engine()
    batcher = Batcher(engine, Metrics(), window=0.2, most=4)
    sizes = [1, 2, 1, 3, 1, 1, 4, 2]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: batcher.run(Ticket(10), *inputs(n, sizes[n])), range(8)))
    for number, result in enumerate(results):
        assert result.shape[0] == sizes[number] and (result == number + 1).all()
    assert sum(engine.batches) == sum(sizes) and max(engine.batches) == 4 and len(engine.batches) < 8
    batcher.close()


def test_an_engine_of_two_streams_gets_two_calls_at_once():
    engine = Engine(streams=2)
    batcher = Batcher(engine, Metrics())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: batcher.run(Ticket(10), *inputs(n)), range(8)))
    assert engine.most == 2
    batcher.close()


def test_one_bad_call_of_a_group_fails_alone():
    engine = Engine()
    batcher = Batcher(engine, Metrics(), window=0.2, most=4)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(batcher.run, Ticket(10), *inputs(value)) for value in (1, 99, 3, 4)]
    with pytest.raises(ValueError, match="99"):
        futures[1].result()
    assert [int(futures[n].result()[0, 0, 0, 0]) for n in (0, 2, 3)] == [2, 4, 5]
    batcher.close()


def test_who_has_gone_is_not_run():
    engine = Engine()
    engine.gate.clear()
    batcher = Batcher(engine, Metrics())
    ticket = Ticket(10)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batcher.run, Ticket(10), *inputs(1))
        time.sleep(0.05)
        second = pool.submit(batcher.run, ticket, *inputs(2))
        time.sleep(0.05)
        ticket.cancel()
        engine.gate.set()
        assert first.result()[0, 0, 0, 0] == 2
        with pytest.raises(Gone):
            second.result()
    assert engine.batches == [1]
    with pytest.raises(Gone):
        TicketEngine(batcher, ticket)(*inputs(3))
    batcher.close()
