"""The weights of modulated convolutions for a batch of one: scaled, demodulated, ready for a library convolution.

w'_oik = s_i w_oik / sqrt(sum_ik (s_i w_oik)^2 + eps), StyleGAN2, section 2.2. With one sample the weights of the fine
scales are smaller than the activations: scaling them saves passes over the picture. At the coarse scales of a large
preset it is the other way round. One program makes one output channel of one layer.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.launch import check_operands, traceable
from cmgan.model.functional import DEMODULATION_EPSILON, demodulation

BLOCK = 1024  # weights a step


@triton.jit
def fold_kernel(
    weight_ptr,  # every layer's rows (SIZE, SIZE, CI), one behind the other
    rows_ptr,  # int32 (rows, 5): offset of the weights, CI, length, offset of the style, whether to demodulate
    style_ptr,  # (sum of CI,)
    out_ptr,  # as weight_ptr
    EPSILON: tl.constexpr,
    EVEN: tl.constexpr,  # whether every CI is a multiple of 16: loads of 128 bits
    LONGEST: tl.constexpr,  # length of the longest row
    BLOCK: tl.constexpr,
):
    row = rows_ptr + tl.program_id(0) * 5
    start, channels, length = tl.load(row), tl.load(row + 1), tl.load(row + 2)
    style_start = tl.load(row + 3)
    if EVEN:
        start, channels, length = tl.multiple_of(start, 16), tl.multiple_of(channels, 16), tl.multiple_of(length, 16)
        style_start = tl.multiple_of(style_start, 16)
    style_ptr += style_start
    energy = tl.zeros((BLOCK,), dtype=tl.float32)
    for base in range(0, LONGEST, BLOCK):
        e = base + tl.arange(0, BLOCK)
        w = tl.load(weight_ptr + start + e, mask=e < length, other=0.0).to(tl.float32)
        w *= tl.load(style_ptr + e % channels, mask=e < length, other=0.0).to(tl.float32)
        energy += w * w
    norm = tl.where(tl.load(row + 4) > 0, tl.rsqrt(tl.sum(energy, 0) + EPSILON), 1.0)
    for base in range(0, LONGEST, BLOCK):
        e = base + tl.arange(0, BLOCK)
        w = tl.load(weight_ptr + start + e, mask=e < length, other=0.0).to(tl.float32)
        w *= tl.load(style_ptr + e % channels, mask=e < length, other=0.0).to(tl.float32)
        tl.store(out_ptr + start + e, (w * norm).to(out_ptr.dtype.element_ty), mask=e < length)


def row_table(shapes: list[int]) -> Tensor:
    """The table that tells each program its row: int32 (rows, 5), see `fold_kernel`. `shapes` as in `fold_weights`."""
    rows, start, style = [], 0, 0
    for channels_out, channels, size, demodulated in _layers(shapes):
        length = channels * size * size
        rows += [[start + o * length, channels, length, style, demodulated] for o in range(channels_out)]
        start, style = start + channels_out * length, style + channels
    return torch.tensor(rows, dtype=torch.int32)


def layer_views(packed: Tensor, shapes: list[int]) -> list[Tensor]:
    """The layers of a packed tensor as (Co, Ci, k, k), channels last, without copying."""
    sizes = [(o, i, k) for o, i, k, _ in _layers(shapes)]
    parts = packed.split([o * i * k * k for o, i, k in sizes])
    return [part.view(o, k, k, i).permute(0, 3, 1, 2) for part, (o, i, k) in zip(parts, sizes, strict=True)]


def pack(weights: list[Tensor]) -> Tensor:
    """Weights (Co, Ci, k, k) as one flat tensor, channels last, one layer behind the other."""
    return torch.cat([w.permute(0, 2, 3, 1).flatten() for w in weights])


def _layers(shapes: list[int]) -> list[tuple[int, ...]]:
    return [tuple(shapes[i : i + 4]) for i in range(0, len(shapes), 4)]


def composite(packed: Tensor, rows: Tensor, styles: Tensor, shapes: list[int]) -> Tensor:
    """`fold_weights` in PyTorch's own operations."""
    layers = _layers(shapes)
    folded = []
    parts = styles.split([i for _, i, _, _ in layers])
    for weight, style, layer in zip(layer_views(packed, shapes), parts, layers, strict=True):
        scaled = weight * style[:, None, None]
        if layer[3]:
            scaled = scaled * demodulation(weight, style[None])[0, :, None, None, None]
        folded.append(scaled.to(packed.dtype))
    return pack(folded)


@op("fold_weights", composite)
def _fold_weights(packed: Tensor, rows: Tensor, styles: Tensor, shapes: list[int]) -> Tensor:
    check_operands(packed, styles)
    folded = torch.empty_like(packed)
    even = all(channels % 16 == 0 for _, channels, _, _ in _layers(shapes))
    longest = max(channels * size * size for _, channels, size, _ in _layers(shapes))
    traceable(fold_kernel)[(len(rows),)](
        packed, rows, styles.contiguous(), folded, EPSILON=DEMODULATION_EPSILON, EVEN=even, LONGEST=longest, BLOCK=BLOCK
    )
    return folded


def fold_weights(packed: Tensor, rows: Tensor, styles: Tensor, shapes: list[int]) -> Tensor:
    """The weights of all layers, modulated and demodulated, in one launch.

    Args:
        packed: what `pack` made of the layers' weights. rows: `row_table(shapes)` on the same device.
        styles: (sum of Ci,), the layers' styles of the one sample, one behind the other.
        shapes: Co, Ci, k and 1 for a demodulated layer (0 for to-RGB), for each layer.

    Returns:
        As `packed`; `layer_views` cuts it up.
    """
    return _fold_weights(packed, rows, styles, shapes)
