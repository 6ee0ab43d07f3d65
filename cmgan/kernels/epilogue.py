"""What follows a convolution, in one pass over the activation instead of five.

out = activate(demod * y + bias + residual + noise), and beside it out * style, the input of the next modulated layer.
With `up`, y is the raw transposed convolution and the kernel filters it on the way in. Bound by memory: it wins where
the activation does not fit the cache, and saves launches where it does.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.launch import check_operands, is_channels_last, laid_out, tile, traceable
from cmgan.model.functional import CLAMP, GAIN, SLOPE, activate, filter_after_doubling


@triton.jit
def activated(v, SLOPE: tl.constexpr, GAIN: tl.constexpr, CLAMP: tl.constexpr):
    """Leaky ReLU, gain, clamp; NaN stays NaN."""
    v = tl.where(v > 0, v, v * SLOPE) * GAIN
    return tl.clamp(v, -CLAMP, CLAMP, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def placed(p, c, P, C, CHANNELS_LAST: tl.constexpr):
    """Where positions p (BP,) and channels c (BC,) of a sample of P positions lie in it: offsets (BP, BC)."""
    return p[:, None] * C + c[None, :] if CHANNELS_LAST else c[None, :] * P + p[:, None]


@triton.jit
def raw_tile(y_ptr, n, p, c, H, W, C, UP: tl.constexpr, CHANNELS_LAST: tl.constexpr):
    """Positions p (BP,) and channels c (BC,) of sample n as float32 (BP, BC); with UP through the 4x4 FIR of gain 4."""
    inside = (p < H * W)[:, None] & (c < C)[None, :]
    if not UP:
        base = y_ptr + n.to(tl.int64) * H * W * C
        return tl.load(base + placed(p, c, H * W, C, CHANNELS_LAST), mask=inside, other=0.0).to(tl.float32)
    plane = (H + 1) * (W + 1)
    base = y_ptr + n.to(tl.int64) * plane * C
    total = tl.zeros((p.shape[0], c.shape[0]), dtype=tl.float32)
    row, column = p // W - 1, p % W - 1
    for i in tl.static_range(4):
        for j in tl.static_range(4):
            known = (row >= -i) & (row <= H - i) & (column >= -j) & (column <= W - j)
            q = row * (W + 1) + column + (i * (W + 1) + j)
            weight = (1 + 2 * (i % 3 > 0)) * (1 + 2 * (j % 3 > 0)) / 16  # outer([1, 3, 3, 1]) / 64 * 4
            source = base + placed(q, c, plane, C, CHANNELS_LAST)
            total += tl.load(source, mask=inside & known[:, None], other=0.0).to(tl.float32) * weight
    return total


@triton.jit
def finished(raw, demod_ptr, bias_ptr, noise_ptr, n, p, c, P, C, noise_step):
    """demod * raw + bias + noise, float32 (BP, BC); terms whose pointer is None compile away."""
    if demod_ptr is not None:
        raw = raw * tl.load(demod_ptr + n * C + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    if bias_ptr is not None:
        raw = raw + tl.load(bias_ptr + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    if noise_ptr is not None:
        raw = raw + tl.load(noise_ptr + n * noise_step + p, mask=p < P, other=0.0).to(tl.float32)[:, None]
    return raw


@triton.jit
def epilogue_kernel(
    y_ptr,  # (N, C, H, W); with UP (N, C, H + 1, W + 1)
    demod_ptr,  # (N, C) or None
    bias_ptr,  # (C,) or None
    residual_ptr,  # (N, C, H, W) or None
    noise_ptr,  # (N or 1, 1, H, W) or None
    style_ptr,  # (N, C) or None
    H,
    W,
    C,
    noise_step,  # H * W, or 0 where the batch shares one noise map
    out_ptr,  # (N, C, H, W)
    scaled_ptr,  # (N, C, H, W) or None, as style_ptr
    SLOPE: tl.constexpr,
    GAIN: tl.constexpr,
    CLAMP: tl.constexpr,
    UP: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    BP: tl.constexpr,
    BC: tl.constexpr,
):
    n = tl.program_id(1)
    P = H * W
    blocks = tl.cdiv(C, BC)
    p = tl.program_id(0) // blocks * BP + tl.arange(0, BP)
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    inside = (p < P)[:, None] & (c < C)[None, :]
    offset = n.to(tl.int64) * P * C + placed(p, c, P, C, CHANNELS_LAST)
    v = raw_tile(y_ptr, n, p, c, H, W, C, UP, CHANNELS_LAST)
    v = finished(v, demod_ptr, bias_ptr, noise_ptr, n, p, c, P, C, noise_step)
    if residual_ptr is not None:
        v += tl.load(residual_ptr + offset, mask=inside, other=0.0).to(tl.float32)
    v = activated(v, SLOPE, GAIN, CLAMP)
    tl.store(out_ptr + offset, v.to(out_ptr.dtype.element_ty), mask=inside)
    if style_ptr is not None:
        v *= tl.load(style_ptr + n * C + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
        tl.store(scaled_ptr + offset, v.to(out_ptr.dtype.element_ty), mask=inside)


def _launch(
    y: Tensor,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    noise: Tensor | None,
    style: Tensor | None,
    up: bool,
) -> tuple[Tensor, Tensor | None]:
    check_operands(y, demod, bias, residual, noise, style)
    last = is_channels_last(y)
    y = laid_out(y, channels_last=last)
    residual = None if residual is None else laid_out(residual, channels_last=last)
    n, channels, height, width = y.shape
    height, width = (height - 1, width - 1) if up else (height, width)
    order = torch.channels_last if last else torch.contiguous_format
    out = torch.empty((n, channels, height, width), dtype=y.dtype, device=y.device, memory_format=order)
    scaled = None if style is None else torch.empty_like(out)
    positions, block = tile(channels, up=up)
    grid = (triton.cdiv(height * width, positions) * triton.cdiv(channels, block), n)
    vectors = (None if v is None else v.contiguous() for v in (demod, bias, style))
    demod, bias, style = vectors
    step = 0 if noise is None or len(noise) == 1 else height * width
    noise = None if noise is None else noise.contiguous()
    shape = height, width, channels, step
    constants = {"SLOPE": SLOPE, "GAIN": GAIN, "CLAMP": CLAMP, "UP": up, "CHANNELS_LAST": last}
    traceable(epilogue_kernel)[grid](
        y, demod, bias, residual, noise, style, *shape, out, scaled, **constants, BP=positions, BC=block
    )
    return out, scaled


def before_activation(
    y: Tensor, demod: Tensor | None, bias: Tensor | None, residual: Tensor | None, noise: Tensor | None
) -> Tensor:
    """demod * y + bias + residual + noise in PyTorch's own operations, the order of the reference."""
    y = y if demod is None else y * demod[:, :, None, None]
    y = y if bias is None else y + bias[:, None, None]
    y = y if residual is None else y + residual
    return y if noise is None else y + noise


def composite(
    y: Tensor, demod: Tensor | None, bias: Tensor | None, residual: Tensor | None, noise: Tensor | None, up: bool
) -> Tensor:
    """`epilogue` in PyTorch's own operations: what exports trace, what CPU tensors take, what gradients go through."""
    raw = filter_after_doubling(y) if up else y
    return activate(before_activation(raw, demod, bias, residual, noise)).to(y.dtype)


def scaling_composite(
    y: Tensor,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    noise: Tensor | None,
    style: Tensor,
    up: bool,
) -> tuple[Tensor, Tensor]:
    """`scaling_epilogue` in PyTorch's own operations."""
    out = composite(y, demod, bias, residual, noise, up)
    return out, (out * style[:, :, None, None]).to(y.dtype)


@op("epilogue", composite)
def _epilogue(
    y: Tensor, demod: Tensor | None, bias: Tensor | None, residual: Tensor | None, noise: Tensor | None, up: bool
) -> Tensor:
    return _launch(y, demod, bias, residual, noise, None, up)[0]


@op("scaling_epilogue", scaling_composite)
def _scaling_epilogue(
    y: Tensor,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    noise: Tensor | None,
    style: Tensor,
    up: bool,
) -> tuple[Tensor, Tensor]:
    out, scaled = _launch(y, demod, bias, residual, noise, style, up)
    assert scaled is not None
    return out, scaled


def epilogue(
    y: Tensor,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None = None,
    noise: Tensor | None = None,
    *,
    up: bool = False,
) -> Tensor:
    """activate(demod * y + bias + residual + noise).

    Args:
        y: (N, C, H, W) float32, float16 or bfloat16; with `up` (N, C, H + 1, W + 1), what `transposed_conv2d` returns.
        demod: (N, C). bias: (C,). residual: (N, C, H, W). noise: (N or 1, 1, H, W). Each may be None.

    Returns:
        (N, C, H, W) of y's dtype and memory format.

    Raises:
        UsageError: a dtype or a size that the kernel does not take.
    """
    return _epilogue(y, demod, bias, residual, noise, up)


def scaling_epilogue(
    y: Tensor,
    demod: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None = None,
    noise: Tensor | None = None,
    *,
    style: Tensor,
    up: bool = False,
) -> tuple[Tensor, Tensor]:
    """`epilogue`, and the same times style (N, C): the input of the layer that follows."""
    return _scaling_epilogue(y, demod, bias, residual, noise, style, up)
