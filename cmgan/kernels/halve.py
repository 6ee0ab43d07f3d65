"""The low-pass filter before a convolution that halves: 16 taps in one pass, where libraries run a depthwise one."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.epilogue import filtered, tile_of_map
from cmgan.kernels.launch import channels_last, check_operands, new_map, tile, wrap_triton
from cmgan.model import functional


@triton.jit
def filter_kernel(
    x_ptr,  # (N, H, W, C)
    H,
    W,
    C,
    out_ptr,  # (N, H + 1, W + 1, C)
    BP: tl.constexpr,
    BC: tl.constexpr,
):
    n = tl.program_id(1)
    P = (H + 1) * (W + 1)
    p, c, inside = tile_of_map(P, C, BP, BC)
    v = filtered(x_ptr + n.to(tl.int64) * H * W * C, p, c, inside, W + 1, H, W, C, 2, 1)
    offset = n.to(tl.int64) * P * C + p[:, None] * C + c[None, :]
    tl.store(out_ptr + offset, v.to(out_ptr.dtype.element_ty), mask=inside)


def composite(x: Tensor) -> Tensor:
    """The reference, channels last."""
    return channels_last(functional.filter_before_halving(x))


@op("filter_before_halving", composite)
def filter_before_halving(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H + 1, W + 1), channels last: `functional.filter_before_halving`."""
    check_operands(x)
    x = channels_last(x)
    n, channels, height, width = x.shape
    out = new_map(x, channels, height + 1, width + 1)
    positions, block = tile(channels, taps=16)
    grid = (triton.cdiv((height + 1) * (width + 1), positions) * triton.cdiv(channels, block), n)
    wrap_triton(filter_kernel)[grid](x, height, width, channels, out, BP=positions, BC=block)
    return out
