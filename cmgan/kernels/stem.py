"""The encoder's first layer in one pass: hole emptied, mask beside it, 1x1 convolution of four channels, activation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from cmgan.kernels.autograd import op
from cmgan.kernels.epilogue import activated, tile_of_map
from cmgan.kernels.launch import channels_last, check_operands, tile, wrap_triton
from cmgan.model.functional import CLAMP, GAIN, SLOPE, activate


@triton.jit
def stem_kernel(
    image_ptr,  # (N, 3, H, W)
    mask_ptr,  # (N, 1, H, W)
    weight_ptr,  # (4, C)
    bias_ptr,  # (C,)
    P,  # H * W
    C,
    out_ptr,  # (N, H, W, C)
    SLOPE: tl.constexpr,
    GAIN: tl.constexpr,
    CLAMP: tl.constexpr,
    FILLED: tl.constexpr,
    BP: tl.constexpr,
    BC: tl.constexpr,
):
    n = tl.program_id(1)
    p, c, inside = tile_of_map(P, C, BP, BC)
    mask = tl.load(mask_ptr + n.to(tl.int64) * P + p, mask=p < P, other=0.0).to(tl.float32)
    v = tl.load(bias_ptr + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    v += mask[:, None] * tl.load(weight_ptr + 3 * C + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    for channel in tl.static_range(3):
        x = tl.load(image_ptr + (n.to(tl.int64) * 3 + channel) * P + p, mask=p < P, other=0.0).to(tl.float32)
        if not FILLED:
            x = tl.where(mask > 0.5, 0.0, x)
        v += x[:, None] * tl.load(weight_ptr + channel * C + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    offset = n.to(tl.int64) * P * C + p[:, None] * C + c[None, :]
    tl.store(out_ptr + offset, activated(v, SLOPE, GAIN, CLAMP).to(out_ptr.dtype.element_ty), mask=inside)


def composite(image: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, filled: bool) -> Tensor:
    """`stem` in PyTorch's own operations."""
    x = torch.cat([image if filled else image.masked_fill(mask > 0.5, 0), mask], 1)
    wide = torch.promote_types(weight.dtype, x.dtype)
    y = F.conv2d(x.to(wide), weight.t()[:, :, None, None].to(wide), bias.to(wide))
    return channels_last(activate(y).to(weight.dtype))


@op("stem", composite)
def stem(image: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, filled: bool = False) -> Tensor:
    """activate(conv([image; mask], weight) + bias), the image 0 in the hole unless that is `filled` already.

    Args:
        image: (N, 3, H, W). mask: (N, 1, H, W), 1 in the hole. weight: (4, C), of the output's dtype. bias: (C,).

    Returns:
        (N, C, H, W) of the weight's dtype, channels last.
    """
    check_operands(image, mask, weight, bias)
    n, _, height, width = image.shape
    channels = weight.shape[1]
    out = torch.empty(
        (n, channels, height, width), dtype=weight.dtype, device=image.device, memory_format=torch.channels_last
    )
    positions, block = tile(channels)
    wrap_triton(stem_kernel)[(triton.cdiv(height * width, positions) * triton.cdiv(channels, block), n)](
        image.contiguous(), mask.contiguous(), weight.contiguous(), bias.contiguous(), height * width, channels, out,
        SLOPE=SLOPE, GAIN=GAIN, CLAMP=CLAMP, FILLED=filled, BP=positions, BC=block,
    )  # fmt: skip
    return out
