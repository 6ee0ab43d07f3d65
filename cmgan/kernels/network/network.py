"""The whole generator on kernels, for inference: constant copies of the weights, maps channels last."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.kernels.epilogue import epilogue
from cmgan.kernels.launch import require_kernels
from cmgan.kernels.network.constants import constant
from cmgan.kernels.network.decoder import KernelCascade, Styles, missing_positions
from cmgan.kernels.network.encoder import KernelEncoder
from cmgan.kernels.network.modulated import ModulatedLayers
from cmgan.model.decoder import Cascade
from cmgan.model.functional import Level, enlarge, fill, known_pyramid
from cmgan.model.generator import Generator
from cmgan.model.layers import FullyConnected, ModulatedWeight, fold_gains

_EPSILON = 1e-8  # beside the mean square of a code


class KernelNetwork(nn.Module):
    """What a generator paints, by kernels. It keeps copies: later changes of the generator do not reach it.

    Maps and their weights are of `dtype`; the codes, the biases and the picture that grows from scale to scale are
    float32.
    """

    def __init__(self, generator: Generator, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = copy.deepcopy(generator).requires_grad_(False).eval()
        fold_gains(generator)
        self.config, self.dtype = generator.config, dtype
        self.encoder = KernelEncoder(generator.encoder, self.config.scales[::-1], dtype)
        c4 = self.config.channels(4)
        style = generator.style.weight.unflatten(1, (c4, 4, 4)).permute(0, 2, 3, 1).flatten(1)  # channels last
        self.style, self.style_bias = constant(style, dtype), constant(generator.style.bias, dtype)
        starts = generator.start_global, generator.start_spatial
        rows = torch.cat([start.weight.unflatten(0, (c4, 4, 4)).permute(1, 2, 0, 3).flatten(0, 2) for start in starts])
        biases = torch.cat([start.bias.unflatten(0, (c4, 4, 4)).permute(1, 2, 0).flatten() for start in starts])
        self.starts, self.starts_bias = constant(rows, dtype), constant(biases, dtype)
        self.mapping = nn.ModuleList(_MappingLayer(layer) for layer in generator.mapping.layers)
        cascades = [cascade for cascade in generator.cascades if isinstance(cascade, Cascade)]
        self.cascades = nn.ModuleList(KernelCascade(cascade, dtype) for cascade in cascades)
        self._attending = [r for r in self.config.scales[::-1] if r <= self.config.attention_resolution]
        self.modulated = _modulated(cascades, dtype)
        self.unit_s, self.unit_z = (
            _SecondMoment(width, self.style.device) for width in (self.config.w_dim, self.config.z_dim)
        )

    def forward(self, image: Tensor, mask: Tensor, z: Tensor) -> Tensor:
        """As `Generator.forward`, with float32 output.

        Raises:
            MissingError: the kernels cannot run on this device.
        """
        require_kernels(image)
        levels: list[Level] | list[None] = [None] * len(self.cascades)
        rgb: Tensor | None = None
        if filled := self.config.fill == "pyramid":
            pyramid = known_pyramid(image, mask)
            pictures = fill(pyramid, enlarge)
            image, rgb, levels = pictures[-1], pictures[1], pyramid[2:]
        features = self.encoder(image, mask, filled=filled)
        flat = features[0].permute(0, 2, 3, 1).flatten(1)
        s = self.unit_s(F.linear(flat, self.style, self.style_bias).float())
        w = self.unit_z(z.float())
        for layer in self.mapping:
            w = layer(w)
        starts = F.linear(s.to(self.dtype), self.starts, self.starts_bias).unflatten(1, (2, 4, 4, -1)).unbind(1)
        f_g, f_s = (start.permute(0, 3, 1, 2) for start in starts)
        styles = self._styles(torch.cat([s, w], 1))
        missing = missing_positions(mask, self._attending, self.dtype)
        if styles[0].first.style is not None:
            f_g, f_s = (
                (x * given.style[:, :, None, None]).to(self.dtype)
                for x, given in ((f_g, styles[0].first), (f_s, styles[0].spatial))
                if given.style is not None
            )
        for cascade, f_e, style, level in zip(self.cascades, features, styles, levels, strict=True):
            f_g, f_s, rgb = cascade(f_g, f_s, f_e, style, missing.get(f_e.shape[2]), rgb, level)
        assert rgb is not None
        return rgb

    def _styles(self, g: Tensor) -> list[Styles]:
        given, others = self.modulated(g)
        count = len(self.cascades)
        found: list[Styles] = []
        place = len(given)
        following: tuple[Tensor | None, Tensor | None] = None, None
        for i in reversed(range(count)):  # the finest first: each wants the styles of the next
            size = 2 if i == count - 1 else 3
            first, *second, spatial = given[place - size : place]
            rgb, alpha = others[2 * i : 2 * i + 2]
            found.append(Styles(first, second[0] if second else None, spatial, rgb, alpha, *following))
            following, place = (first.style, spatial.style), place - size
        return found[::-1]


class _SecondMoment(nn.Module):
    """`normalise_second_moment` in three launches."""

    def __init__(self, width: int, device: torch.device) -> None:
        super().__init__()
        self.width = width
        self.zero = constant(torch.zeros(1, device=device))
        self.least = constant(torch.full((1,), math.sqrt(_EPSILON * width), device=device))

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, width) -> the same, with mean square 1."""
        length = torch.hypot(torch.linalg.vector_norm(x, dim=1, keepdim=True), self.least)
        return torch.addcdiv(self.zero, x, length, value=math.sqrt(self.width))


class _MappingLayer(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        assert isinstance(layer, FullyConnected)
        self.weight, self.bias = constant(layer.weight), constant(layer.bias)

    def forward(self, w: Tensor) -> Tensor:
        """float32 (N, inputs) -> (N, outputs)."""
        return epilogue(F.linear(w, self.weight)[:, :, None, None], None, self.bias)[:, :, 0, 0]


def _modulated(cascades: list[Cascade], dtype: torch.dtype) -> ModulatedLayers:
    """The 3x3 layers coarse to fine; of each cascade to-RGB's affine layer and alpha's, which takes the scale map's
    bias up, as the other affine layers."""
    layers: list[ModulatedWeight] = []
    up: list[bool] = []
    others: list[FullyConnected] = []
    for cascade in cascades:
        block, spatial = cascade.global_block, cascade.spatial_block
        for layer in (block.first, block.second, spatial.first):
            if layer is not None:
                layers.append(layer)
                up.append(block.up and layer is not block.second)
        assert spatial.affine_out.bias is not None
        spatial.alpha.bias.add_(spatial.affine_out.bias.chunk(2)[0])
        others += [cascade.rgb.affine, spatial.alpha]
    return ModulatedLayers(layers, up, others, dtype)
