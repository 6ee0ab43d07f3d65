"""Layers with equalised learning rate (Karras et al. 2018, section 4.1) and the other small parts of the network.

Weights are drawn from N(0, 1) and scaled at run time by 1 / sqrt(fan-in), so that Adam moves every layer at one pace.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.model.functional import activate


def scaled(parameter: Tensor, gain: float) -> Tensor:
    """The parameter in use; a gain of one costs nothing."""
    return parameter if gain == 1 else parameter * gain


class FullyConnected(nn.Module):
    """(N, inputs) -> (N, outputs). `lr_multiplier` slows the layer down; `bias_init` is the bias in use."""

    def __init__(self, inputs: int, outputs: int, *, bias_init: float = 0.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.lr_multiplier = lr_multiplier
        self.bias_init = bias_init
        self.gain = lr_multiplier / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init / lr_multiplier))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, scaled(self.weight, self.gain), scaled(self.bias, self.lr_multiplier))


class Conv(nn.Module):
    """(N, Ci, H, W) -> (N, Co, H', W'), k x k, no activation."""

    def __init__(self, channels_in: int, channels_out: int, size: int, *, bias: bool = True) -> None:
        super().__init__()
        self.gain = 1 / math.sqrt(channels_in * size * size)
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, size, size))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None

    def forward(self, x: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, scaled(self.weight, self.gain), self.bias, stride=stride, padding=padding)


class ModulatedWeight(nn.Module):
    """What a modulated convolution owns: its weight, its bias and the affine layer that makes the style from g."""

    def __init__(self, channels_in: int, channels_out: int, size: int, code: int) -> None:
        super().__init__()
        self.gain = 1 / math.sqrt(channels_in * size * size)
        self.affine = FullyConnected(code, channels_in, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, size, size))
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def forward(self, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """g (N, code) -> scaled weight (Co, Ci, k, k), style (N, Ci), bias (Co,)."""
        return scaled(self.weight, self.gain), self.affine(g), self.bias


class Noise(nn.Module):
    """A map of Gaussian noise with a learned strength (StyleGAN2, section 2); the constant map is part of the state."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(()))
        self.constant: Tensor
        self.register_buffer("constant", torch.randn(1, 1, side, side))

    def forward(self, batch: int, random: bool) -> Tensor:
        """(1, 1, side, side), or (batch, 1, side, side) drawn anew with `random`."""
        noise = torch.randn_like(self.constant.expand(batch, -1, -1, -1)) if random else self.constant
        return noise * self.strength


def normalise_second_moment(x: Tensor) -> Tensor:
    """(N, D) -> (N, D) with mean square 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class Mapping(nn.Module):
    """The noise code w from z (StyleGAN, section 2): z normalised, then fully connected layers."""

    def __init__(self, z_dim: int, w_dim: int, layers: int) -> None:
        super().__init__()
        widths = [z_dim] + [w_dim] * layers
        self.layers = nn.ModuleList(
            FullyConnected(a, b, lr_multiplier=0.01) for a, b in zip(widths, widths[1:], strict=False)
        )

    def forward(self, z: Tensor) -> Tensor:
        """z (N, z_dim) -> w (N, w_dim)."""
        w = normalise_second_moment(z)
        for layer in self.layers:
            w = activate(layer(w))
        return w


def fold_gains(network: nn.Module) -> None:
    """Multiply every equalised-learning-rate gain into its weight, in place: fewer operations, the same function."""
    for module in network.modules():
        if isinstance(module, (Conv, FullyConnected, ModulatedWeight)):
            module.weight.mul_(module.gain)
            module.gain = 1.0
        if isinstance(module, FullyConnected):
            module.bias.mul_(module.lr_multiplier)
            module.lr_multiplier = 1.0
