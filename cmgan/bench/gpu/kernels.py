"""`kernels`: what the compiled kernels compute, judged three ways, and whether they compute it twice alike."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cmgan.bench.gpu.plan import Measurement, Plan, Record
from cmgan.bench.gpu.report import header, row
from cmgan.bench.gpu.roofline import Rates
from cmgan.kernels import epilogue, fold, modconv2d, spatial
from cmgan.kernels.configurations import TILES
from cmgan.kernels.tolerances import three_way
from cmgan.kernels.winners import Tile

TYPES = ("bfloat16", "float16", "float32", "tf32")
EVEN, RAGGED = (2, 64, 32, 32), (2, 37, 9, 11)  # N, C, H, W: a true layer's alignment, and none
FOLD_SHAPES = [64, 64, 3, 1, 3, 64, 1, 0]


class Case:
    """One call of a kernel, with the composite that judges it."""

    def __init__(self, name: str, op: Any, composite: Callable[..., Any], arguments: list[Any]) -> None:
        self.name, self.op, self._composite, self.arguments = name, op, composite, arguments

    def run(self) -> list[Tensor]:
        return _listed(self.op(*self.arguments))

    def judge(self, numbers: str) -> Record:
        """The worst of the outputs, as a record."""
        torch.backends.cudnn.allow_tf32 = numbers == "tf32"
        wide = [x.double() if _is_float(x) else x for x in self.arguments]
        outputs = self.run(), _listed(self._composite(*self.arguments)), _listed(self._composite(*wide))
        results = [three_way(*one, numbers) for one in zip(*outputs, strict=True)]
        worst = max(results, key=lambda c: (not c.passed, c.error / c.limit if c.limit else 0.0))
        return {"largest_" + k: v for k, v in asdict(worst).items()} | {"passed": all(c.passed for c in results)}

    def repeat(self, repetitions: int) -> Record:
        """The same bits every time; memory that a kernel leaves unwritten holds NaN."""
        torch.use_deterministic_algorithms(True, warn_only=True)  # fills new tensors with NaN
        try:
            first = [x.clone() for x in self.run()]
            different = sum(
                not all(torch.equal(a, b) for a, b in zip(first, self.run(), strict=True)) for _ in range(repetitions)
            )
        finally:
            torch.use_deterministic_algorithms(False)
        finite = all(bool(x.isfinite().all()) for x in first)
        return {"runs": repetitions, "different": different, "passed": finite and not different}


def measurements(plan: Plan, rates: Rates) -> list[Measurement]:
    """First every signature is compiled, in many processes; then come the errors, then the repetitions."""
    compile_ahead(len(_all_cases("cpu")), plan)
    judged = [
        Measurement(f"{case.name}, {numbers}", partial(case.judge, numbers))
        for numbers, case in _all_cases(plan.device)
    ]
    again = [
        Measurement(f"{case.name}, {plan.repetitions} times", partial(case.repeat, plan.repetitions))
        for case in cases("bfloat16", plan.device)
    ]
    return judged + again


def table(records: list[Record]) -> list[str]:
    """The largest errors beside what is allowed."""
    judged = [r for r in records if "largest_error" in r]
    lines = header("kernel", "largest error", "PyTorch's own", "limit", "passed")
    for r in judged:
        values = r["largest_error"], r["largest_eager_error"], r["largest_limit"]
        lines.append(row(r["name"], *values, "yes" if r["passed"] else "**no**"))
    return lines if judged else []


def compile_ahead(count: int, plan: Plan) -> None:
    """Run every case once in some process, which leaves the compiled kernel in Triton's cache. What fails here fails
    again where it is measured, by name."""
    with ProcessPoolExecutor(plan.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_compile, range(count), [plan.device] * count))


def _compile(index: int, device: str) -> None:
    try:
        _all_cases(device)[index][1].run()
    except Exception:  # the measurement says it
        return


def _all_cases(device: str) -> list[tuple[str, Case]]:
    """Every op in every type, then every tile of the convolution."""
    found = [(numbers, case) for numbers in TYPES for case in cases(numbers, device)]
    for cut in TILES:
        case = _convolution(f"modconv2d {cut}", (1, 128, 32, 32), 128, 3, "bfloat16", device, cut)
        found.append(("bfloat16", case))
    return found


def cases(numbers: str, device: str) -> Iterator[Case]:
    """Every op once on each shape; `numbers` is a row of `tolerances.FLOORS`."""
    dtype = getattr(torch, "float32" if numbers == "tf32" else numbers)
    ops = torch.ops.cmgan
    if numbers != "tf32":
        for shape, up in ((EVEN, True), (RAGGED, False)):
            y, demod, bias, residual, noise, style = _terms(shape, dtype, device, up)
            terms = [y, demod, bias, residual, noise]
            name = f"scaling_epilogue {shape}"
            yield Case(name, ops.scaling_epilogue, epilogue.scaling_composite, [*terms, style, up])
            arguments = [y, demod, bias, noise, residual, style, up]
            yield Case(f"spatial_epilogue {shape}", ops.spatial_epilogue, spatial.composite, arguments)
        packed = torch.randn(64 * 64 * 9 + 3 * 64, device=device).to(dtype)
        styles = torch.randn(128, device=device).to(dtype)
        rows = fold.row_table(FOLD_SHAPES).to(device)
        yield Case("fold_weights", ops.fold_weights, fold.composite, [packed, rows, styles, FOLD_SHAPES])
    yield _convolution("modconv2d 3x3", EVEN, 64, 3, numbers, device, TILES[0])
    yield _convolution("modconv2d 3x3", RAGGED, 13, 3, numbers, device, Tile(64, 16, 32, 4, 3))
    yield _convolution("modconv2d 1x1", EVEN, 3, 1, numbers, device, TILES[-1])


def _convolution(title: str, shape: tuple[int, ...], out: int, size: int, numbers: str, device: str, cut: Tile) -> Case:
    dtype = getattr(torch, "float32" if numbers == "tf32" else numbers)
    n, c, h, w = shape
    x = torch.randn(shape, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
    weight = (torch.randn(out, c, size, size, device=device) / (c * size * size) ** 0.5).to(dtype)
    _, demod, bias, residual, noise, _ = _terms((n, out, h, w), dtype, device, False)
    style = _terms(shape, dtype, device, False)[-1]
    values = [cut.positions, cut.channels, cut.depth, cut.warps, cut.stages]
    arguments = [x, weight, style, demod, bias, residual, noise, True, values, numbers == "tf32"]
    return Case(f"{title} {shape}", torch.ops.cmgan.modconv2d, modconv2d.composite, arguments)


def _terms(shape: tuple[int, ...], dtype: torch.dtype, device: str, up: bool) -> list[Tensor]:
    """y, demod, bias, residual, noise, style of an epilogue with outputs of that shape."""
    n, c, h, w = shape
    sizes = (n, c, h + up, w + up), (n, c), (c,), shape, (1, 1, h, w), (n, c)
    y, demod, bias, residual, noise, style = (torch.randn(size, device=device).to(dtype) for size in sizes)
    y, residual = (x.contiguous(memory_format=torch.channels_last) for x in (y, residual))
    return [y, demod.abs() + 0.5, bias, residual, noise, style]


def _listed(outputs: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _is_float(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()
