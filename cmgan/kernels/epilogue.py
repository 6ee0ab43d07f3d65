"""What follows a convolution, in one pass over the map instead of five.

out = activate(demod * y + bias + residual + noise) * style: with a style, the input of the next modulated layer. With
`up`, y is the raw transposed convolution and the kernel filters it on the way in. Bound by memory: it wins where the
map does not fit the cache, and saves launches where it does.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.launch import by_sample, channels_last, check_operands, in_rows, new_map, noise_of, tile, wrap_triton
from cmgan.model.functional import CLAMP, GAIN, SLOPE, activate, filter_after_doubling


@triton.jit
def activated(v, SLOPE: tl.constexpr, GAIN: tl.constexpr, CLAMP: tl.constexpr):
    """Leaky ReLU, gain, clamp; NaN stays NaN."""
    v = tl.where(v > 0, v, v * SLOPE) * GAIN
    return tl.clamp(v, -CLAMP, CLAMP, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def tile_of_map(P, C, BP: tl.constexpr, BC: tl.constexpr):
    """Positions (BP,) and channels (BC,) of this program, and which of them there are (BP, BC)."""
    blocks = tl.cdiv(C, BC)
    p = tl.program_id(0) // blocks * BP + tl.arange(0, BP)
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    return p, c, (p < P)[:, None] & (c < C)[None, :]


@triton.jit
def filtered(x_ptr, p, c, inside, WIDTH, H, W, C, PAD: tl.constexpr, GAIN: tl.constexpr):
    """The 4x4 FIR at positions p of rows of WIDTH, of a sample (H, W, C) with PAD zeros around it: float32 (BP, BC)."""
    total = tl.zeros((p.shape[0], c.shape[0]), dtype=tl.float32)
    row, column = p // WIDTH - PAD, p % WIDTH - PAD
    for i in tl.static_range(4):
        for j in tl.static_range(4):
            known = (row >= -i) & (row < H - i) & (column >= -j) & (column < W - j)
            q = row * W + column + (i * W + j)
            weight = (1 + 2 * (i % 3 > 0)) * (1 + 2 * (j % 3 > 0)) * GAIN / 64  # outer([1, 3, 3, 1]) / 64
            source = x_ptr + q[:, None] * C + c[None, :]
            total += tl.load(source, mask=inside & known[:, None], other=0.0).to(tl.float32) * weight
    return total


@triton.jit
def raw_tile(y_ptr, n, p, c, inside, H, W, C, UP: tl.constexpr):
    """Positions p (BP,) and channels c (BC,) of sample n as float32 (BP, BC); with UP through the FIR of gain 4."""
    if UP:
        base = y_ptr + n.to(tl.int64) * (H + 1) * (W + 1) * C
        return filtered(base, p, c, inside, W, H + 1, W + 1, C, 1, 4)
    base = y_ptr + n.to(tl.int64) * H * W * C
    return tl.load(base + p[:, None] * C + c[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit
def finished(raw, demod_ptr, demod_step, bias_ptr, noise_ptr, noise_step, n, p, c, P, C):
    """demod * raw + bias + noise, float32 (BP, BC); terms whose pointer is None compile away."""
    if demod_ptr is not None:
        raw = raw * tl.load(demod_ptr + n * demod_step + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    if bias_ptr is not None:
        raw = raw + tl.load(bias_ptr + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    if noise_ptr is not None:
        raw = raw + tl.load(noise_ptr + n * noise_step + p, mask=p < P, other=0.0).to(tl.float32)[:, None]
    return raw


@triton.jit
def row_tile(x_ptr, step, n, p, c, inside, P):
    """Positions and channels of a map whose rows are `step` long, float32 (BP, BC)."""
    base = x_ptr + n.to(tl.int64) * P * step
    return tl.load(base + p[:, None] * step + c[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit
def epilogue_kernel(
    y_ptr,  # (N, H, W, C); with UP (N, H + 1, W + 1, C)
    demod_ptr,  # (N, C) or None
    bias_ptr,  # (C,) or None
    residual_ptr,  # (N, H, W, C) in rows of residual_step, or None
    noise_ptr,  # (N or 1, H, W) or None
    style_ptr,  # (N, C) or None
    H,
    W,
    C,
    demod_step,
    residual_step,
    noise_step,
    style_step,
    out_ptr,  # (N, H, W, C), without the style, or None
    scaled_ptr,  # (N, H, W, C), times the style, or None as style_ptr
    SLOPE: tl.constexpr,
    GAIN: tl.constexpr,
    CLAMP: tl.constexpr,
    UP: tl.constexpr,
    BP: tl.constexpr,
    BC: tl.constexpr,
):
    n = tl.program_id(1)
    P = H * W
    p, c, inside = tile_of_map(P, C, BP, BC)
    offset = n.to(tl.int64) * P * C + p[:, None] * C + c[None, :]
    v = raw_tile(y_ptr, n, p, c, inside, H, W, C, UP)
    v = finished(v, demod_ptr, demod_step, bias_ptr, noise_ptr, noise_step, n, p, c, P, C)
    if residual_ptr is not None:
        v += row_tile(residual_ptr, residual_step, n, p, c, inside, P)
    v = activated(v, SLOPE, GAIN, CLAMP)
    if out_ptr is not None:
        tl.store(out_ptr + offset, v.to(out_ptr.dtype.element_ty), mask=inside)
    if style_ptr is not None:
        v *= tl.load(style_ptr + n * style_step + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
        tl.store(scaled_ptr + offset, v.to(scaled_ptr.dtype.element_ty), mask=inside)


def _launch(y: Tensor, terms: tuple[Tensor | None, ...], *, up: bool, plain: bool) -> tuple[Tensor | None, ...]:
    """The outputs without and with the style; `terms` are demod, bias, residual, noise and style."""
    check_operands(y, *terms)
    demod, bias, residual, noise, style = terms
    y = channels_last(y)
    _, channels, height, width = y.shape
    height, width = height - up, width - up
    out = new_map(y, channels, height, width) if plain else None
    scaled = None if style is None else new_map(y, channels, height, width)
    demod, demod_step = by_sample(demod)
    residual, residual_step = in_rows(residual)
    noise, noise_step = noise_of(noise)
    style, style_step = by_sample(style)
    steps = demod_step, residual_step, noise_step, style_step
    positions, block = tile(channels, taps=16 if up else 1)
    grid = (triton.cdiv(height * width, positions) * triton.cdiv(channels, block), len(y))
    wrap_triton(epilogue_kernel)[grid](
        y, demod, bias, residual, noise, style, height, width, channels, *steps, out, scaled,
        SLOPE=SLOPE, GAIN=GAIN, CLAMP=CLAMP, UP=up, BP=positions, BC=block,
    )  # fmt: skip
    return out, scaled


def before_activation(
    y: Tensor, demod: Tensor | None, bias: Tensor | None, residual: Tensor | None, noise: Tensor | None
) -> Tensor:
    """demod * y + bias + residual + noise in PyTorch's own operations, the order of the reference."""
    y = y if demod is None else y * demod[:, :, None, None]
    y = y if bias is None else y + bias[:, None, None]
    y = y if residual is None else y + residual
    return y if noise is None else y + noise


def scaling_composite(
    y: Tensor,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    noise: Tensor | None,
    style: Tensor,
    up: bool,
) -> tuple[Tensor, Tensor]:
    """`scaling_epilogue` in PyTorch's own operations: what CPU tensors take, and what gradients go through."""
    raw = filter_after_doubling(y) if up else y
    out = activate(before_activation(raw, demod, bias, residual, noise))
    return channels_last(out.to(y.dtype)), channels_last((out * style[:, :, None, None]).to(y.dtype))


def composite(
    y: Tensor,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    noise: Tensor | None,
    style: Tensor | None,
    up: bool,
) -> Tensor:
    """`epilogue` in PyTorch's own operations."""
    raw = filter_after_doubling(y) if up else y
    out = activate(before_activation(raw, demod, bias, residual, noise))
    return channels_last((out if style is None else out * style[:, :, None, None]).to(y.dtype))


@op("epilogue", composite)
def epilogue(
    y: Tensor,
    demod: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    noise: Tensor | None = None,
    style: Tensor | None = None,
    up: bool = False,
) -> Tensor:
    """activate(demod * y + bias + residual + noise) * style.

    Args:
        y: (N, C, H, W) float32, float16 or bfloat16; with `up` (N, C, H + 1, W + 1), what `transposed_conv2d` returns.
        demod: (N, C). bias: (C,). residual: (N, C, H, W). noise: (N or 1, 1, H, W). style: (N, C).

    Returns:
        (N, C, H, W) of y's dtype, channels last.

    Raises:
        UsageError: a dtype or a size that the kernel does not take.
    """
    out, scaled = _launch(y, (demod, bias, residual, noise, style), up=up, plain=style is None)
    found = out if scaled is None else scaled
    assert found is not None
    return found


@op("scaling_epilogue", scaling_composite)
def scaling_epilogue(
    y: Tensor,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    noise: Tensor | None,
    style: Tensor,
    up: bool = False,
) -> tuple[Tensor, Tensor]:
    """`epilogue` without and with the style: what this scale goes on with, and the input of the layer that follows."""
    out, scaled = _launch(y, (demod, bias, residual, noise, style), up=up, plain=True)
    assert out is not None and scaled is not None
    return out, scaled
