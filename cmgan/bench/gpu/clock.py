"""How long calls take on a GPU: in CUDA graphs, at the clock that the card reaches under load, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from cmgan.bench.gpu.plan import Plan

BLOCK = 0.002  # seconds of a timed block: far above the timer's resolution
LEAST_BLOCKS = 5
SPIN = 0.2  # seconds of work that bring an idle card to its clock

Call = Callable[[], Any]


@dataclass(frozen=True)
class Timing:
    """Microseconds of one call: the median over the blocks, and (the ninth tenth - the first) / the median."""

    us: float
    spread: float


def compare(calls: dict[str, Call], plan: Plan) -> dict[str, Timing | str]:
    """Time the calls in turns, A B A B, launches not counted; a call that fails has its error for a time."""
    found: dict[str, Timing | str] = {}
    blocks: dict[str, tuple[Callable[[], float], int]] = {}
    for name, call in calls.items():
        try:
            blocks[name] = _block(call, plan)
        except Exception as error:  # the others may run
            found[name] = error_line(error)
    spin(plan)
    times: dict[str, list[float]] = {name: [] for name in blocks}
    while running := [n for n, t in times.items() if len(t) < LEAST_BLOCKS or sum(t) < plan.seconds_per_way]:
        for name in running:
            times[name].append(blocks[name][0]())
    for name, values in times.items():
        found[name] = _timing([seconds / blocks[name][1] for seconds in values])
    return found


def latency(call: Call, plan: Plan) -> Timing:
    """One call as its caller sees it, launches and Python included, until the GPU has finished."""
    spin(plan)
    times: list[float] = []
    while len(times) < LEAST_BLOCKS or sum(times) < plan.seconds_per_way:
        times.append(seconds_of(call, plan))
    return _timing(times)


def captured(call: Call) -> tuple[Callable[[], None], Any]:
    """A replay of `call` as one CUDA graph, and the output that every replay writes anew."""
    _warm(call)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = call()
    return graph.replay, output


def seconds_of(call: Call, plan: Plan) -> float:
    wait(plan)
    begun = time.perf_counter()
    call()
    wait(plan)
    return time.perf_counter() - begun


def wait(plan: Plan) -> None:
    """Until the GPU has done what it was given; raises what went wrong there."""
    if not plan.rehearsal:
        torch.cuda.synchronize()


def spin(plan: Plan) -> None:
    """Keep the card busy until its clock is up."""
    if plan.rehearsal:
        return
    a = torch.randn(4096, 4096, device=plan.device, dtype=torch.bfloat16)
    end = time.perf_counter() + SPIN
    while time.perf_counter() < end:
        a @ a
        torch.cuda.synchronize()


def error_line(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _block(call: Call, plan: Plan) -> tuple[Callable[[], float], int]:
    """Something that runs the call a number of times and says how many seconds that took; and that number."""
    if plan.rehearsal:
        call()
        return lambda: seconds_of(call, plan), 1
    _warm(call)
    inner = max(1, min(200, int(BLOCK / max(seconds_of(call, plan), 1e-6))))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(inner):
            call()
    graph.replay()
    torch.cuda.synchronize()

    def timed() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000

    return timed, inner


def _warm(call: Call) -> None:
    """Compile, let the library choose, fill the allocator: on a side stream, as capturing wants it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()


def _timing(seconds: list[float]) -> Timing:
    ordered = sorted(seconds)
    middle = median(ordered)
    tenth = len(ordered) // 10
    return Timing(middle * 1e6, (ordered[-1 - tenth] - ordered[tenth]) / middle)


def profile(call: Call, plan: Plan, top: int = 30) -> list[tuple[str, float, int]]:
    """The kernels of one call that take longest: name, share of the whole, number of launches."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    call()
    wait(plan)
    activity = ProfilerActivity.CPU if plan.rehearsal else ProfilerActivity.CUDA
    with profiler(activities=[activity]) as found:
        call()
        wait(plan)
    rows = list(_times(found.key_averages(), plan))
    total = sum(us for _, us, _ in rows) or 1.0
    return [(name, us / total, count) for name, us, count in sorted(rows, key=lambda row: -row[1])[:top]]


def _times(events: Any, plan: Plan) -> Iterator[tuple[str, float, int]]:
    for event in events:
        yield event.key, event.self_cpu_time_total if plan.rehearsal else event.self_device_time_total, event.count
