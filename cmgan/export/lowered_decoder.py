"""The decoder's layers as exporters want them: the activation's gain folded into what stands in front of it."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.export.lowered_encoder import bias_of, constant_conv
from cmgan.model.decoder import Cascade, Given, SpatialBlock
from cmgan.model.functional import (
    ACTIVATION_SPACE,
    CLAMP,
    GAIN,
    SLOPE,
    Modulated,
    Ops,
    demodulation,
    demodulation_of_energy,
    upsampling_conv2d,
)


def lower_cascade(cascade: Cascade) -> None:
    """Make the cascade, whose equalised gains are folded already, fit for `LOWERED`, in place."""
    layers = (cascade.global_block.first, cascade.global_block.second, cascade.spatial_block.first)
    for layer in layers:
        if layer is not None:
            layer.bias.mul_(GAIN)
    cascade.add_module("spatial_block", LoweredSpatialBlock(cascade.spatial_block))


def _activate(x: Tensor) -> Tensor:
    """`functional.activate` of x / GAIN: leaky ReLU is positively homogeneous."""
    return F.leaky_relu(x, SLOPE).clamp(-CLAMP, CLAMP)


def _modulated_layer(x: Tensor, modulated: Modulated, addend: Tensor | None, *, up: bool) -> Tensor:
    """`functional.modulated_layer` in activation space; the bias and the residual or noise come times `GAIN`."""
    weight, style, bias = modulated
    y = x * style[:, :, None, None]
    y = upsampling_conv2d(y, weight) if up else F.conv2d(y, weight, padding=1)
    y = y * (demodulation(weight, style) * GAIN)[:, :, None, None] + bias[:, None, None]
    return _activate(y if addend is None else y + addend)


def _global_layers(
    f_g: Tensor, first: Modulated, second: Modulated | None, f_e: Tensor, *, up: bool
) -> tuple[Tensor, Tensor]:
    x = _modulated_layer(f_g, first, f_e, up=up)
    return x, x if second is None else _modulated_layer(x, second, None, up=False)


def _to_rgb(x: Tensor, weight: Tensor, style: Tensor, bias: Tensor) -> Tensor:
    """With three rows it is cheaper to scale the weight of every sample than its picture."""
    y = (weight.flatten(1) * style[:, None]) @ x.flatten(2) + bias[:, None]  # (N, 3, HW)
    return y.unflatten(2, x.shape[2:])


# What the lowered decoder calls.
LOWERED: Ops = replace(ACTIVATION_SPACE, global_layers=_global_layers, to_rgb=_to_rgb)


class LoweredSpatialBlock(nn.Module):
    """A `SpatialBlock` with the gain in its constants, and a convolution each for the scale map and the shift map."""

    def __init__(self, block: SpatialBlock) -> None:
        super().__init__()
        self.up, self.first, self.alpha = block.up, block.first, block.alpha
        hidden, out = block.affine_hidden, block.affine_out
        self.affine_hidden = constant_conv(hidden.weight * GAIN, bias_of(hidden) * GAIN, padding=1)
        (scale, shift), (scale_bias, shift_bias) = out.weight.chunk(2), bias_of(out).chunk(2)
        self.affine_out = constant_conv(scale, scale_bias)  # A0
        self.affine_shift = constant_conv(shift * GAIN, shift_bias * GAIN)  # B
        self.second = constant_conv(block.second.weight, padding=1)
        self.register_buffer("first_noise", block.first_noise(1, False) * GAIN)
        self.register_buffer("second_noise", block.second_noise(1, False) * GAIN)

    def forward(self, f_s: Tensor, x: Tensor, g: Tensor, given: Given, ops: Ops, random_noise: bool) -> Tensor:
        """As `SpatialBlock.forward`; the noise is constant."""
        y = _modulated_layer(f_s, given[self.first], self.get_buffer("first_noise"), up=self.up)
        hidden = _activate(self.affine_hidden(x))
        scale = self.affine_out(hidden) + self.alpha(g)[:, :, None, None]
        demodulation = demodulation_of_energy(self.second.weight, (scale * scale).mean((2, 3))) * GAIN
        z = self.second(y * scale) * demodulation[:, :, None, None]
        return _activate(z + self.affine_shift(hidden) + self.get_buffer("second_noise"))
