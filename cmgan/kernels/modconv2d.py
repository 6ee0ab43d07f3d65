"""The modulated convolution as one kernel: modulation, 3x3 convolution, demodulation and what follows.

An implicit matrix product over channels-last pictures, accumulated in float32. In front of it each program makes the
demodulation of its output channels, from the style and the sums of squared weights, which never change. Every tap reads
the input again from the cache, so it can only win where the passes around the convolution cost more than that: few
channels, large pictures. `cmgan.kernels.choose` says where.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.epilogue import activated, before_activation, finished, row_tile
from cmgan.kernels.launch import by_sample, channels_last, check_operands, in_rows, new_map, noise_of, wrap_triton
from cmgan.model.functional import CLAMP, DEMODULATION_EPSILON, GAIN, SLOPE, activate

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
def demodulation_of(style_ptr, squares_ptr, o, CI, CO, EPSILON: tl.constexpr, BK: tl.constexpr):
    """1 / sqrt(sum_i s_i^2 W_oi + eps) of the output channels o."""
    energy = tl.zeros(o.shape, dtype=tl.float32)
    for start in tl.range(0, CI, BK, num_stages=1):  # too short to be worth copies ahead
        c = start + tl.arange(0, BK)
        s = tl.load(style_ptr + c, mask=c < CI, other=0.0).to(tl.float32)
        inside = (o < CO)[None, :] & (c < CI)[:, None]
        w = tl.load(squares_ptr + o[None, :] * CI + c[:, None], mask=inside, other=0.0)
        energy += tl.sum(w * (s * s)[:, None], 0)
    return tl.rsqrt(energy + EPSILON)


@triton.jit
def modconv2d_kernel(
    x_ptr,  # (N, H, W, CI)
    weight_ptr,  # (CO, 3, 3, CI)
    style_ptr,  # (N, CI), or None where x is modulated already
    squares_ptr,  # float32 (CO, CI), sums over the taps of weight^2, or None as style_ptr
    demod_ptr,  # (N, CO) or None
    bias_ptr,  # (CO,) or None
    residual_ptr,  # (N, H, W, CO) in rows of residual_step, or None
    noise_ptr,  # (N or 1, H, W) or None
    after_ptr,  # (N, CO) or None
    H,
    W,
    CI,
    CO,
    style_step,
    demod_step,
    residual_step,
    noise_step,
    after_step,
    out_ptr,  # (N, H, W, CO)
    SLOPE: tl.constexpr,
    GAIN: tl.constexpr,
    CLAMP: tl.constexpr,
    EPSILON: tl.constexpr,
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
    for step in tl.range(0, 9 * steps, num_stages=STAGES):
        tap = step // steps
        c = step % steps * BK + tl.arange(0, BK)
        row, column = p // W + tap // 3 - 1, p % W + tap % 3 - 1
        known = (p < P) & (row >= 0) & (row < H) & (column >= 0) & (column < W)
        source = x_n + (row * W + column)[:, None] * CI + c[None, :]
        x = tl.load(source, mask=known[:, None] & (c < CI)[None, :], other=0.0)
        taps = weight_ptr + o[None, :] * (9 * CI) + (tap * CI + c)[:, None]
        w = tl.load(taps, mask=(c < CI)[:, None] & (o < CO)[None, :], other=0.0)
        if style_ptr is not None:
            s = tl.load(style_ptr + n * style_step + c, mask=c < CI, other=0.0).to(tl.float32)
            x = (x.to(tl.float32) * s[None, :]).to(x.dtype)
        total = tl.dot(x, w, total, input_precision=PRECISION)
    if style_ptr is not None:
        total *= demodulation_of(style_ptr + n * style_step, squares_ptr, o, CI, CO, EPSILON, BK)[None, :]
    total = finished(total, demod_ptr, demod_step, bias_ptr, noise_ptr, noise_step, n, p, o, P, CO)
    inside = (p < P)[:, None] & (o < CO)[None, :]
    if residual_ptr is not None:
        total += row_tile(residual_ptr, residual_step, n, p, o, inside, P)
    total = activated(total, SLOPE, GAIN, CLAMP)
    if after_ptr is not None:
        total *= tl.load(after_ptr + n * after_step + o, mask=o < CO, other=0.0).to(tl.float32)[None, :]
    offset = n.to(tl.int64) * P * CO + p[:, None] * CO + o[None, :]
    tl.store(out_ptr + offset, total.to(out_ptr.dtype.element_ty), mask=inside)


def cut(channels_in: int, channels_out: int) -> tuple[int, int, int, int, int]:
    """Positions, output channels and input channels of a tile, warps, stages: as wide as the layer, 64 at most, so that
    small layers do no padded work."""
    out, into = (min(64, max(16, triton.next_power_of_2(c))) for c in (channels_out, channels_in))
    return 128, out, into, 4, 3 if into == 64 else 4


def composite(
    x: Tensor,
    weight: Tensor,
    style: Tensor | None,
    squares: Tensor | None,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    noise: Tensor | None,
    after: Tensor | None,
    tf32: bool,
) -> Tensor:
    """`modconv2d` in PyTorch's own operations."""
    y = x if style is None else x * style[:, :, None, None]
    y = F.conv2d(y.to(x.dtype), weight.to(x.dtype), padding=1)
    if style is not None and squares is not None:
        wide = style.to(squares.dtype).square()
        y = y * torch.rsqrt(wide @ squares.t() + DEMODULATION_EPSILON)[:, :, None, None]
    y = activate(before_activation(y, demod, bias, residual, noise))
    return channels_last((y if after is None else y * after[:, :, None, None]).to(x.dtype))


@op("modconv2d", composite)
def modconv2d(
    x: Tensor,
    weight: Tensor,
    style: Tensor | None = None,
    squares: Tensor | None = None,
    demod: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    noise: Tensor | None = None,
    after: Tensor | None = None,
    tf32: bool = False,
) -> Tensor:
    """activate(demod * conv(x * style, weight) + bias + residual + noise) * after, accumulated in float32.

    Args:
        x: (N, Ci, H, W) float32, float16 or bfloat16. weight: (Co, Ci, 3, 3), used in x's dtype.
        style: (N, Ci), and with it squares: float32 (Co, Ci), the sums over the taps of the squared weights, from
            which the kernel makes the demodulation. Without them x is modulated already, and demod: (N, Co).
        bias: (Co,). residual: (N, Co, H, W). noise: (N or 1, 1, H, W). after: (N, Co), the next layer's style.
        tf32: let float32 products use the tensor cores' 10-bit mantissa.

    Returns:
        (N, Co, H, W) of x's dtype, channels last.

    Raises:
        UsageError: a dtype or a size that the kernel does not take.
    """
    check_operands(x, weight, style, squares, demod, bias, residual, noise, after)
    n, channels_in, height, width = x.shape
    channels = len(weight)
    out = new_map(x, channels, height, width)
    x, weight = channels_last(x), channels_last(weight.to(x.dtype))
    style, style_step = by_sample(style)
    demod, demod_step = by_sample(demod)
    residual, residual_step = in_rows(residual)
    noise, noise_step = noise_of(noise)
    after, after_step = by_sample(after)
    steps = style_step, demod_step, residual_step, noise_step, after_step
    positions, wide, depth, warps, stages = cut(channels_in, channels)
    wrap_triton(modconv2d_kernel)[(triton.cdiv(height * width, positions) * triton.cdiv(channels, wide), n)](
        x, weight, style, squares, demod, bias, residual, noise, after, height, width, channels_in, channels, *steps,
        out, SLOPE=SLOPE, GAIN=GAIN, CLAMP=CLAMP, EPSILON=DEMODULATION_EPSILON, BM=positions, BN=wide, BK=depth,
        STAGES=stages, PANEL=PANEL, PRECISION="tf32" if tf32 else "ieee", num_warps=warps,
    )  # fmt: skip
    return out
