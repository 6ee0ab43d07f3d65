"""A network in the style of LaMa (Suvorov et al. 2022, figure 2): residual blocks of fast Fourier convolutions
(Chi et al. 2020), written from the papers, small enough for a test."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FourierUnit(nn.Module):
    """FFC paper, figure 2: a 1x1 convolution on the real and imaginary parts of the half spectrum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(2 * channels, 2 * channels, 1), nn.BatchNorm2d(2 * channels), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        spectrum = torch.view_as_real(torch.fft.rfftn(x, dim=(-2, -1), norm="ortho"))  # (N, C, H, W/2+1, 2)
        mixed = self.mix(spectrum.permute(0, 1, 4, 2, 3).reshape(n, 2 * c, h, w // 2 + 1))
        parts = mixed.reshape(n, c, 2, h, w // 2 + 1).permute(0, 1, 3, 4, 2).contiguous()
        return torch.fft.irfftn(torch.view_as_complex(parts), s=(h, w), dim=(-2, -1), norm="ortho")


class FastFourierConvolution(nn.Module):
    """FFC paper, figure 1: a quarter of the channels local, the rest global through the spectrum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = [channels // 4, channels - channels // 4]
        self.local = nn.Conv2d(channels, self.split[0], 3, padding=1, padding_mode="reflect")
        self.to_global = nn.Conv2d(self.split[0], self.split[1], 3, padding=1, padding_mode="reflect")
        self.reduce = nn.Conv2d(self.split[1], self.split[1] // 2, 1)
        self.spectral = FourierUnit(self.split[1] // 2)
        self.expand = nn.Conv2d(self.split[1] // 2, self.split[1], 1)

    def forward(self, x: Tensor) -> Tensor:
        local, spread = torch.split(x, self.split, dim=1)
        reduced = self.reduce(spread)
        spread = self.to_global(local) + self.expand(reduced + self.spectral(reduced))
        return torch.cat([self.local(x), spread], dim=1).relu()


class SmallLama(nn.Module):
    """Image and mask (N, 4, R, R) to image (N, 3, R, R), at R/8 inside."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        wide = 8 * channels
        self.stem = nn.Conv2d(4, channels, 7, padding=3, padding_mode="reflect")
        self.down = nn.ModuleList(nn.Conv2d(channels << i, channels << i + 1, 3, 2, 1) for i in range(3))
        self.blocks = nn.ModuleList(FastFourierConvolution(wide) for _ in range(2 * blocks))
        self.up = nn.ModuleList(nn.ConvTranspose2d(wide >> i, wide >> i + 1, 3, 2, 1, 1) for i in range(3))
        self.head = nn.Conv2d(channels, 3, 7, padding=3, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for layer in self.down:
            x = layer(x).relu()
        for first, second in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            x = x + second(first(x))
        for layer in self.up:
            x = layer(x).relu()
        return self.head(x).sigmoid()
