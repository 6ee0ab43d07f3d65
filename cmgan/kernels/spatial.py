"""Spatial modulation behind a convolution, in one pass: SB's first layer ends with the second one's scale map.

scaled = activate(demod * y + bias + noise) * A and E[A^2], A = A0 + alpha (CM-GAN, section 3.2). A is never stored:
eager PyTorch writes it and reads it twice. Each tile keeps its own sums of A^2, which are added afterwards in a fixed
order, so that every run gives the same bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.epilogue import activated, before_activation, finished, placed, raw_tile
from cmgan.kernels.launch import check_operands, is_channels_last, laid_out, tile, traceable
from cmgan.model.functional import CLAMP, GAIN, SLOPE, activate, filter_after_doubling


@triton.jit
def spatial_kernel(
    y_ptr,  # (N, C, H, W); with UP (N, C, H + 1, W + 1)
    demod_ptr,  # (N, C) or None
    bias_ptr,  # (C,)
    noise_ptr,  # (N or 1, 1, H, W)
    map_ptr,  # A0, (N, C, H, W)
    alpha_ptr,  # (N, C)
    H,
    W,
    C,
    noise_step,  # H * W, or 0 where the batch shares one noise map
    scaled_ptr,  # (N, C, H, W)
    sums_ptr,  # of A^2, float32 (N, tiles of positions, C)
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
    tile_p = tl.program_id(0) // blocks
    p = tile_p * BP + tl.arange(0, BP)
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    inside = (p < P)[:, None] & (c < C)[None, :]
    offset = n.to(tl.int64) * P * C + placed(p, c, P, C, CHANNELS_LAST)
    v = raw_tile(y_ptr, n, p, c, H, W, C, UP, CHANNELS_LAST)
    v = activated(finished(v, demod_ptr, bias_ptr, noise_ptr, n, p, c, P, C, noise_step), SLOPE, GAIN, CLAMP)
    scale = tl.load(map_ptr + offset, mask=inside, other=0.0).to(tl.float32)
    scale += tl.load(alpha_ptr + n * C + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    tl.store(scaled_ptr + offset, (v * scale).to(scaled_ptr.dtype.element_ty), mask=inside)
    sums = tl.sum(tl.where(inside, scale * scale, 0.0), 0)
    tl.store(sums_ptr + (n * tl.cdiv(P, BP) + tile_p) * C + c, sums, mask=c < C)


def composite(
    y: Tensor, demod: Tensor | None, bias: Tensor, noise: Tensor, scale_map: Tensor, alpha: Tensor, up: bool
) -> tuple[Tensor, Tensor]:
    """`spatial_epilogue` in PyTorch's own operations."""
    scale = scale_map + alpha[:, :, None, None]
    raw = filter_after_doubling(y) if up else y
    scaled = activate(before_activation(raw, demod, bias, None, noise)) * scale
    wide = torch.promote_types(scale.dtype, torch.float32)
    return scaled.to(y.dtype), scale.to(wide).square().mean((2, 3))


@op("spatial_epilogue", composite)
def _spatial_epilogue(
    y: Tensor, demod: Tensor | None, bias: Tensor, noise: Tensor, scale_map: Tensor, alpha: Tensor, up: bool
) -> tuple[Tensor, Tensor]:
    check_operands(y, demod, bias, noise, scale_map, alpha)
    last = is_channels_last(y)
    y, scale_map = laid_out(y, channels_last=last), laid_out(scale_map, channels_last=last)
    scaled = torch.empty_like(scale_map, dtype=y.dtype)
    n, channels, height, width = scaled.shape
    positions, block = tile(channels, up=up)
    tiles = triton.cdiv(height * width, positions)
    sums = torch.empty((n, tiles, channels), dtype=torch.float32, device=y.device)
    demod = None if demod is None else demod.contiguous()
    vectors = demod, bias.contiguous(), noise.contiguous(), scale_map, alpha.contiguous()
    shape = height, width, channels, 0 if len(noise) == 1 else height * width
    traceable(spatial_kernel)[(tiles * triton.cdiv(channels, block), n)](
        y, *vectors, *shape, scaled, sums,
        SLOPE=SLOPE, GAIN=GAIN, CLAMP=CLAMP, UP=up, CHANNELS_LAST=last, BP=positions, BC=block,
    )  # fmt: skip
    return scaled, sums.sum(1) / (height * width)


def spatial_epilogue(
    y: Tensor,
    demod: Tensor | None,
    bias: Tensor,
    noise: Tensor,
    scale_map: Tensor,
    alpha: Tensor,
    *,
    up: bool = False,
) -> tuple[Tensor, Tensor]:
    """activate(demod * y + bias + noise) * A and the mean of A^2 over positions, A = A0 + alpha.

    Args:
        y: (N, C, H, W) float32, float16 or bfloat16; with `up` (N, C, H + 1, W + 1), what `transposed_conv2d` returns.
        demod: (N, C) or None. bias: (C,). noise: (N or 1, 1, H, W). scale_map A0: (N, C, H, W). alpha: (N, C).

    Returns:
        (N, C, H, W) of y's dtype and memory format, and float32 (N, C).

    Raises:
        UsageError: a dtype or a size that the kernel does not take.
    """
    return _spatial_epilogue(y, demod, bias, noise, scale_map, alpha, up)
