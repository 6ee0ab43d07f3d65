"""The operations as exporters want them: constant weights, and Fourier transforms as products with constant matrices.

The modules stay untouched: a `LoweredOps` is another table with the signatures of `cmgan.model.functional`.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from cmgan.model.functional import ACTIVATION_SPACE, Ops
from cmgan.model.generator import Generator
from cmgan.model.layers import Conv, FullyConnected, ModulatedWeight
from cmgan.model.pipeline import inpaint_bytes


class FourierProducts(nn.Module):
    """rfft2 and irfft2 of square pictures as real matrix products; the matrices are buffers, made in float64."""

    def __init__(self, sides: list[int]) -> None:
        super().__init__()
        for side in sides:
            # Angle of row j and column k; reduced modulo one turn before the multiplication, which keeps it exact.
            turns = torch.outer(torch.arange(side), torch.arange(side)).remainder(side).double() / side
            cosine = (2 * math.pi * turns).cos() / math.sqrt(side)
            sine = (2 * math.pi * turns).sin() / math.sqrt(side)
            half = side // 2 + 1
            weight = torch.full((half, 1), 2.0, dtype=torch.float64)  # a half spectrum stands for its mirror image
            weight[0] = weight[-1] = 1
            self._keep(side, cosine=cosine, sine=sine, real=cosine[:, :half], imaginary=-sine[:, :half])
            self._keep(side, from_real=weight * cosine[:half], from_imaginary=-weight * sine[:half])

    def _keep(self, side: int, **matrices: Tensor) -> None:
        for name, matrix in matrices.items():
            self.register_buffer(f"{name}_{side}", matrix.float().contiguous(), persistent=False)

    def _matrix(self, name: str, side: int) -> Tensor:
        return self.get_buffer(f"{name}_{side}")

    def rfft2(self, x: Tensor) -> Tensor:
        """As `functional.rfft2`: (N, C, H, H) -> (N, 2C, H, H / 2 + 1)."""
        side = x.shape[2]
        cosine, sine = self._matrix("cosine", side), self._matrix("sine", side)
        real, imaginary = x @ self._matrix("real", side), x @ self._matrix("imaginary", side)
        return torch.cat([cosine @ real + sine @ imaginary, cosine @ imaginary - sine @ real], 1)

    def irfft2(self, x: Tensor) -> Tensor:
        """As `functional.irfft2`: (N, 2C, H, H / 2 + 1) -> (N, C, H, H)."""
        side = x.shape[2]
        cosine, sine = self._matrix("cosine", side), self._matrix("sine", side)
        real, imaginary = x.chunk(2, 1)
        columns = (cosine @ real - sine @ imaginary) @ self._matrix("from_real", side)
        return columns + (sine @ real + cosine @ imaginary) @ self._matrix("from_imaginary", side)


class Lowered(nn.Module):
    """A copy of a generator made for tracing: gains folded into the weights, operations replaced.

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
        self.generator.ops = ACTIVATION_SPACE
        if fft == "matmul":
            self.fourier = FourierProducts(generator.config.scales)
            self.generator.ops = replace(ACTIVATION_SPACE, rfft2=self.fourier.rfft2, irfft2=self.fourier.irfft2)

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
