"""An open-loop generator: requests start when the schedule says so, whatever became of the earlier ones, and their
latency counts from then. Generators that wait for answers hide how long a stalled server makes people wait."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One request: seconds from its scheduled time to its answer, and the status."""

    seconds: float
    status: int
    retry_after: bool


def run(host: str, port: int, request: bytes, *, rate: float, seconds: float) -> list[Sample]:
    """Send `request`, the bytes of a whole one, `rate` times a second, each over a connection of its own."""
    return asyncio.run(_run(host, port, request, rate, int(rate * seconds)))


async def _run(host: str, port: int, request: bytes, rate: float, count: int) -> list[Sample]:
    begin = time.perf_counter() + 0.05

    async def one(number: int) -> Sample:
        due = begin + number / rate
        await asyncio.sleep(due - time.perf_counter())
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 60)  # until it is closed, as the request asks for
        writer.close()
        found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
        assert found, answer[:100]
        return Sample(time.perf_counter() - due, int(found[1]), b"\r\nretry-after: 1\r\n" in answer)

    return list(await asyncio.gather(*(one(number) for number in range(count))))


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
