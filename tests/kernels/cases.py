"""Shapes, each with its reason, and seeded arguments for them."""

from __future__ import annotations

import torch
from torch import Tensor

SHAPES = {  # N, C, H, W of the output
    "smallest": (1, 1, 1, 1),
    "ragged tiles, a batch": (2, 16, 9, 7),
    "primes": (3, 37, 5, 11),
    "one row, more channels than a tile": (1, 70, 1, 3),
    "a layer of tiny-64": (1, 32, 32, 32),
}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def randn(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, dtype=torch.float32).to(dtype)


def positive(*shape: int, dtype: torch.dtype) -> Tensor:
    return (torch.rand(*shape, dtype=torch.float32) + 0.5).to(dtype)


def double(arguments: list) -> list:
    return [x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in arguments]


def epilogue_arguments(shape: tuple[int, ...], dtype: torch.dtype, *, up: bool, last: bool) -> list:
    """y, demod, bias, residual, noise of `epilogue`."""
    n, c, h, w = shape
    order = torch.channels_last if last else torch.contiguous_format
    y = randn(n, c, h + up, w + up, dtype=dtype).contiguous(memory_format=order)
    return [
        y,
        positive(n, c, dtype=dtype),
        randn(c, dtype=dtype),
        randn(n, c, h, w, dtype=dtype),
        randn(1, 1, h, w, dtype=dtype),
    ]


def spatial_arguments(shape: tuple[int, ...], dtype: torch.dtype, *, up: bool, last: bool) -> list:
    """y, demod, bias, noise, scale_map, alpha of `spatial_epilogue`; a noise map for each sample."""
    n, c, h, w = shape
    y, demod, bias, scale_map, _ = epilogue_arguments(shape, dtype, up=up, last=last)
    return [y, demod, bias, randn(n, 1, h, w, dtype=dtype), scale_map, randn(n, c, dtype=dtype)]


def convolution_arguments(shape: tuple[int, ...], out: int, size: int, dtype: torch.dtype) -> list:
    """x, weight, style, demod, bias, residual, noise of `modconv2d`."""
    n, c, h, w = shape
    weight = (torch.randn(out, c, size, size) / (c * size * size) ** 0.5).to(dtype)
    _, demod, bias, residual, noise = epilogue_arguments((n, out, h, w), dtype, up=False, last=True)
    return [randn(n, c, h, w, dtype=dtype), weight, positive(n, c, dtype=dtype), demod, bias, residual, noise]
