"""An open-loop generator: requests start when the schedule says so, whatever became of the earlier ones, and their
latency counts from then. Generators that wait for answers hide how long a stalled server makes people wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx


@dataclass(frozen=True)
class Sample:
    """One request: seconds from its scheduled time to its answer, and the status."""

    seconds: float
    status: int
    retry_after: str | None


def run(url: str, request: Callable[[int], dict], *, rate: float, seconds: float) -> list[Sample]:
    """Send `rate` requests a second; `request(n)` gives the arguments of `httpx.AsyncClient.request` for the n-th."""
    return asyncio.run(_run(url, request, rate, int(rate * seconds)))


async def _run(url: str, request: Callable[[int], dict], rate: float, count: int) -> list[Sample]:
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) as client:
        begin = time.perf_counter() + 0.05

        async def one(number: int) -> Sample:
            due = begin + number / rate
            await asyncio.sleep(due - time.perf_counter())
            answer = await client.request(**request(number))
            return Sample(time.perf_counter() - due, answer.status_code, answer.headers.get("retry-after"))

        return list(await asyncio.gather(*(one(number) for number in range(count))))


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
