"""Between Fourier transforms, which want float32 planes, and 1x1 convolutions, which want half channels last.

Two passes a Fourier convolution instead of a dozen: the first one turns the transform over, scales it and adds the
bias of the layer in front, which is all in the zero frequency; the second one ends the convolution and turns back. The
residual of the spectral transform is added to the spectrum: the transform is linear.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.launch import channels_last, check_operands, wrap_triton

_POSITIONS, _CHANNELS = 64, 32


@triton.jit
def enter_kernel(
    f_ptr,  # float32 (N, C, P, 2): a real transform
    constant_ptr,  # float32 (C,), added to the zero frequency
    P,
    C,
    out_ptr,  # (N, P, 2C): real parts, then imaginary ones
    SCALE: tl.constexpr,
    BP: tl.constexpr,
    BC: tl.constexpr,
):
    n, blocks = tl.program_id(1), tl.cdiv(C, BC)
    p = tl.program_id(0) // blocks * BP + tl.arange(0, BP)
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    inside = (p < P)[:, None] & (c < C)[None, :]
    source = f_ptr + (n.to(tl.int64) * C + c[None, :]) * P * 2 + p[:, None] * 2
    target = out_ptr + n.to(tl.int64) * P * C * 2 + p[:, None] * (2 * C) + c[None, :]
    constant = tl.load(constant_ptr + c, mask=c < C, other=0.0)[None, :]
    real = tl.load(source, mask=inside, other=0.0) * SCALE + tl.where(p == 0, 1.0, 0.0)[:, None] * constant
    imaginary = tl.load(source + 1, mask=inside, other=0.0) * SCALE
    tl.store(target, real.to(out_ptr.dtype.element_ty), mask=inside)
    tl.store(target + C, imaginary.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def leave_kernel(
    y_ptr,  # (N, P, 2C)
    bias_ptr,  # (2C,)
    residual_ptr,  # (N, P, 2C)
    P,
    C,
    out_ptr,  # float32 (N, C, P, 2)
    SCALE: tl.constexpr,
    BP: tl.constexpr,
    BC: tl.constexpr,
):
    n, blocks = tl.program_id(1), tl.cdiv(C, BC)
    p = tl.program_id(0) // blocks * BP + tl.arange(0, BP)
    c = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    inside = (p < P)[:, None] & (c < C)[None, :]
    source = n.to(tl.int64) * P * C * 2 + p[:, None] * (2 * C) + c[None, :]
    target = out_ptr + (n.to(tl.int64) * C + c[None, :]) * P * 2 + p[:, None] * 2
    for part in tl.static_range(2):
        v = tl.load(y_ptr + source + part * C, mask=inside, other=0.0).to(tl.float32)
        v += tl.load(bias_ptr + part * C + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
        v = tl.maximum(v, 0.0, propagate_nan=tl.PropagateNan.ALL)
        v += tl.load(residual_ptr + source + part * C, mask=inside, other=0.0).to(tl.float32)
        tl.store(target + part, v * SCALE, mask=inside)


def _grid(n: int, positions: int, channels: int) -> tuple[int, int]:
    return triton.cdiv(positions, _POSITIONS) * triton.cdiv(channels, _CHANNELS), n


def entering_composite(f: Tensor, constant: Tensor, scale: float, like: Tensor) -> Tensor:
    """`enter_spectrum` in PyTorch's own operations."""
    real, imaginary = (f * scale).unbind(4)
    zero = torch.zeros_like(real)
    zero[:, :, 0, 0] = 1
    return channels_last(torch.cat([real + zero * constant[:, None, None], imaginary], 1).to(like.dtype))


@op("enter_spectrum", entering_composite)
def enter_spectrum(f: Tensor, constant: Tensor, scale: float, like: Tensor) -> Tensor:
    """f * scale, real parts before imaginary ones as channels, `constant` added to the zero frequency.

    Args:
        f: float32 (N, C, H, W, 2), a real transform as real and imaginary parts. constant: float32 (C,).
        like: any tensor of the wanted dtype.

    Returns:
        (N, 2C, H, W), channels last.
    """
    n, channels, height, width, _ = f.shape
    size = n, 2 * channels, height, width
    out = torch.empty(size, dtype=like.dtype, device=f.device, memory_format=torch.channels_last)
    wrap_triton(enter_kernel)[_grid(n, height * width, channels)](
        f.contiguous(), constant, height * width, channels, out, SCALE=scale, BP=_POSITIONS, BC=_CHANNELS
    )
    return out


def leaving_composite(y: Tensor, bias: Tensor, residual: Tensor, scale: float) -> Tensor:
    """`leave_spectrum` in PyTorch's own operations."""
    wide = torch.promote_types(y.dtype, torch.float32)
    v = ((y.to(wide) + bias.to(wide)[:, None, None]).relu() + residual) * scale
    return torch.stack(v.chunk(2, 1), 4)


@op("leave_spectrum", leaving_composite)
def leave_spectrum(y: Tensor, bias: Tensor, residual: Tensor, scale: float) -> Tensor:
    """(relu(y + bias) + residual) * scale, as real and imaginary parts.

    Args:
        y, residual: (N, 2C, H, W). bias: (2C,).

    Returns:
        float32 (N, C, H, W, 2).
    """
    check_operands(y, bias, residual)
    y, residual = channels_last(y), channels_last(residual)
    n, channels, height, width = y.shape[0], y.shape[1] // 2, y.shape[2], y.shape[3]
    out = torch.empty((n, channels, height, width, 2), dtype=torch.float32, device=y.device)
    wrap_triton(leave_kernel)[_grid(n, height * width, channels)](
        y, bias.contiguous(), residual, height * width, channels, out, SCALE=scale, BP=_POSITIONS, BC=_CHANNELS
    )
    return out
