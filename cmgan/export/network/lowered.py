"""The network as exporters want it: constant weights, few and large operations, no Fourier transforms.

The reference stays untouched: a copy of it gets other modules and another table of operations.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cmgan.export.network.decoder import LOWERED, lower_cascade
from cmgan.export.network.encoder import FEATURE_GAIN, LoweredEncoder
from cmgan.model.decoder import Cascade, SpatialBlock
from cmgan.model.generator import Generator
from cmgan.model.layers import FullyConnected, ModulatedWeight, fold_gains
from cmgan.model.pipeline import inpaint_bytes


class Lowered(nn.Module):
    """A copy of a generator made for tracing: gains folded into the weights, encoder and decoder blocks replaced.

    `pipeline` "full" takes and gives bytes (`cmgan.model.pipeline.inpaint_bytes`), "core" is the network alone:
    image float32 (N, 3, R, R) in [-1, 1], mask float32 (N, 1, R, R), 1 in the hole. `fft` "matmul" writes the Fourier
    transforms as products with constant matrices, "dft" leaves them to the exporter. `forms` chooses between equals:
    "products" of channels by positions where that saves changes of layout, upsampling convolutions in phases, and
    styles that fit half precision (ONNX Runtime, TensorRT); "convolutions", which let a runtime keep its maps in NHWC
    throughout (OpenVINO, AOTInductor).
    """

    def __init__(self, generator: Generator, pipeline: str, fft: str, forms: str = "products") -> None:
        super().__init__()
        self.pipeline = pipeline
        self.generator = copy.deepcopy(generator).eval()
        self.generator.requires_grad_(False)
        fold_gains(self.generator)
        fine_to_coarse = generator.config.scales[::-1]
        self.generator.add_module("encoder", LoweredEncoder(self.generator.encoder, fine_to_coarse, fft))
        self.generator.style.weight.div_(FEATURE_GAIN)
        for cascade in self.generator.cascades:
            assert isinstance(cascade, Cascade)
            lower_cascade(cascade, forms)
        self.generator.ops = LOWERED[forms]
        if forms == "convolutions":
            layers = self.generator.mapping.layers
            self.generator.mapping.layers = nn.ModuleList(_ColumnProduct(layer) for layer in layers)

    def forward(self, image: Tensor, mask: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        """The picture and the raw RGB (N, 3, R, R), or the raw RGB alone."""
        if self.pipeline == "full":
            return inpaint_bytes(self.generator, image, mask, z)
        return (self.generator(image, mask, z),)


class _ColumnProduct(nn.Module):
    """A `FullyConnected` layer whose first factor is the constant one: OpenVINO leaves such products in fp32 when it
    computes in bf16, where rounding in the code w would shift the colours of the whole picture."""

    def __init__(self, layer: nn.Module) -> None:
        """The gains of `layer` are in its weights already."""
        super().__init__()
        assert isinstance(layer, FullyConnected)
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) -> (N, outputs)."""
        return (self.weight @ x[..., None])[..., 0] + self.bias


def example_inputs(generator: Generator, pipeline: str) -> tuple[Tensor, ...]:
    """What a `Lowered` is traced with: a batch of two, since one would be taken for a constant."""
    side = generator.config.resolution
    z = torch.zeros(2, generator.config.z_dim)
    if pipeline == "full":
        return torch.zeros(2, side, side, 3, dtype=torch.uint8), torch.zeros(2, side, side, dtype=torch.uint8), z
    return torch.zeros(2, 3, side, side), torch.zeros(2, 1, side, side), z


def hot_layers(generator: Generator) -> Iterator[str]:
    """The layers whose weights and biases are scaled to make hot weights, which demodulation takes out again: the style
    affine of every demodulated layer, alpha's, and of the lowered block the scale map's. To-RGB is left alone."""
    for name, module in generator.named_modules():
        if isinstance(module, ModulatedWeight) and not name.endswith(".rgb"):
            yield f"{name}.affine"
        elif isinstance(module, SpatialBlock):
            yield f"{name}.alpha"
            yield f"{name}.affine_out"
