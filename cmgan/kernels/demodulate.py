"""The demodulation of many layers at once, from their styles and the sums of squared weights, which never change.

d_o = 1 / sqrt(sum_i e_i W_oi + eps), W_oi the sum over the taps of w_oik^2, e_i = s_i^2 (StyleGAN2, section 2.2), or
the mean of A_i^2 over positions (CM-GAN, section 3.2). One program makes one output channel of one layer and sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.launch import check_operands, wrap_triton
from cmgan.model.functional import DEMODULATION_EPSILON


@triton.jit
def demodulate_kernel(
    values_ptr,  # (N, tiles, E): styles, or sums of A^2 over tiles of positions
    squares_ptr,  # float32, the layers' (Co, Ci), one behind the other
    rows_ptr,  # int32 (rows, 3): start in squares, Ci, start in E
    tiles,
    E,
    out_ptr,  # float32 (N, rows)
    FACTOR: tl.constexpr,  # of the energies; 0: the values are styles, to be squared
    EPSILON: tl.constexpr,
    LONGEST: tl.constexpr,  # a power of two, the largest Ci or more
):
    row, n = tl.program_id(0), tl.program_id(1)
    start, channels, first = (
        tl.load(rows_ptr + row * 3),
        tl.load(rows_ptr + row * 3 + 1),
        tl.load(rows_ptr + row * 3 + 2),
    )
    i = tl.arange(0, LONGEST)
    energy = tl.zeros((LONGEST,), dtype=tl.float32)
    for t in range(tiles):
        v = tl.load(values_ptr + (n * tiles + t) * E + first + i, mask=i < channels, other=0.0).to(tl.float32)
        energy += v * v if FACTOR == 0 else v * FACTOR
    weight = tl.load(squares_ptr + start + i, mask=i < channels, other=0.0)
    d = tl.rsqrt(tl.sum(energy * weight, 0) + EPSILON)
    tl.store(out_ptr + n * tl.num_programs(0) + row, d)


def squares_of(weights: Sequence[Tensor]) -> Tensor:
    """The sums over the taps of the squared weights (Co, Ci, k, k), one layer behind the other, float32."""
    return torch.cat([w.float().square().sum((2, 3)).flatten() for w in weights])


def demodulation_rows(shapes: list[int]) -> Tensor:
    """The table that tells each program its row, int32 (rows, 3). `shapes` as in `demodulate`."""
    rows, start = [], 0
    for channels_out, channels, first in _layers(shapes):
        rows += [[start + o * channels, channels, first] for o in range(channels_out)]
        start += channels_out * channels
    return torch.tensor(rows, dtype=torch.int32)


def _layers(shapes: list[int]) -> list[tuple[int, ...]]:
    return [tuple(shapes[i : i + 3]) for i in range(0, len(shapes), 3)]


def composite(values: Tensor, squares: Tensor, rows: Tensor, shapes: list[int], factor: float) -> Tensor:
    """`demodulate` in PyTorch's own operations."""
    wide = values.to(squares.dtype)
    energy = (wide * factor if factor else wide.square()).sum(1)  # (N, E)
    found, start = [], 0
    for out, channels, first in _layers(shapes):
        weight = squares[start : start + out * channels].unflatten(0, (out, channels))
        found.append(torch.rsqrt(energy[:, first : first + channels] @ weight.t() + DEMODULATION_EPSILON))
        start += out * channels
    return torch.cat(found, 1)


@op("demodulate", composite)
def demodulate(values: Tensor, squares: Tensor, rows: Tensor, shapes: list[int], factor: float = 0.0) -> Tensor:
    """The demodulation of every layer, in one launch.

    Args:
        values: (N, 1, E), the layers' styles; or with a factor (N, tiles, E), sums of A^2, whose sum over the tiles
            times the factor is the mean over positions.
        squares: what `squares_of` made of the layers' weights. rows: `demodulation_rows(shapes)` on the same device.
        shapes: Co, Ci and the place of its first style in E, for each layer.

    Returns:
        float32 (N, sum of Co).
    """
    check_operands(values)
    n, tiles, energies = values.shape
    out = torch.empty((n, len(rows)), dtype=torch.float32, device=values.device)
    longest = max(16, triton.next_power_of_2(max(shapes[1::3])))
    wrap_triton(demodulate_kernel)[(len(rows), n)](
        values.contiguous(), squares, rows, tiles, energies, out,
        FACTOR=factor, EPSILON=DEMODULATION_EPSILON, LONGEST=longest,
    )  # fmt: skip
    return out
