"""Every kernel in every form in use, with arguments for it: what the tests, the GPU check and the static report run.

A new kernel has a file, and a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cmgan.kernels import demodulate, epilogue, fold, halve, modconv2d, spatial, spectrum, stem, to_rgb

Shape = tuple[int, int, int, int]  # N, C, H, W of the map
Arguments = list[Any]


@dataclass(frozen=True)
class Entry:
    """A form of an op. `arguments` makes them for a map of that shape and dtype, from PyTorch's random numbers;
    `matrix` says that it multiplies on matrix units, `wide` that it reads and writes 128 bits at once."""

    name: str
    op: Any
    composite: Callable[..., Any]
    arguments: Callable[[Shape, torch.dtype], Arguments]
    matrix: bool = False
    wide: bool = True


def _map(n: int, c: int, h: int, w: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(n, c, h, w).to(dtype).contiguous(memory_format=torch.channels_last)


def _slice(n: int, c: int, h: int, w: int, dtype: torch.dtype) -> Tensor:
    """Half of the channels of a map, as they lie."""
    return _map(n, 2 * c, h, w, dtype)[:, c:]


def _positive(*size: int) -> Tensor:
    return torch.rand(*size) + 0.5


def _terms(shape: Shape, dtype: torch.dtype, *, up: bool = False) -> Arguments:
    """y, demod, bias, residual, noise of an epilogue."""
    n, c, h, w = shape
    y, residual = _map(n, c, h + up, w + up, dtype), _slice(*shape, dtype)
    return [y, _positive(n, c), torch.randn(c), residual, torch.randn(1, 1, h, w).to(dtype)]


def _epilogue(shape: Shape, dtype: torch.dtype) -> Arguments:
    return [*_terms(shape, dtype), None, False]


def _folded(shape: Shape, dtype: torch.dtype) -> Arguments:
    y, _, bias, residual, _ = _terms(shape, dtype, up=True)
    return [y, None, bias, residual, None, None, True]


def _styled(shape: Shape, dtype: torch.dtype) -> Arguments:
    y, demod, bias, _, _ = _terms(shape, dtype)
    return [y, demod, bias, None, None, torch.randn(*shape[:2]), False]


def _scaling(shape: Shape, dtype: torch.dtype) -> Arguments:
    return [*_terms(shape, dtype, up=True), torch.randn(*shape[:2]), True]


def _spatial(shape: Shape, dtype: torch.dtype, *, up: bool) -> Arguments:
    y, demod, bias, _, _ = _terms(shape, dtype, up=up)
    n, c, h, w = shape
    return [y, demod, bias, torch.randn(n, 1, h, w).to(dtype), _slice(*shape, dtype), torch.randn(n, c), up]


def _weights(shape: Shape, dtype: torch.dtype) -> tuple[list[Tensor], list[int]]:
    """Two 3x3 layers of other widths, C to C and C to half of it, and their Co, Ci and first style."""
    c = shape[1]
    sizes = [(c, c), (max(1, c // 2), c)]
    weights = [torch.randn(out, into, 3, 3).to(dtype) for out, into in sizes]
    return weights, [c, c, 0, max(1, c // 2), c, c]


def _fold(shape: Shape, dtype: torch.dtype, *, transposed: bool) -> Arguments:
    weights, sizes = _weights(shape, dtype)
    packed = fold.pack(weights, transposed=transposed)
    return [packed, fold.fold_rows(sizes), torch.randn(2 * shape[1]), sizes, transposed]


def _demodulate(shape: Shape, dtype: torch.dtype, *, tiles: int) -> Arguments:
    weights, sizes = _weights(shape, torch.float32)
    values = torch.randn(shape[0], tiles, 2 * shape[1])
    values, factor = (values, 0.0) if tiles == 1 else (values.square(), 1 / tiles)
    return [values, demodulate.squares_of(weights), demodulate.demodulation_rows(sizes), sizes, factor]


def _rgb(shape: Shape, dtype: torch.dtype, *, skip: bool, level: bool = False) -> Arguments:
    n, c, h, w = shape
    x = _map(n, c, 2 * h, 2 * w, dtype)
    weight = (torch.randn(3, c) / c**0.5).to(dtype)
    terms = [torch.randn(n, 3, h, w) if skip else None, None, None]
    if level:
        terms[1:] = [torch.randn(n, 3, 2 * h, 2 * w), torch.rand(n, 1, 2 * h, 2 * w) > 0.5]
    return [x, weight, torch.randn(n, c), torch.randn(3), *terms]


def _stem(shape: Shape, dtype: torch.dtype, *, filled: bool) -> Arguments:
    n, c, h, w = shape
    mask = (torch.rand(n, 1, h, w) > 0.5).float()
    return [torch.randn(n, 3, h, w), mask, torch.randn(4, c).to(dtype), torch.randn(c), filled]


def _enter(shape: Shape, dtype: torch.dtype) -> Arguments:
    return [torch.randn(*shape, 2), torch.randn(shape[1]), 1 / shape[2], torch.empty(0, dtype=dtype)]


def _leave(shape: Shape, dtype: torch.dtype) -> Arguments:
    n, c, h, w = shape
    return [_map(n, 2 * c, h, w, dtype), torch.randn(2 * c), _map(n, 2 * c, h, w, dtype), 1 / h]


def _convolution(shape: Shape, dtype: torch.dtype, *, modulated: bool, tf32: bool = False) -> Arguments:
    n, c, h, w = shape
    out = max(1, c // 2 + 1) if c % 16 else c
    weight = torch.randn(out, c, 3, 3) / (c * 9) ** 0.5
    _, demod, bias, residual, noise = _terms((n, out, h, w), dtype)
    squares = demodulate.squares_of([weight]).unflatten(0, (out, c))
    code = [_positive(n, c), squares, None] if modulated else [None, None, demod]
    return [_map(*shape, dtype), weight.to(dtype), *code, bias, residual, noise, torch.randn(n, out), tf32]


def entries() -> list[Entry]:
    """All of them."""
    return [
        Entry("epilogue", epilogue.epilogue, epilogue.composite, _epilogue),
        Entry("epilogue, folded, up", epilogue.epilogue, epilogue.composite, _folded),
        Entry("epilogue, styled", epilogue.epilogue, epilogue.composite, _styled),
        Entry("scaling_epilogue, up", epilogue.scaling_epilogue, epilogue.scaling_composite, _scaling),
        *(
            Entry(name, spatial.spatial_epilogue, spatial.composite, _with(_spatial, up=up))
            for name, up in (("spatial_epilogue", False), ("spatial_epilogue, up", True))
        ),
        Entry("fold", fold.fold, fold.composite, _with(_fold, transposed=False)),
        Entry("fold, transposed", fold.fold, fold.composite, _with(_fold, transposed=True)),
        Entry("demodulate", demodulate.demodulate, demodulate.composite, _with(_demodulate, tiles=1), wide=False),
        Entry("demodulate, sums", demodulate.demodulate, demodulate.composite, _with(_demodulate, tiles=5), wide=False),
        Entry("filter_before_halving", halve.filter_before_halving, halve.composite, _halve),
        Entry("to_rgb", to_rgb.to_rgb, to_rgb.composite, _with(_rgb, skip=False), wide=False),
        Entry("to_rgb, skip", to_rgb.to_rgb, to_rgb.composite, _with(_rgb, skip=True), wide=False),
        Entry("to_rgb, level", to_rgb.to_rgb, to_rgb.composite, _with(_rgb, skip=True, level=True), wide=False),
        Entry("stem", stem.stem, stem.composite, _with(_stem, filled=False), wide=False),
        Entry("stem, filled", stem.stem, stem.composite, _with(_stem, filled=True), wide=False),
        Entry("enter_spectrum", spectrum.enter_spectrum, spectrum.entering_composite, _enter, wide=False),
        Entry("leave_spectrum", spectrum.leave_spectrum, spectrum.leaving_composite, _leave, wide=False),
        *(
            Entry(name, modconv2d.modconv2d, modconv2d.composite, _with(_convolution, modulated=modulated), matrix=True)
            for name, modulated in (("modconv2d", True), ("modconv2d, modulated before", False))
        ),
    ]


def _halve(shape: Shape, dtype: torch.dtype) -> Arguments:
    return [_map(*shape, dtype)]


def _with(make: Callable[..., Arguments], **settings: Any) -> Callable[[Shape, torch.dtype], Arguments]:
    return lambda shape, dtype: make(shape, dtype, **settings)


def widened(arguments: Arguments) -> Arguments:
    """The same in float64."""
    return [x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in arguments]


def moved(arguments: Arguments, device: str) -> Arguments:
    """The same on a device, as they lie."""
    return [x.to(device) if isinstance(x, Tensor) else x for x in arguments]


def listed(outputs: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    """What an op gives, as a list."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
