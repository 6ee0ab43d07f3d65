"""The mask-aware encoder: fast Fourier convolutions at every scale (CM-GAN, section 3.1 and figure 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmgan.config import GeneratorConfig
from cmgan.model.functional import MERGE, Ops, activate
from cmgan.model.layers import Conv


class SpectralTransform(nn.Module):
    """Global to global: every output position sees the whole picture through its spectrum (FFC, figure 2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        width = channels_out // 2
        self.enter = Conv(channels_in, width, 1)
        self.spectrum = Conv(2 * width, 2 * width, 1)  # real and imaginary parts as channels
        self.leave = Conv(width, channels_out, 1)

    def forward(self, x: Tensor, ops: Ops) -> Tensor:
        """(N, Ci, H, H) -> (N, Co, H, H)."""
        x = self.enter(x)
        return self.leave((x + ops.irfft2(F.relu(self.spectrum(ops.rfft2(x))))) * MERGE)


class FFCBlock(nn.Module):
    """Fast Fourier convolution: half of the channels local, half global, each feeding both (LaMa, section 2.1)."""

    def __init__(self, channels_in: int, channels_out: int, *, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.local_in = channels_in - channels_in // 2
        local_out = channels_out - channels_out // 2
        self.local_to_local = Conv(self.local_in, local_out, 3)
        self.global_to_local = Conv(channels_in // 2, local_out, 3)
        self.local_to_global = Conv(self.local_in, channels_out // 2, 3)
        self.global_to_global = SpectralTransform(channels_in // 2, channels_out // 2)

    def forward(self, x: Tensor, ops: Ops) -> Tensor:
        """(N, Ci, H, H) -> (N, Co, H, H), or (N, Co, H / 2, H / 2) when it halves."""
        spectral_in = x[:, self.local_in :]
        if self.halve:
            x, spectral_in = ops.filter_before_halving(x), F.avg_pool2d(spectral_in, 2)
        window = {"stride": 2} if self.halve else {"padding": 1}
        near, far = x[:, : self.local_in], x[:, self.local_in :]
        local = self.local_to_local(near, **window) + self.global_to_local(far, **window)
        wide = self.local_to_global(near, **window) + self.global_to_global(spectral_in, ops)
        return activate(torch.cat([local, wide], 1) * MERGE)


class Encoder(nn.Module):
    """Picture and mask to features of every scale."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        fine_to_coarse = config.scales[::-1]
        widths = [config.channels(r) for r in fine_to_coarse]
        self.stem = Conv(4, widths[0], 1)
        self.blocks = nn.ModuleList([FFCBlock(widths[0], widths[0], halve=False)])
        self.blocks.extend(FFCBlock(a, b, halve=True) for a, b in zip(widths, widths[1:], strict=False))

    def forward(self, image: Tensor, mask: Tensor, ops: Ops) -> list[Tensor]:
        """image (N, 3, R, R), its hole 0 or filled, mask (N, 1, R, R), 1 there -> F_e (N, c(r), r, r), r = 4 ... R."""
        x = activate(self.stem(torch.cat([image, mask], 1)))
        features = []
        for block in self.blocks:
            x = block(x, ops)
            features.append(x)
        return features[::-1]
