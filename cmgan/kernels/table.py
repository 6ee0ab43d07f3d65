"""The generator's table of operations on kernels: which way each layer takes, and how the kernels are put together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cmgan.kernels.epilogue import epilogue, scaling_epilogue
from cmgan.kernels.filters import Filters
from cmgan.kernels.launch import require_kernels
from cmgan.kernels.modconv2d import modconv2d
from cmgan.kernels.packed import PackedLayers
from cmgan.kernels.spatial import spatial_epilogue
from cmgan.kernels.winners import EPILOGUE, FOLD, REFERENCE, RGB, Layer, Way, batch_bucket
from cmgan.model import functional
from cmgan.model.decoder import Cascade
from cmgan.model.functional import Ops, demodulation, demodulation_of_energy, transposed_conv2d
from cmgan.model.generator import Generator
from cmgan.model.layers import ModulatedWeight

Given = tuple[Tensor, Tensor | None, Tensor]  # weight, style, bias; without a style the weight is folded


class KernelTable:
    """The operations of `functional.Ops` for one generator.

    `winners` is what "auto" follows; None asks for kernels everywhere, by rule: weights folded for one sample without
    gradients, otherwise library convolutions with fused epilogues, and the fused convolution for to-RGB.
    """

    def __init__(self, generator: Generator, winners: dict[Layer, Way] | None) -> None:
        self._winners = winners
        self._packed = PackedLayers(generator.modulated)
        self._filters = Filters()
        self._places = dict(_places(generator))

    def ops(self) -> Ops:
        """The table to hand to the generator."""
        return Ops(
            modulate=self.modulate,
            global_layers=self.global_layers,
            spatial_layers=self.spatial_layers,
            to_rgb=self.to_rgb,
            upsample=self._filters.upsample,
            filter_before_halving=self._filters.filter_before_halving,
        )

    def way(self, like: Tensor, kind: str, channels: tuple[int, int], side: int) -> Way:
        """The way of a layer whose activations are of the device, dtype and batch of `like` (N, ...)."""
        if self._winners is not None:
            if not like.is_cuda:
                return REFERENCE
            major, minor = torch.cuda.get_device_capability(like.device)
            dtype = str(like.dtype).removeprefix("torch.")
            layer = Layer(10 * major + minor, dtype, batch_bucket(len(like)), kind, *channels, side)
            way = self._winners.get(layer, REFERENCE)
            return EPILOGUE if way == FOLD and not _may_fold(like) else way
        require_kernels(like)
        if kind != "spatial" and _may_fold(like):
            return FOLD
        return RGB if kind == "rgb" else EPILOGUE

    def modulate(self, layers: Sequence[ModulatedWeight], g: Tensor) -> list[Given]:
        """`functional.modulate`, with the weights folded of the layers that take that way: one launch for them all."""
        if not _may_fold(g):
            return [layer(g) for layer in layers]
        folded = [self.way(g, *self._places[layer]) == FOLD for layer in layers]
        return self._packed(g, folded)

    def global_layers(
        self, f_g: Tensor, first: Given, second: Given | None, f_e: Tensor, *, up: bool
    ) -> tuple[Tensor, Tensor]:
        """`functional.global_layers`; the first layer's epilogue also writes what the second one convolves."""
        if second is None:
            x = self._layer(f_g, first, residual=f_e, up=up)
            return x, x
        channels, side = second[0].shape[0], f_e.shape[2]
        ways = self._way_of(f_g, first, up), self.way(f_g, "same", (channels, channels), side)
        if second[1] is None or REFERENCE in ways or ways[1].path == "fused":
            x = self._layer(f_g, first, residual=f_e, up=up)
            return x, self._layer(x, second)
        y, demod = _convolved(f_g, first, up=up)
        x, scaled = scaling_epilogue(y, demod, first[2], f_e, style=second[1], up=up)
        y = F.conv2d(scaled, second[0], padding=1)
        return x, epilogue(y, demodulation(second[0], second[1]), second[2])

    def spatial_layers(
        self,
        f_s: Tensor,
        first: Given,
        kernel: Tensor,
        maps: tuple[Tensor, Tensor, Tensor],
        noises: tuple[Tensor, Tensor],
        *,
        up: bool,
    ) -> Tensor:
        """`functional.spatial_layers`; the first layer's epilogue ends with the product by the scale map."""
        scale_map, alpha, shift_map = maps
        channels, side = kernel.shape[0], scale_map.shape[2]
        way = self.way(f_s, "spatial", (channels, channels), side)
        if way == REFERENCE or self._way_of(f_s, first, up).path in ("reference", "fused"):
            y = self._layer(f_s, first, noise=noises[0], up=up)
            return functional.spatial_layer(y, kernel, scale_map, alpha, shift_map, noises[1])
        y, demod = _convolved(f_s, first, up=up)
        scaled, energy = spatial_epilogue(y, demod, first[2], noises[0], scale_map, alpha, up=up)
        demod = demodulation_of_energy(kernel, energy)
        if way.tile is not None:
            return modconv2d(scaled, kernel, None, demod, None, shift_map, noises[1], tile=way.tile)
        return epilogue(F.conv2d(scaled, kernel, padding=1), demod, None, shift_map, noises[1])

    def to_rgb(self, x: Tensor, weight: Tensor, style: Tensor | None, bias: Tensor) -> Tensor:
        """`functional.to_rgb`."""
        if style is None:
            return F.conv2d(x, weight, bias)
        way = self.way(x, "rgb", (x.shape[1], weight.shape[0]), x.shape[2])
        if way.tile is None:
            return functional.to_rgb(x, weight, style, bias)
        return modconv2d(x, weight, style, None, bias, act=False, tile=way.tile)

    def _way_of(self, x: Tensor, given: Given, up: bool) -> Way:
        kind, side = ("up", 2 * x.shape[2]) if up else ("same", x.shape[2])
        return FOLD if given[1] is None else self.way(x, kind, (x.shape[1], given[0].shape[0]), side)

    def _layer(
        self, x: Tensor, given: Given, *, residual: Tensor | None = None, noise: Tensor | None = None, up: bool = False
    ) -> Tensor:
        """`functional.modulated_layer`."""
        way = self._way_of(x, given, up)
        weight, style, bias = given
        if way == REFERENCE:
            assert style is not None
            return functional.modulated_layer(x, weight, style, bias, residual=residual, noise=noise, up=up)
        if way.tile is not None:
            assert style is not None
            demod = demodulation(weight, style)
            return modconv2d(x, weight, style, demod, bias, residual, noise, tile=way.tile)
        y, demod_left = _convolved(x, given, up=up)
        return epilogue(y, demod_left, bias, residual, noise, up=up)


def _convolved(x: Tensor, given: Given, *, up: bool) -> tuple[Tensor, Tensor | None]:
    """The library convolution of a modulated layer, and the demodulation it still needs."""
    weight, style, _ = given
    demod = None
    if style is not None:
        x, demod = x * style[:, :, None, None], demodulation(weight, style)
    y = transposed_conv2d(x, weight) if up else F.conv2d(x, weight, padding=1)
    return y, demod


def _may_fold(like: Tensor) -> bool:
    """Folding pays for one sample; a tracer would keep the folded copy as a constant."""
    return len(like) == 1 and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _places(generator: Generator):
    """Each modulated layer with its kind, channels and output side."""
    for cascade, side in zip(generator.cascades, generator.config.scales, strict=True):
        assert isinstance(cascade, Cascade)
        for layer in cascade.modulated:
            up = cascade.global_block.up and layer in (cascade.global_block.first, cascade.spatial_block.first)
            kind = "rgb" if layer is cascade.rgb else "up" if up else "same"
            yield layer, (kind, (layer.weight.shape[1], layer.weight.shape[0]), side)
