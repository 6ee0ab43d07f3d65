"""The encoder on kernels: a block has one 3x3 convolution instead of three on slices, and a pass around a transform."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.kernels.epilogue import epilogue
from cmgan.kernels.halve import filter_before_halving
from cmgan.kernels.network.constants import bias_of, constant, map_weight
from cmgan.kernels.spectrum import enter_spectrum, leave_spectrum
from cmgan.kernels.stem import stem
from cmgan.model.encoder import Encoder, FFCBlock
from cmgan.model.functional import MERGE


class KernelBlock(nn.Module):
    """An `FFCBlock` over all channels at once: those that do not mix have zero weights."""

    def __init__(self, block: FFCBlock, side: int, dtype: torch.dtype) -> None:
        """`side` is that of the output."""
        super().__init__()
        self.halve, self.side = block.halve, side
        transform, window = block.global_to_global, 2 if block.halve else 1
        local = torch.cat([block.local_to_local.weight, block.global_to_local.weight], 1)
        wide = F.pad(block.local_to_global.weight, (0, 0, 0, 0, 0, local.shape[1] - block.local_in))
        self.weight = map_weight(torch.cat([local, wide]) * MERGE, dtype)
        local_bias = bias_of(block.local_to_local) + bias_of(block.global_to_local)
        self.bias = constant(torch.cat([local_bias, bias_of(block.local_to_global) + bias_of(transform.leave)]) * MERGE)
        enter = F.pad(transform.enter.weight, (0, 0, 0, 0, block.local_in, 0)).expand(-1, -1, window, window)
        self.enter = map_weight(enter / window**2, dtype)  # of the mean over 2x2, where it halves
        self.zero_frequency = constant(bias_of(transform.enter) * side)
        self.spectrum = map_weight(transform.spectrum.weight, dtype)
        self.spectrum_bias = constant(bias_of(transform.spectrum))
        leave = F.pad(transform.leave.weight, (0, 0, 0, 0, 0, 0, len(local), 0))
        self.leave = map_weight(leave * MERGE * MERGE, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, Ci, H, H) -> (N, Co, H', H')."""
        entered = F.conv2d(x, self.enter, stride=self.enter.shape[2])
        planes = entered.to(torch.float32, memory_format=torch.contiguous_format)
        f = torch.view_as_real(torch.fft.rfft2(planes, norm="backward"))
        spectrum = enter_spectrum(f, self.zero_frequency, 1 / self.side, x)
        y = F.conv2d(spectrum, self.spectrum)
        f = torch.view_as_complex(leave_spectrum(y, self.spectrum_bias, spectrum, 1 / self.side))
        spectral = torch.fft.irfft2(f, s=(self.side, self.side), norm="forward")
        residual = F.conv2d(spectral.to(x.dtype, memory_format=torch.channels_last), self.leave)
        if self.halve:
            near = F.conv2d(filter_before_halving(x), self.weight, stride=2)
        else:
            near = F.conv2d(x, self.weight, padding=1)
        return epilogue(near, None, self.bias, residual)


class KernelEncoder(nn.Module):
    """An `Encoder`, its gains folded already, with maps of `dtype`."""

    def __init__(self, encoder: Encoder, sides: list[int], dtype: torch.dtype) -> None:
        """`sides` of the features, fine to coarse."""
        super().__init__()
        self.weight = constant(encoder.stem.weight.flatten(1).t(), dtype)
        self.bias = constant(bias_of(encoder.stem))
        self.blocks = nn.ModuleList()
        for block, side in zip(encoder.blocks, sides, strict=True):
            assert isinstance(block, FFCBlock)
            self.blocks.append(KernelBlock(block, side, dtype))

    def forward(self, image: Tensor, mask: Tensor, *, filled: bool) -> list[Tensor]:
        """As `Encoder.forward`; `filled` says that the image's hole is."""
        x = stem(image, mask, self.weight, self.bias, filled)
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features[::-1]
