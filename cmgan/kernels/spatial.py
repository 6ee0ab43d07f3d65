"""Spatial modulation behind a convolution, in one pass: SB's first layer ends with the second one's scale map.

scaled = activate(demod * y + bias + noise) * A and the sums of A^2, A = A0 + alpha (CM-GAN, section 3.2). A is never
stored: eager PyTorch writes it and reads it twice. Each tile keeps its own sums, which `demodulate` adds in a fixed
order, so that every run gives the same bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.epilogue import activated, before_activation, finished, raw_tile, row_tile, tile_of_map
from cmgan.kernels.launch import by_sample, channels_last, check_operands, in_rows, new_map, noise_of, tile, wrap_triton
from cmgan.model.functional import CLAMP, GAIN, SLOPE, activate, filter_after_doubling


@triton.jit
def spatial_kernel(
    y_ptr,  # (N, H, W, C); with UP (N, H + 1, W + 1, C)
    demod_ptr,  # (N, C) or None
    bias_ptr,  # (C,)
    noise_ptr,  # (N or 1, H, W)
    map_ptr,  # A0, (N, H, W, C) in rows of map_step
    alpha_ptr,  # (N, C)
    H,
    W,
    C,
    demod_step,
    noise_step,
    map_step,
    alpha_step,
    scaled_ptr,  # (N, H, W, C)
    sums_ptr,  # of A^2, float32 (N, tiles of positions, C)
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
    v = raw_tile(y_ptr, n, p, c, inside, H, W, C, UP)
    v = finished(v, demod_ptr, demod_step, bias_ptr, noise_ptr, noise_step, n, p, c, P, C)
    v = activated(v, SLOPE, GAIN, CLAMP)
    scale = row_tile(map_ptr, map_step, n, p, c, inside, P)
    scale += tl.load(alpha_ptr + n * alpha_step + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    offset = n.to(tl.int64) * P * C + p[:, None] * C + c[None, :]
    tl.store(scaled_ptr + offset, (v * scale).to(scaled_ptr.dtype.element_ty), mask=inside)
    sums = tl.sum(tl.where(inside, scale * scale, 0.0), 0)
    tile_p = tl.program_id(0) // tl.cdiv(C, BC)
    tl.store(sums_ptr + (n * tl.cdiv(P, BP) + tile_p) * C + c, sums, mask=c < C)


def _tile(channels: int, up: bool) -> tuple[int, int]:
    """Behind 16 taps half of the usual positions: sums and map would not fit the registers of sm_80."""
    positions, block = tile(channels, taps=16 if up else 1)
    return positions // 2 if up else positions, block


def composite(
    y: Tensor, demod: Tensor | None, bias: Tensor, noise: Tensor, scale_map: Tensor, alpha: Tensor, up: bool
) -> tuple[Tensor, Tensor]:
    """`spatial_epilogue` in PyTorch's own operations, cut into the same tiles."""
    scale = scale_map + alpha[:, :, None, None]
    raw = filter_after_doubling(y) if up else y
    scaled = activate(before_activation(raw, demod, bias, None, noise)) * scale
    squares = scale.to(torch.promote_types(scale.dtype, torch.float32)).square().flatten(2)
    positions = _tile(y.shape[1], up)[0]
    padded = torch.nn.functional.pad(squares, (0, -squares.shape[2] % positions))
    return channels_last(scaled.to(y.dtype)), padded.unflatten(2, (-1, positions)).sum(3).transpose(1, 2).contiguous()


@op("spatial_epilogue", composite)
def spatial_epilogue(
    y: Tensor, demod: Tensor | None, bias: Tensor, noise: Tensor, scale_map: Tensor, alpha: Tensor, up: bool = False
) -> tuple[Tensor, Tensor]:
    """activate(demod * y + bias + noise) * A and the sums of A^2 over positions, A = A0 + alpha.

    Args:
        y: (N, C, H, W) float32, float16 or bfloat16; with `up` (N, C, H + 1, W + 1), what `transposed_conv2d` returns.
        demod: (N, C) or None. bias: (C,). noise: (N or 1, 1, H, W). scale_map A0: (N, C, H, W). alpha: (N, C).

    Returns:
        (N, C, H, W) of y's dtype, channels last, and float32 (N, tiles, C), whose sum over the tiles is that of A^2.

    Raises:
        UsageError: a dtype or a size that the kernel does not take.
    """
    check_operands(y, demod, bias, noise, scale_map, alpha)
    y = channels_last(y)
    _, channels, height, width = scale_map.shape
    scaled = new_map(y, channels, height, width)
    positions, block = _tile(channels, up)
    tiles = triton.cdiv(height * width, positions)
    sums = torch.empty((len(y), tiles, channels), dtype=torch.float32, device=y.device)
    demod, demod_step = by_sample(demod)
    scales, map_step = in_rows(scale_map)
    noises, noise_step = noise_of(noise)
    alphas, alpha_step = by_sample(alpha)
    steps = demod_step, noise_step, map_step, alpha_step
    wrap_triton(spatial_kernel)[(tiles * triton.cdiv(channels, block), len(y))](
        y, demod, bias, noises, scales, alphas, height, width, channels, *steps, scaled, sums,
        SLOPE=SLOPE, GAIN=GAIN, CLAMP=CLAMP, UP=up, BP=positions, BC=block,
    )  # fmt: skip
    return scaled, sums
