"""How long a call takes: on a GPU inside a CUDA graph, so that Python and launches are not counted twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

TARGET_US = 2000.0  # a timed block: far above the timer's resolution, far below a stage's budget


def microseconds(call: Callable[[], Any], calls: int, device: str) -> float:
    """The median time of one call, in microseconds, caches warm, over `calls` blocks."""
    if device == "cpu":
        return median(_seconds(call) for _ in range(calls)) * 1e6
    graph, inner = _captured(call)
    times = []
    for _ in range(calls):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1000 / inner)
    return median(times)


def latency_us(call: Callable[[], Any], calls: int, device: str) -> float:
    """The median time of one call as its caller sees it, launches included, in microseconds."""
    times = []
    for _ in range(calls):
        begun = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return median(times) * 1e6


def captured(call: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """A replay of `call` as one CUDA graph, and the output that every replay writes anew."""
    _warm(call)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = call()
    return graph.replay, output


def _captured(call: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, int]:
    """A graph of as many calls as fill a block, and their number."""
    _warm(call)
    inner = max(1, min(100, int(TARGET_US / max(_seconds(call) * 1e6, 1.0))))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(inner):
            call()
    graph.replay()
    torch.cuda.synchronize()
    return graph, inner


def _warm(call: Callable[[], Any]) -> None:
    """Compile, let the library choose, fill the allocator: on a side stream, as capturing wants it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()


def _seconds(call: Callable[[], Any]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begun = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun
