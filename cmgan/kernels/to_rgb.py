"""To-RGB in one pass: modulation, 1x1 convolution to three channels, bias, the coarser picture doubled and added, and
the known pixels in their places.

Three output channels are no work for a matrix unit: each program reads its positions once and adds up.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.launch import by_sample, channels_last, check_operands, wrap_triton
from cmgan.model import functional

_POSITIONS, _CHANNELS = 128, 32


@triton.jit
def doubled(skip_ptr, y, x, there, H, W, REPEAT: tl.constexpr):
    """The (H / 2, W / 2) plane at a position of the doubled one, by the FIR of gain 4: 3/4 of the nearest, 1/4. Outside
    are zeros, or with REPEAT the pixels of the border again."""
    top, left = (y + 1) // 2 - 1, (x + 1) // 2 - 1
    total = tl.zeros(y.shape, dtype=tl.float32)
    for i in tl.static_range(2):
        for j in tl.static_range(2):
            row, column = top + i, left + j
            if REPEAT:
                row = tl.minimum(tl.maximum(row, 0), H // 2 - 1)
                column = tl.minimum(tl.maximum(column, 0), W // 2 - 1)
            known = there & (row >= 0) & (row < H // 2) & (column >= 0) & (column < W // 2)
            near = tl.where((y % 2 == 0) == (i == 1), 0.75, 0.25) * tl.where((x % 2 == 0) == (j == 1), 0.75, 0.25)
            total += tl.load(skip_ptr + row * (W // 2) + column, mask=known, other=0.0) * near
    return total


@triton.jit
def rgb_kernel(
    x_ptr,  # (N, H, W, C)
    weight_ptr,  # (3, C)
    style_ptr,  # (N, C)
    bias_ptr,  # (3,)
    skip_ptr,  # float32 (N, 3, H / 2, W / 2) or None
    average_ptr,  # float32 (N, 3, H, W) or None
    known_ptr,  # bool (N, 1, H, W) or None, as average_ptr
    H,
    W,
    C,
    style_step,
    out_ptr,  # float32 (N, 3, H, W)
    BP: tl.constexpr,
    BC: tl.constexpr,
):
    n = tl.program_id(1)
    P = H * W
    p = tl.program_id(0) * BP + tl.arange(0, BP)
    there = p < P
    r, g, b = (tl.zeros((BP,), dtype=tl.float32),) * 3
    for start in range(0, C, BC):
        c = start + tl.arange(0, BC)
        inside = there[:, None] & (c < C)[None, :]
        x = tl.load(x_ptr + (n.to(tl.int64) * P + p[:, None]) * C + c[None, :], mask=inside, other=0.0).to(tl.float32)
        x *= tl.load(style_ptr + n * style_step + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
        r += tl.sum(x * tl.load(weight_ptr + c, mask=c < C, other=0.0).to(tl.float32)[None, :], 1)
        g += tl.sum(x * tl.load(weight_ptr + C + c, mask=c < C, other=0.0).to(tl.float32)[None, :], 1)
        b += tl.sum(x * tl.load(weight_ptr + 2 * C + c, mask=c < C, other=0.0).to(tl.float32)[None, :], 1)
    out = out_ptr + n.to(tl.int64) * 3 * P + p
    for channel in tl.static_range(3):
        v = (r if channel == 0 else g if channel == 1 else b) + tl.load(bias_ptr + channel).to(tl.float32)
        if skip_ptr is not None:
            v += doubled(
                skip_ptr + (n.to(tl.int64) * 3 + channel) * (P // 4),
                p // W,
                p % W,
                there,
                H,
                W,
                average_ptr is not None,
            )
        if average_ptr is not None:
            known = tl.load(known_ptr + n.to(tl.int64) * P + p, mask=there, other=0)
            average = tl.load(average_ptr + (n.to(tl.int64) * 3 + channel) * P + p, mask=there, other=0.0)
            v = tl.where(known != 0, average, v)
        tl.store(out + channel * P, v, mask=there)


def composite(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    bias: Tensor,
    skip: Tensor | None,
    average: Tensor | None,
    known: Tensor | None,
) -> Tensor:
    """`to_rgb` in PyTorch's own operations."""
    wide = torch.promote_types(x.dtype, torch.float32)
    x, weight, style, bias = (v.to(wide) for v in (x, weight, style, bias))
    here = functional.to_rgb(x, weight[:, :, None, None], style, bias)
    if average is None or known is None:
        return (here if skip is None else here + functional.upsample(skip)).contiguous()
    return torch.where(known, average, here if skip is None else here + functional.enlarge(skip)).contiguous()


@op("to_rgb", composite)
def to_rgb(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    bias: Tensor,
    skip: Tensor | None = None,
    average: Tensor | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """The picture of this scale: conv(x * style, weight) + bias + upsample(skip); with a level of the known pyramid the
    average where pixels are known, and the skip is enlarged as `functional.enlarge` does.

    Args:
        x: (N, C, H, W) float32, float16 or bfloat16. weight: (3, C). style: (N, C). bias: (3,).
        skip: float32 (N, 3, H / 2, W / 2), the coarser picture.
        average: float32 (N, 3, H, W), and with it known: bool (N, 1, H, W).

    Returns:
        float32 (N, 3, H, W).
    """
    check_operands(x, weight, style, bias, skip, average)
    x = channels_last(x)
    n, channels, height, width = x.shape
    out = torch.empty((n, 3, height, width), dtype=torch.float32, device=x.device)
    styles, style_step = by_sample(style)
    planes = (None if v is None else v.contiguous() for v in (skip, average, known))
    wrap_triton(rgb_kernel)[(triton.cdiv(height * width, _POSITIONS), n)](
        x, weight.contiguous(), styles, bias.contiguous(), *planes, height, width, channels, style_step, out,
        BP=_POSITIONS, BC=_CHANNELS,
    )  # fmt: skip
    return out
