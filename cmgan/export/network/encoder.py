"""The encoder as exporters want it: one 3x3 convolution a block instead of three on slices, and no gains."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.export.network.fourier import SPECTRAL
from cmgan.model.encoder import Encoder, FFCBlock
from cmgan.model.functional import CLAMP, GAIN, MERGE, SLOPE, Ops, filter_before_halving
from cmgan.model.layers import Conv

# Features are carried times this. The next activation's gain is then on them already: it is positively homogeneous.
FEATURE_GAIN = GAIN


class LoweredBlock(nn.Module):
    """An `FFCBlock` over all channels at once: those that do not mix have zero weights."""

    def __init__(self, block: FFCBlock, side: int, fft: str) -> None:
        """The equalised gains of `block` are in its weights already; `side` is that of the output."""
        super().__init__()
        self.halve, self.side = block.halve, side
        transform, gain = block.global_to_global, MERGE * GAIN
        local = torch.cat([block.local_to_local.weight, block.global_to_local.weight], 1)
        wide = F.pad(block.local_to_global.weight, (0, 0, 0, 0, 0, local.shape[1] - block.local_in))
        local_bias = bias_of(block.local_to_local) + bias_of(block.global_to_local)
        wide_bias = bias_of(block.local_to_global) + bias_of(transform.leave)
        bias = torch.cat([local_bias, wide_bias]) * FEATURE_GAIN
        stride, padding = (2, 0) if self.halve else (1, 1)
        self.conv = constant_conv(torch.cat([local, wide]) * gain, bias * gain, stride, padding)
        mean = torch.full((1, 1, stride, stride), stride**-2)  # of the 2x2 windows, where it halves
        enter = F.pad(transform.enter.weight, (0, 0, 0, 0, block.local_in, 0)) * mean
        self.enter = constant_conv(enter, bias_of(transform.enter) * FEATURE_GAIN, stride)
        spectrum = constant_conv(transform.spectrum.weight, bias_of(transform.spectrum) * FEATURE_GAIN)
        self.spectral = SPECTRAL[fft](spectrum, side)
        leave = F.pad(transform.leave.weight, (0, 0, 0, 0, 0, 0, len(local), 0))
        self.leave = constant_conv(leave * MERGE * gain)

    def forward(self, x: Tensor) -> Tensor:
        """(N, Ci, H, H) -> (N, Co, H', H'), both times `FEATURE_GAIN`."""
        entered = self.enter(x).flatten(2)
        spectral = (entered + self.spectral(entered)).unflatten(2, (self.side, -1))
        near = self.conv(filter_before_halving(x) if self.halve else x)
        return _activate(near + self.leave(spectral))


class LoweredEncoder(nn.Module):
    """An `Encoder` whose features come times `FEATURE_GAIN`; `fft` as for `cmgan.export.network.lowered.Lowered`."""

    def __init__(self, encoder: Encoder, sides: list[int], fft: str) -> None:
        """`sides` of the features, fine to coarse."""
        super().__init__()
        gain = GAIN * FEATURE_GAIN
        self.stem = constant_conv(encoder.stem.weight * gain, bias_of(encoder.stem) * gain)
        self.blocks = nn.ModuleList()
        for block, side in zip(encoder.blocks, sides, strict=True):
            assert isinstance(block, FFCBlock)
            self.blocks.append(LoweredBlock(block, side, fft))

    def forward(self, image: Tensor, mask: Tensor, ops: Ops) -> list[Tensor]:
        """As `Encoder.forward`; `ops` are not used."""
        x = _activate(self.stem(torch.cat([image, mask], 1)))
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features[::-1]


def _activate(x: Tensor) -> Tensor:
    """`functional.activate` but for its gain, on features times `FEATURE_GAIN`."""
    limit = CLAMP * FEATURE_GAIN
    return F.leaky_relu(x, SLOPE).clamp(-limit, limit)


def bias_of(conv: Conv) -> Tensor:
    """The bias of a convolution that has one."""
    assert conv.bias is not None
    return conv.bias


def constant_conv(weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """A convolution of these weights (Co, Ci, k, k)."""
    out, into, size, _ = weight.shape
    conv = nn.Conv2d(into, out, size, stride, padding, bias=bias is not None, device="meta")
    conv.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    conv.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return conv
