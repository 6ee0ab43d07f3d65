"""Stages four and five: the whole generator, eager, on kernels, in a CUDA graph, and compiled by PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from cmgan import kernels
from cmgan.bench.kernels.plan import Plan
from cmgan.bench.kernels.timing import captured, latency_us
from cmgan.config import preset
from cmgan.kernels.table import KernelTable
from cmgan.kernels.tolerances import three_way
from cmgan.kernels.winners import load_winners
from cmgan.model.generator import Generator
from cmgan.model.initialise import seeded_generator
from cmgan.model.layers import fold_gains

Record = dict[str, Any]


def models(plan: Plan) -> Iterator[partial[Record]]:
    """Eager float32 with and without TF32 first: what everything else is compared with."""
    for name in plan.presets:
        for tf32 in (True, False):
            yield partial(_measured, plan, name, "float32", "eager", tf32=tf32)
        for dtype in plan.dtypes:
            for way in ("eager", "eager channels-last", "triton", "auto"):
                for graph in (False, True):
                    if (way, dtype, graph) != ("eager", "float32", False):
                        yield partial(_measured, plan, name, dtype, way, graph=graph)


def compiled(plan: Plan) -> Iterator[partial[Record]]:
    """torch.compile of the reference at its best, which the kernels have to beat."""
    yield partial(_measured, plan, plan.compiled, "bfloat16", "torch.compile max-autotune")


def _measured(plan: Plan, name: str, dtype: str, way: str, *, graph: bool = False, tf32: bool = True) -> Record:
    """One row: the latency of one picture, and its error beside eager's own in that dtype."""
    _allow_tf32(tf32)
    record = {"preset": name, "dtype": dtype, "way": way, "cuda_graph": graph, "tf32": tf32, "batch": 1}
    call, eager_call = _call(plan, name, dtype, way), _call(plan, name, dtype, "eager")
    exact = _exact(plan, name)
    with torch.inference_mode():
        replay: Callable[[], Any] = call
        if graph and not plan.rehearsal:
            replay, output = captured(call)
            replay()
        else:
            call()
            output = call()
        comparison = three_way(output.float(), eager_call().float(), exact, dtype)
        record |= {"ms": latency_us(replay, plan.calls, plan.device) / 1000}
    return record | {"error": comparison.error, "eager_error": comparison.eager_error, "passed": comparison.passed}


def _call(plan: Plan, name: str, dtype: str, way: str) -> Callable[[], Tensor]:
    generator = copy.deepcopy(_generator(plan, name)).to(getattr(torch, dtype))
    given = [x.to(getattr(torch, dtype)) for x in _inputs(plan, name)]
    if way != "eager":
        generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        given[0] = given[0].contiguous(memory_format=torch.channels_last)
    if way in ("triton", "auto"):
        fold_gains(generator)
        kernels.use(generator, "triton")
        path = plan.folder / "winners.json"
        if way == "auto":  # what the layer table has just found, where it has run
            generator.ops = KernelTable(generator, load_winners(path) if path.exists() else load_winners()).ops()
    if way.startswith("torch.compile"):
        if plan.rehearsal:
            optimised = torch.compile(generator, dynamic=False, backend="eager")
        else:
            optimised = torch.compile(generator, dynamic=False, mode="max-autotune")
        return lambda: optimised(*given)
    return lambda: generator(*given)


@cache
def _generator(plan: Plan, name: str) -> Generator:
    with torch.device(plan.device):  # drawn there: a large one takes long on a CPU
        return seeded_generator(preset(name)).requires_grad_(False)


@cache
def _inputs(plan: Plan, name: str) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    config, device = preset(name), plan.device
    side = config.resolution
    image = torch.rand(1, 3, side, side, device=device) * 2 - 1
    mask = torch.zeros(1, 1, side, side, device=device)
    mask[:, :, side // 4 : side // 2, side // 4 : side // 2] = 1
    return image, mask, torch.randn(1, config.z_dim, device=device)


@cache
def _exact(plan: Plan, name: str) -> Tensor:
    """The reference in float64."""
    generator = copy.deepcopy(_generator(plan, name)).double()
    with torch.no_grad():
        return generator(*(x.double() for x in _inputs(plan, name)))


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True
