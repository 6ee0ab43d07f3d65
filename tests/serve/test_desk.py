"""The queue: first come first served, bounded, nothing run for nobody."""

import asyncio
import threading
import time

import pytest

from cmgan.errors import DeadlineError
from cmgan.serve.desk import Desk, Gone, Ticket, unless_gone
from cmgan.serve.metrics import Metrics
from cmgan.serve.refusals import HttpRefusal
from cmgan.serve.settings import ServeOptions


class Work:
    """Jobs that note their name and wait until they may end."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.gate = threading.Event()

    def job(self, name: str):
        def run() -> str:
            self.started.append(name)
            assert self.gate.wait(10)
            return name

        return run


def with_desk(scenario, **options):
    """Run `scenario(desk, work)` in an event loop."""

    async def main() -> None:
        desk, work = Desk(ServeOptions(**{"concurrency": 1, **options}), Metrics()), Work()
        try:
            await scenario(desk, work)
        finally:
            work.gate.set()
            desk.close()

    asyncio.run(main())


async def settled() -> None:
    await asyncio.sleep(0.05)


def test_first_come_first_served():
    async def scenario(desk, work):
        tasks = [asyncio.create_task(desk.work(Ticket(10), work.job(name))) for name in "abcd"]
        await settled()
        assert work.started == ["a"]
        work.gate.set()
        assert await asyncio.gather(*tasks) == list("abcd")
        assert work.started == list("abcd")

    with_desk(scenario)


def test_a_full_queue_refuses_at_once_with_when_to_come_again():
    async def scenario(desk, work):
        tasks = [asyncio.create_task(desk.work(Ticket(10), work.job(name))) for name in "abc"]
        await settled()
        started = time.monotonic()
        with pytest.raises(HttpRefusal) as refusal:
            await desk.work(Ticket(10), work.job("d"))
        assert time.monotonic() - started < 0.05
        assert (refusal.value.status, refusal.value.slug) == (503, "queue_full")
        assert refusal.value.headers == {"Retry-After": "1"}
        work.gate.set()
        await asyncio.gather(*tasks)
        assert "d" not in work.started

    with_desk(scenario, queue=2)


def test_who_waits_too_long_is_never_run():
    async def scenario(desk, work):
        first = asyncio.create_task(desk.work(Ticket(10), work.job("a")))
        await settled()
        with pytest.raises(HttpRefusal) as refusal:
            await desk.work(Ticket(10), work.job("b"))
        assert (refusal.value.status, refusal.value.slug) == (503, "queue_timeout")
        work.gate.set()
        assert await first == "a"
        assert await desk.work(Ticket(10), work.job("c")) == "c"
        assert work.started == ["a", "c"]

    with_desk(scenario, queue_timeout=0.1)


def test_a_deadline_ends_the_waiting_for_a_result_and_the_slot_stays_taken():
    async def scenario(desk, work):
        ticket = Ticket(0.1)
        with pytest.raises(DeadlineError):
            await desk.work(ticket, work.job("a"))
        with pytest.raises(Gone):
            ticket.check()  # what runs will stop at its next step
        next_one = asyncio.create_task(desk.work(Ticket(10), work.job("b")))
        await settled()
        assert work.started == ["a"]  # the thread is still busy with it
        work.gate.set()
        assert await next_one == "b"

    with_desk(scenario)


def test_who_goes_while_waiting_is_never_run():
    async def scenario(desk, work):
        first = asyncio.create_task(desk.work(Ticket(10), work.job("a")))
        await settled()
        leaving = asyncio.Event()

        async def gone() -> None:
            await leaving.wait()

        second = asyncio.create_task(unless_gone(gone(), desk.work(Ticket(10), work.job("b"))))
        await settled()
        leaving.set()
        with pytest.raises(Gone):
            await second
        work.gate.set()
        assert await first == "a"
        assert await desk.work(Ticket(10), work.job("c")) == "c"
        assert work.started == ["a", "c"]

    with_desk(scenario)


def test_an_error_of_the_work_is_the_caller_s_and_frees_the_slot():
    async def scenario(desk, work):
        def fail() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await desk.work(Ticket(10), fail)
        work.gate.set()
        assert await desk.work(Ticket(10), work.job("a")) == "a"

    with_desk(scenario)


def test_bodies_are_bounded_all_together():
    async def scenario(desk, work):
        with desk.holding() as hold:
            hold(8 * 2**20)
            with pytest.raises(HttpRefusal) as refusal, desk.holding() as other:
                other(1)
            assert refusal.value.status == 503
        with desk.holding() as hold:
            hold(8 * 2**20)

    with_desk(scenario, max_body_bytes=2**20)
