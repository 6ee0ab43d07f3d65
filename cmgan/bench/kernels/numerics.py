"""Stages one and two: what compiled kernels compute, judged three ways, and whether they compute it twice alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cmgan.bench.kernels.plan import Plan
from cmgan.kernels import epilogue, fold, modconv2d, spatial
from cmgan.kernels.configurations import TILES
from cmgan.kernels.tolerances import three_way
from cmgan.kernels.winners import Tile

Record = dict[str, Any]
NAMES = ("bfloat16", "float16", "float32", "tf32")
EVEN, RAGGED = (2, 64, 32, 32), (2, 37, 9, 11)  # N, C, H, W: a true layer's alignment, and none
FOLD_SHAPES = [64, 64, 3, 1, 3, 64, 1, 0]


class Case:
    """One call of a kernel, with the composite that judges it."""

    def __init__(self, name: str, op: Callable[..., Any], composite: Callable[..., Any], arguments: list[Any]) -> None:
        self.name, self.op, self._composite, self.arguments = name, op, composite, arguments

    def run(self) -> list[Tensor]:
        return _listed(self.op(*self.arguments))

    def judge(self, name: str) -> Record:
        """The worst of the outputs, as a record."""
        torch.backends.cudnn.allow_tf32 = name == "tf32"
        wide = [x.double() if _is_float(x) else x for x in self.arguments]
        outputs = self.run(), _listed(self._composite(*self.arguments)), _listed(self._composite(*wide))
        results = [three_way(*one, name) for one in zip(*outputs, strict=True)]
        worst = max(results, key=lambda c: (not c.passed, c.error / c.limit if c.limit else 0.0))
        return {"case": self.name, "dtype": name, **asdict(worst), "passed": all(c.passed for c in results)}


def numerics(plan: Plan) -> Iterator[partial[Record]]:
    """Every op in every dtype, then every committed tile of the convolution."""
    for name in NAMES:
        for case in cases(name, plan.device):
            yield partial(case.judge, name)
    for cut in TILES:
        case = _convolution(f"modconv2d {cut}", (1, 128, 32, 32), 128, 3, "bfloat16", plan.device, cut)
        yield partial(case.judge, "bfloat16")


def repeatability(plan: Plan) -> Iterator[partial[Record]]:
    """The same bits every time; memory that a kernel leaves unwritten holds NaN."""
    for case in cases("bfloat16", plan.device):
        yield partial(_repeated, case, plan.repetitions)


def _repeated(case: Case, repetitions: int) -> Record:
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills new tensors with NaN
    first = [x.clone() for x in case.run()]
    different = sum(
        not all(torch.equal(a, b) for a, b in zip(first, case.run(), strict=True)) for _ in range(repetitions)
    )
    finite = all(bool(x.isfinite().all()) for x in first)
    torch.use_deterministic_algorithms(False)
    passed = finite and not different
    return {"case": case.name, "runs": repetitions, "different": different, "finite": finite, "passed": passed}


def cases(name: str, device: str) -> Iterator[Case]:
    """Every op once on each shape; `name` is a row of `tolerances.FLOORS`."""
    dtype = getattr(torch, "float32" if name == "tf32" else name)
    if name != "tf32":
        for shape, up in ((EVEN, True), (RAGGED, False)):
            y, demod, bias, residual, noise, style = _terms(shape, dtype, device, up)
            terms = [y, demod, bias, residual, noise]
            yield Case(
                f"scaling_epilogue {shape}", torch.ops.cmgan.scaling_epilogue, epilogue.scaling_composite,
                [*terms, style, up],
            )  # fmt: skip
            yield Case(
                f"spatial_epilogue {shape}", torch.ops.cmgan.spatial_epilogue, spatial.composite,
                [y, demod, bias, noise, residual, style, up],
            )  # fmt: skip
        packed = torch.randn(64 * 64 * 9 + 3 * 64, device=device).to(dtype)
        styles = torch.randn(128, device=device).to(dtype)
        rows = fold.row_table(FOLD_SHAPES).to(device)
        yield Case("fold_weights", torch.ops.cmgan.fold_weights, fold.composite, [packed, rows, styles, FOLD_SHAPES])
    yield _convolution("modconv2d 3x3", EVEN, 64, 3, name, device, TILES[0])
    yield _convolution("modconv2d 3x3 ragged", RAGGED, 13, 3, name, device, TILES[0])
    yield _convolution("modconv2d 1x1", EVEN, 3, 1, name, device, TILES[-1])


def _convolution(title: str, shape: tuple[int, ...], out: int, size: int, name: str, device: str, cut: Tile) -> Case:
    dtype = getattr(torch, "float32" if name == "tf32" else name)
    n, c, h, w = shape
    x = torch.randn(shape, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
    weight = (torch.randn(out, c, size, size, device=device) / (c * size * size) ** 0.5).to(dtype)
    _, demod, bias, residual, noise, _ = _terms((n, out, h, w), dtype, device, False)
    style = _terms(shape, dtype, device, False)[-1]
    values = [cut.positions, cut.channels, cut.depth, cut.warps, cut.stages]
    arguments = [x, weight, style, demod, bias, residual, noise, True, values, name == "tf32"]
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
