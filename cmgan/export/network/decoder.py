"""The decoder's layers as exporters want them: the activation's gain folded into what stands in front of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.export.network.encoder import bias_of, constant_conv
from cmgan.model.decoder import Cascade, Given, SpatialBlock
from cmgan.model.functional import (
    ACTIVATION_SPACE,
    CLAMP,
    DEMODULATION_EPSILON,
    GAIN,
    SLOPE,
    Modulated,
    Ops,
    demodulation,
    demodulation_of_energy,
    fir,
    upsampling_conv2d,
)

_LEAST_STYLE = 1e-8  # styles smaller than this are not made larger
_BILINEAR = torch.tensor([[1.0, 3.0, 0.0], [0.0, 3.0, 1.0]]) / 4  # the FIR at even and at odd positions


def lower_cascade(cascade: Cascade, forms: str) -> None:
    """Make the cascade, whose equalised gains are folded already, fit for `LOWERED[forms]`, in place."""
    layers = (cascade.global_block.first, cascade.global_block.second, cascade.spatial_block.first)
    for layer in layers:
        if layer is not None:
            layer.bias.mul_(GAIN)
    cascade.add_module("spatial_block", LoweredSpatialBlock(cascade.spatial_block, forms))


def _activate(x: Tensor) -> Tensor:
    """`functional.activate` of x / GAIN: leaky ReLU is positively homogeneous."""
    return F.leaky_relu(x, SLOPE).clamp(-CLAMP, CLAMP)


def _upsampling_in_phases(x: Tensor, weight: Tensor) -> Tensor:
    """`functional.upsampling_conv2d` without a transposed convolution, which ONNX Runtime does partly in one thread.

    Between inserted zeros an even row or column of the output meets the outer taps, an odd one the middle tap: one
    convolution for the even rows, one for the odd, both with the even and the odd columns as channels. In NHWC order
    such columns and rows interleave by reshaping and by joining.
    """
    even = F.conv2d(x, _columns_as_channels(weight[:, :, ::2]), padding=1)  # (N, 2Co, H + 1, W + 1)
    odd = F.conv2d(F.pad(x, (1, 1, 0, 1)), _columns_as_channels(weight[:, :, 1:2]))  # the same; the last row is zero
    rows = [y.permute(0, 2, 3, 1).flatten(2) for y in (even, odd)]  # (N, H + 1, 2 (W + 1) Co)
    y = torch.stack(rows, 2).flatten(1, 2).unflatten(2, (-1, weight.shape[0]))  # (N, 2H + 2, 2W + 2, Co)
    y = F.pad(y.permute(0, 3, 1, 2), (1, 0, 1, 0))
    return F.conv2d(y, fir(y.shape[1], y) * 4, groups=y.shape[1])


def _columns_as_channels(weight: Tensor) -> Tensor:
    """(Co, Ci, k, 3) -> (2Co, Ci, k, 2): the taps of the even columns, then those of the odd."""
    return torch.cat([weight[..., ::2], F.pad(weight[..., 1:2], (1, 0))])


# Upsampling convolutions by the forms of a graph.
_UPSAMPLING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "products": _upsampling_in_phases,
    "convolutions": upsampling_conv2d,
}


def _modulated_layer(x: Tensor, modulated: Modulated, addend: Tensor | None, *, up: bool, forms: str) -> Tensor:
    """`functional.modulated_layer` in activation space; the bias and the residual or noise come times `GAIN`."""
    weight, style, bias = modulated
    before, after = _FACTORS[forms](weight, style)
    y = x * before
    y = _UPSAMPLING[forms](y, weight) if up else F.conv2d(y, weight, padding=1)
    y = y * after + bias[:, None, None]
    return _activate(y if addend is None else y + addend)


def _factors_by_product(weight: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
    """What a modulated convolution's input and output are multiplied by, (N, Ci, 1, 1) and (N, Co, 1, 1); the second
    one times `GAIN`. The style's maximum goes around the convolution, whose input then fits half precision, and int8
    ranges whatever the code is."""
    largest = style.abs().amax(1, keepdim=True).clamp_min(_LEAST_STYLE)
    factors = style / largest, demodulation(weight, style) * (largest * GAIN)
    return factors[0][:, :, None, None], factors[1][:, :, None, None]


def _factors_by_convolution(weight: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
    """The same. As the result of a convolution the second one is in NHWC, like the maps; where most of what a product
    of maps takes is not, OpenVINO turns the maps over, and back."""
    style = style[:, :, None, None]
    largest = style.abs().amax(1, keepdim=True).clamp_min(_LEAST_STYLE)
    scale = style / largest
    squares = F.pad(weight.square().sum((2, 3), keepdim=True), (0, 0, 0, 0, 0, 1), value=DEMODULATION_EPSILON)
    energy = F.conv2d(torch.cat([scale, 1 / largest], 1).square(), squares / GAIN**2)
    return scale, energy.rsqrt()


# The factors of modulated convolutions by the forms of a graph.
_FACTORS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "products": _factors_by_product,
    "convolutions": _factors_by_convolution,
}


def _global_layers(
    f_g: Tensor, first: Modulated, second: Modulated | None, f_e: Tensor, *, up: bool, forms: str
) -> tuple[Tensor, Tensor]:
    x = _modulated_layer(f_g, first, f_e, up=up, forms=forms)
    return x, x if second is None else _modulated_layer(x, second, None, up=False, forms=forms)


def _to_rgb(x: Tensor, weight: Tensor, style: Tensor, bias: Tensor, *, forms: str) -> Tensor:
    """With three rows it is less work to scale the weight of every sample than its picture, where layouts allow it."""
    if forms == "convolutions":
        return F.conv2d(x * style[:, :, None, None], weight, bias)
    rows = weight.flatten(1) * style[:, None]  # (N, 3, C)
    return (rows @ x.flatten(2) + bias[:, None]).unflatten(2, x.shape[2:])


def _upsample(x: Tensor) -> Tensor:
    """`functional.upsample`."""
    return _in_phases(F.pad(x, (1, 1, 1, 1)))


def _enlarge(x: Tensor) -> Tensor:
    """`functional.enlarge`. The border is repeated by concatenation: Inductor fails at replicate padding of what a
    pixel shuffle gave, in batches of any size."""
    x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], 2)
    return _in_phases(torch.cat([x[..., :1], x, x[..., -1:]], 3))


def _in_phases(x: Tensor) -> Tensor:
    """(N, C, H + 2, W + 2) -> (N, C, 2H, 2W): one convolution gives the four pixels that stand for each."""
    channels, taps = x.shape[1], _BILINEAR.to(x)
    phases = torch.einsum("ah,bw->abhw", taps, taps).flatten(0, 1)  # (4, 3, 3)
    alone = torch.eye(channels, dtype=x.dtype, device=x.device)[:, None, :, None, None]
    return F.pixel_shuffle(F.conv2d(x, (alone * phases[:, None]).flatten(0, 1)), 2)


def _ops(forms: str) -> Ops:
    layers, rgb = partial(_global_layers, forms=forms), partial(_to_rgb, forms=forms)
    return replace(ACTIVATION_SPACE, global_layers=layers, to_rgb=rgb, upsample=_upsample, enlarge=_enlarge)


# What the lowered decoder calls, by the forms of the graph: see `cmgan.export.network.lowered.Lowered`.
LOWERED: dict[str, Ops] = {forms: _ops(forms) for forms in _UPSAMPLING}


class LoweredSpatialBlock(nn.Module):
    """A `SpatialBlock` with the gain in its constants, and a layer each for the scale map and the shift map."""

    def __init__(self, block: SpatialBlock, forms: str) -> None:
        super().__init__()
        self.up, self.first, self.alpha, self.forms = block.up, block.first, block.alpha, forms
        constant = _constant_linear if forms == "products" else constant_conv
        hidden, out = block.affine_hidden, block.affine_out
        self.affine_hidden = constant_conv(hidden.weight * GAIN, bias_of(hidden) * GAIN, padding=1)
        (scale, shift), (scale_bias, shift_bias) = out.weight.chunk(2), bias_of(out).chunk(2)
        self.affine_out = constant(scale, scale_bias)  # A0
        self.affine_shift = constant(shift * GAIN, shift_bias * GAIN)  # B
        self.second = constant_conv(block.second.weight, padding=1)
        self.register_buffer("first_noise", block.first_noise(1, False) * GAIN)
        self.register_buffer("second_noise", block.second_noise(1, False) * GAIN)

    def forward(self, f_s: Tensor, x: Tensor, g: Tensor, given: Given, ops: Ops, random_noise: bool) -> Tensor:
        """As `SpatialBlock.forward`; the noise is constant."""
        y = _modulated_layer(f_s, given[self.first], self.get_buffer("first_noise"), up=self.up, forms=self.forms)
        hidden = _activate(self.affine_hidden(x))
        scale = self._map(hidden, self.affine_out.weight, self.alpha(g) + self.affine_out.bias)
        shift = self._map(hidden, self.affine_shift.weight, self.affine_shift.bias)
        energy = torch.linalg.vector_norm(scale, dim=3).square().mean(2) / scale.shape[3]  # one pass over the map
        demodulation = (demodulation_of_energy(self.second.weight, energy) * GAIN).to(scale.dtype)
        z = self.second(y * scale) * demodulation[:, :, None, None]
        return _activate(z + self.get_buffer("second_noise") + shift)  # the sum fuses into the convolution of `shift`

    def _map(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """A 1x1 convolution with a bias (C,) or (N, C)."""
        assert bias is not None
        if self.forms == "products":
            return (weight @ x.flatten(2) + bias[..., None]).unflatten(2, x.shape[2:])
        return F.conv2d(x, weight) + bias[..., None, None]


def _constant_linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A product over the channels, of the weight (Co, Ci, 1, 1) and bias (Co,) of a convolution."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight = nn.Parameter(weight.flatten(1).contiguous(), requires_grad=False)
    linear.bias = nn.Parameter(bias.contiguous(), requires_grad=False)
    return linear
