"""The network as exporters want it: constant weights, few and large operations, no Fourier transforms.

The reference stays untouched: a copy of it gets other modules and another table of operations.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from cmgan.export.lowered_decoder import LOWERED, lower_cascade
from cmgan.export.lowered_encoder import FEATURE_GAIN, LoweredEncoder
from cmgan.model.decoder import Cascade
from cmgan.model.generator import Generator
from cmgan.model.layers import Conv, FullyConnected, ModulatedWeight
from cmgan.model.pipeline import inpaint_bytes


class Lowered(nn.Module):
    """A copy of a generator made for tracing: gains folded into the weights, encoder and decoder blocks replaced.

    `pipeline` "full" takes and gives bytes (`cmgan.model.pipeline.inpaint_bytes`), "core" is the network alone:
    image float32 (N, 3, R, R) in [-1, 1], mask float32 (N, 1, R, R), 1 in the hole. `fft` "matmul" writes the Fourier
    transforms as products with constant matrices, "dft" leaves them to the exporter.
    """

    def __init__(self, generator: Generator, pipeline: str, fft: str) -> None:
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
            lower_cascade(cascade)
        self.generator.ops = LOWERED

    def forward(self, image: Tensor, mask: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        """The picture and the raw RGB (N, 3, R, R), or the raw RGB alone."""
        if self.pipeline == "full":
            return inpaint_bytes(self.generator, image, mask, z)
        return (self.generator(image, mask, z),)


def fold_gains(generator: Generator) -> None:
    """Multiply every equalised-learning-rate gain into its weight, in place: fewer constants, the same function."""
    for module in generator.modules():
        if isinstance(module, (Conv, FullyConnected, ModulatedWeight)):
            module.weight.mul_(module.gain)
            module.gain = 1.0
        if isinstance(module, FullyConnected):
            module.bias.mul_(module.lr_multiplier)
            module.lr_multiplier = 1.0
