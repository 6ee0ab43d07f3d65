"""The modulated convolution as one kernel: modulation, 3x3 or 1x1 convolution, demodulation and what follows.

An implicit matrix product over channels-last pictures, accumulated in float32. Every tap reads the input again from the
cache, so it can only win where the passes around the convolution cost more than that: few channels, large pictures.
Above 128 channels a library convolution with `epilogue` behind it is the better choice.
"""

from __future__ import annotations

from dataclasses import astuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from cmgan.errors import UsageError
from cmgan.kernels.autograd import op
from cmgan.kernels.epilogue import activated, before_activation, finished
from cmgan.kernels.launch import check_operands, laid_out, traceable
from cmgan.kernels.winners import Tile
from cmgan.model.functional import CLAMP, GAIN, SLOPE, activate

PANEL = 8  # tiles of positions that walk over the output channels together, so that the weights stay in the cache


@triton.jit
def tile_of(program, P, CO, BM: tl.constexpr, BN: tl.constexpr, PANEL: tl.constexpr):
    """The positions and output channels of a program; panels of PANEL tiles share the weights."""
    rows, columns = tl.cdiv(P, BM), tl.cdiv(CO, BN)
    first = program // (PANEL * columns) * PANEL
    height = tl.minimum(rows - first, PANEL)
    inner = program % (PANEL * columns)
    return (first + inner % height) * BM + tl.arange(0, BM), inner // height * BN + tl.arange(0, BN)


@triton.jit
def modconv2d_kernel(
    x_ptr,  # (N, H, W, CI)
    weight_ptr,  # (CO, SIZE, SIZE, CI)
    style_ptr,  # (N, CI), or None where x is modulated already
    demod_ptr,  # (N, CO) or None
    bias_ptr,  # (CO,) or None
    residual_ptr,  # (N, H, W, CO) or None
    noise_ptr,  # (N or 1, 1, H, W) or None
    H,
    W,
    CI,
    CO,
    noise_step,  # H * W, or 0 where the batch shares one noise map
    out_ptr,  # (N, H, W, CO)
    SLOPE: tl.constexpr,
    GAIN: tl.constexpr,
    CLAMP: tl.constexpr,
    SIZE: tl.constexpr,  # 1 or 3
    ACTIVATE: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    STAGES: tl.constexpr,
    PANEL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    n = tl.program_id(1)
    P = H * W
    p, o = tile_of(tl.program_id(0), P, CO, BM, BN, PANEL)
    x_n = x_ptr + n.to(tl.int64) * P * CI
    steps = tl.cdiv(CI, BK)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for step in tl.range(0, SIZE * SIZE * steps, num_stages=STAGES):
        tap = step // steps
        c = step % steps * BK + tl.arange(0, BK)
        row, column = p // W + tap // SIZE - SIZE // 2, p % W + tap % SIZE - SIZE // 2
        known = (p < P) & (row >= 0) & (row < H) & (column >= 0) & (column < W)
        x = tl.load(
            x_n + (row * W + column)[:, None] * CI + c[None, :], mask=known[:, None] & (c < CI)[None, :], other=0.0
        )
        w = tl.load(
            weight_ptr + o[None, :] * (SIZE * SIZE * CI) + (tap * CI + c)[:, None],
            mask=(c < CI)[:, None] & (o < CO)[None, :],
            other=0.0,
        )
        if style_ptr is not None:
            s = tl.load(style_ptr + n * CI + c, mask=c < CI, other=0.0).to(tl.float32)
            x = (x.to(tl.float32) * s[None, :]).to(x.dtype)
        total = tl.dot(x, w, total, input_precision=PRECISION)
    total = finished(total, demod_ptr, bias_ptr, noise_ptr, n, p, o, P, CO, noise_step)
    inside = (p < P)[:, None] & (o < CO)[None, :]
    offset = n.to(tl.int64) * P * CO + p[:, None] * CO + o[None, :]
    if residual_ptr is not None:
        total += tl.load(residual_ptr + offset, mask=inside, other=0.0).to(tl.float32)
    if ACTIVATE:
        total = activated(total, SLOPE, GAIN, CLAMP)
    tl.store(out_ptr + offset, total.to(out_ptr.dtype.element_ty), mask=inside)


def composite(
    x: Tensor,
    weight: Tensor,
    style: Tensor | None,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    noise: Tensor | None,
    act: bool,
    tile: list[int],
    tf32: bool,
) -> Tensor:
    """`modconv2d` in PyTorch's own operations."""
    y = x if style is None else x * style[:, :, None, None]
    y = F.conv2d(y.to(x.dtype), weight.to(x.dtype), padding=weight.shape[-1] // 2)
    y = before_activation(y, demod, bias, residual, noise)
    return (activate(y) if act else y).to(x.dtype)


@op("modconv2d", composite)
def _modconv2d(
    x: Tensor,
    weight: Tensor,
    style: Tensor | None,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    noise: Tensor | None,
    act: bool,
    tile: list[int],
    tf32: bool,
) -> Tensor:
    check_operands(x, weight, style, demod, bias, residual, noise)
    n, channels_in, height, width = x.shape
    channels_out, size = weight.shape[0], weight.shape[-1]
    out = torch.empty(
        (n, channels_out, height, width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
    x, weight = laid_out(x, channels_last=True), laid_out(weight.to(x.dtype), channels_last=True)
    residual = None if residual is None else laid_out(residual, channels_last=True)
    style, demod, bias = (None if v is None else v.contiguous() for v in (style, demod, bias))
    noise_step = 0 if noise is None or len(noise) == 1 else height * width
    noise = None if noise is None else noise.contiguous()
    positions, channels, depth, warps, stages = tile
    traceable(modconv2d_kernel)[
        (triton.cdiv(height * width, positions) * triton.cdiv(channels_out, channels), n)
    ](
        x, weight, style, demod, bias, residual, noise, height, width, channels_in, channels_out, noise_step, out,
        SLOPE=SLOPE, GAIN=GAIN, CLAMP=CLAMP, SIZE=size, ACTIVATE=act, BM=positions, BN=channels, BK=depth,
        STAGES=stages, PANEL=PANEL, PRECISION="tf32" if tf32 else "ieee", num_warps=warps,
    )  # fmt: skip
    return out


def modconv2d(
    x: Tensor,
    weight: Tensor,
    style: Tensor | None,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None = None,
    noise: Tensor | None = None,
    *,
    act: bool = True,
    tile: Tile,
    tf32: bool = False,
) -> Tensor:
    """activate(demod * conv(x * style, weight) + bias + residual + noise), accumulated in float32.

    Args:
        x: (N, Ci, H, W) float32, float16 or bfloat16. weight: (Co, Ci, k, k), k 1 or 3, used in x's dtype.
        style: (N, Ci). demod: (N, Co). bias: (Co,). residual: (N, Co, H, W). noise: (N or 1, 1, H, W). Any may be None.
        act: activate; without it the sum is returned as it is (to-RGB).
        tile: how the product is cut. tf32: let float32 products use the tensor cores' 10-bit mantissa.

    Returns:
        (N, Co, H, W) of x's dtype, channels last.

    Raises:
        UsageError: a dtype, a size or a kernel size that the kernel does not take.
    """
    if weight.shape[-1] not in (1, 3):
        raise UsageError("kernel_size", f"a kernel of {weight.shape[-1]}; 1 and 3 are supported")
    return _modconv2d(x, weight, style, demod, bias, residual, noise, act, list(astuple(tile)), tf32)
