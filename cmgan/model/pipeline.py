"""From bytes to bytes: what every export embeds around the network, and what the eager engine runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LARGEST = 1e30  # a mean beyond it is of numbers that overflow


def inpaint_bytes(generator: nn.Module, image: Tensor, mask: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Fill the hole of pictures as their users have them: scaling, compositing and rounding inside.

    Args:
        generator: (image, mask, z) -> raw RGB, as `Generator.forward`.
        image: uint8 (N, R, R, 3), RGB.
        mask: uint8 (N, R, R); hole = value >= 128.
        z: float32 (N, z_dim).

    Returns:
        The picture, uint8 (N, R, R, 3), whose known pixels are the input's own bytes; and the raw output of the
        network, (N, 3, R, R). Where that is not finite, and bytes could not say so, the whole picture is the negative
        of the input, which no other result is: `cmgan.runtime.engine.refuse_non_finite` looks for it.
    """
    levels = image.to(z.dtype).permute(0, 3, 1, 2)  # cast first: TensorRT moves no uint8 tensor about
    hole = (mask.to(z.dtype) >= 128)[:, None]
    raw = generator(levels / 127.5 - 1, hole.to(z.dtype), z)
    painted = ((raw.clamp(-1, 1) + 1) * 127.5).round()
    finite = raw.float().mean((1, 2, 3), keepdim=True).abs() < _LARGEST  # false for NaN, too
    picture = torch.where(finite, torch.where(hole, painted, levels), 255 - levels)
    return picture.permute(0, 2, 3, 1).to(torch.uint8), raw


class Pipeline(nn.Module):
    """`inpaint_bytes` as a module, without the raw output."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, image: Tensor, mask: Tensor, z: Tensor) -> Tensor:
        return inpaint_bytes(self.generator, image, mask, z)[0]
