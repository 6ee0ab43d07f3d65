"""The weights of modulated convolutions for a batch of one: scaled, demodulated, ready for a library convolution.

w'_oik = s_i w_oik / sqrt(sum_ik (s_i w_oik)^2 + eps), StyleGAN2, section 2.2. With one sample the weights of the fine
scales are smaller than the maps: scaling them saves passes over the picture. Each layer's weights are a matrix of
output channels by (tap, input channel), which lies by rows for a convolution and by columns for a transposed one. One
program makes ROWS output channels of one layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.launch import check_operands, wrap_triton
from cmgan.model.functional import DEMODULATION_EPSILON, demodulation

ROWS, STEP = 16, 128  # output channels of a program, and weights of each in a step


@triton.jit
def fold_kernel(
    weight_ptr,  # every layer's matrix, one behind the other
    rows_ptr,  # int32 (programs, 5): start of the layer, its Co, its Ci, start of its style, first output channel
    style_ptr,  # (sum of Ci,)
    out_ptr,  # as weight_ptr
    EPSILON: tl.constexpr,
    EVEN: tl.constexpr,  # whether every Co and Ci is a multiple of 16: loads of 128 bits
    LONGEST: tl.constexpr,  # length of the longest row
    TRANSPOSED: tl.constexpr,  # the matrix lies (Ci, tap, Co), else (Co, tap, Ci)
    ROWS: tl.constexpr,
    STEP: tl.constexpr,
):
    row = rows_ptr + tl.program_id(0) * 5
    start, height, channels = tl.load(row), tl.load(row + 1), tl.load(row + 2)
    style_start, first = tl.load(row + 3), tl.load(row + 4)
    if EVEN:
        start, height, channels = tl.multiple_of(start, 16), tl.multiple_of(height, 16), tl.multiple_of(channels, 16)
        style_start, first = tl.multiple_of(style_start, 16), tl.multiple_of(first, 16)
    o = first + tl.arange(0, ROWS)
    length = 9 * channels
    energy = tl.zeros((ROWS, STEP), dtype=tl.float32)
    for base in range(0, LONGEST, STEP):
        k = base + tl.arange(0, STEP)
        there = (o < height)[:, None] & (k < length)[None, :]
        at = start + (k[None, :] * height + o[:, None] if TRANSPOSED else o[:, None] * length + k[None, :])
        i = k // 9 if TRANSPOSED else k % channels
        w = tl.load(weight_ptr + at, mask=there, other=0.0).to(tl.float32)
        w *= tl.load(style_ptr + style_start + i, mask=k < length, other=0.0).to(tl.float32)[None, :]
        energy += w * w
    norm = tl.rsqrt(tl.sum(energy, 1) + EPSILON)
    for base in range(0, LONGEST, STEP):
        k = base + tl.arange(0, STEP)
        there = (o < height)[:, None] & (k < length)[None, :]
        at = start + (k[None, :] * height + o[:, None] if TRANSPOSED else o[:, None] * length + k[None, :])
        i = k // 9 if TRANSPOSED else k % channels
        w = tl.load(weight_ptr + at, mask=there, other=0.0).to(tl.float32)
        w *= tl.load(style_ptr + style_start + i, mask=k < length, other=0.0).to(tl.float32)[None, :]
        tl.store(out_ptr + at, (w * norm[:, None]).to(out_ptr.dtype.element_ty), mask=there)


def fold_rows(shapes: list[int]) -> Tensor:
    """The table that tells each program its rows: int32 (programs, 5), see `fold_kernel`. `shapes` as in `fold`."""
    rows, start = [], 0
    for height, channels, style in _layers(shapes):
        rows += [[start, height, channels, style, first] for first in range(0, height, ROWS)]
        start += height * channels * 9
    return torch.tensor(rows, dtype=torch.int32)


def pack(weights: Sequence[Tensor], *, transposed: bool) -> Tensor:
    """Weights (Co, Ci, 3, 3) as one flat tensor; `transposed` as `F.conv_transpose2d` wants them, taps flipped."""
    if transposed:
        return torch.cat([w.flip(2, 3).permute(1, 2, 3, 0).flatten() for w in weights])
    return torch.cat([w.permute(0, 2, 3, 1).flatten() for w in weights])


def unpack(packed: Tensor, shapes: list[int], *, transposed: bool) -> list[Tensor]:
    """The layers of a packed tensor without copying: (Co, Ci, 3, 3), or (Ci, Co, 3, 3), both channels last."""
    sizes = [(i, o) if transposed else (o, i) for o, i, _ in _layers(shapes)]
    parts = packed.split([9 * a * b for a, b in sizes])
    return [part.view(a, 3, 3, b).permute(0, 3, 1, 2) for part, (a, b) in zip(parts, sizes, strict=True)]


def _layers(shapes: list[int]) -> list[tuple[int, ...]]:
    return [tuple(shapes[i : i + 3]) for i in range(0, len(shapes), 3)]


def composite(packed: Tensor, rows: Tensor, styles: Tensor, shapes: list[int], transposed: bool) -> Tensor:
    """`fold` in PyTorch's own operations."""
    folded = []
    for weight, (_, channels, first) in zip(
        unpack(packed, shapes, transposed=transposed), _layers(shapes), strict=True
    ):
        plain = weight.transpose(0, 1).flip(2, 3) if transposed else weight
        style = styles[first : first + channels].to(torch.promote_types(styles.dtype, packed.dtype))
        scaled = plain * style[:, None, None]
        folded.append((scaled * demodulation(plain, style[None])[0, :, None, None, None]).to(packed.dtype))
    return pack(folded, transposed=transposed)


@op("fold", composite)
def fold(packed: Tensor, rows: Tensor, styles: Tensor, shapes: list[int], transposed: bool = False) -> Tensor:
    """The weights of all layers, modulated and demodulated, in one launch.

    Args:
        packed: what `pack` made of the layers' weights. rows: `fold_rows(shapes)` on the same device.
        styles: (E,), of the one sample.
        shapes: Co, Ci and the place of its first style in E, for each layer.

    Returns:
        As `packed`; `unpack` cuts it up.
    """
    check_operands(packed, styles)
    folded = torch.empty_like(packed)
    even = all(v % 16 == 0 for v in shapes)
    wrap_triton(fold_kernel)[(len(rows),)](
        packed, rows, styles.contiguous(), folded,
        EPSILON=DEMODULATION_EPSILON, EVEN=even, LONGEST=9 * max(shapes[1::3]), TRANSPOSED=transposed,
        ROWS=ROWS, STEP=STEP,
    )  # fmt: skip
    return folded
