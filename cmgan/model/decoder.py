"""The cascaded decoder: a global and a spatial modulation block a scale (CM-GAN, section 3.2, figures 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cmgan.model.functional import Level, Modulated, Ops, activate, attend, known_at
from cmgan.model.layers import Conv, FullyConnected, ModulatedWeight, Noise, scaled

# What each modulated layer is given for the code in use.
Given = Mapping[ModulatedWeight, Modulated]


class GlobalBlock(nn.Module):
    """GB: two layers modulated by the global code; the encoder's feature enters the first.

    The finest scale has the first layer only: its F_g would go nowhere.
    """

    def __init__(self, channels_in: int, channels: int, code: int, *, up: bool, last: bool) -> None:
        super().__init__()
        self.up = up
        self.first = ModulatedWeight(channels_in, channels, 3, code)
        self.second = None if last else ModulatedWeight(channels, channels, 3, code)

    def forward(self, f_g: Tensor, f_e: Tensor, given: Given, ops: Ops) -> tuple[Tensor, Tensor]:
        """f_g (N, Ci, H, H), f_e (N, C, H', H') -> X and the next F_g, both (N, C, H', H')."""
        second = None if self.second is None else given[self.second]
        return ops.global_layers(f_g, given[self.first], second, f_e, up=self.up)


class SpatialBlock(nn.Module):
    """SB: a layer modulated by the global code, then one modulated position by position by GB's X."""

    def __init__(self, channels_in: int, channels: int, code: int, side: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.first = ModulatedWeight(channels_in, channels, 3, code)
        self.first_noise = Noise(side)
        self.affine_hidden = Conv(channels, channels, 3)  # the affine parameter network APN, two layers
        self.affine_out = Conv(channels, 2 * channels, 1)
        self.alpha = FullyConnected(code, channels, bias_init=1.0)
        self.second = Conv(channels, channels, 3, bias=False)  # K; APN's shift map is its bias
        self.second_noise = Noise(side)

    def forward(self, f_s: Tensor, x: Tensor, g: Tensor, given: Given, ops: Ops, random_noise: bool) -> Tensor:
        """f_s (N, Ci, H, H), GB's x (N, C, H', H'), g (N, code) -> the next F_s (N, C, H', H')."""
        n = g.shape[0]
        scale_map, shift_map = self.affine_out(activate(self.affine_hidden(x, padding=1))).chunk(2, 1)  # A0, B
        kernel = scaled(self.second.weight, self.second.gain)
        noises = self.first_noise(n, random_noise), self.second_noise(n, random_noise)
        maps = scale_map, self.alpha(g), shift_map
        return ops.spatial_layers(f_s, given[self.first], kernel, maps, noises, up=self.up)


class MaskedAttention(nn.Module):
    """Carries information from known to missing positions: queries everywhere, keys and values where a pixel is known.

    Not in the paper; one head, residual with a learned gain.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.leave = (Conv(channels, channels, 1) for _ in range(4))
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """x (N, C, H, W), known (N, 1, H, W) -> (N, C, H, W)."""
        q, k, v = (conv(x).flatten(2).transpose(1, 2) for conv in (self.query, self.key, self.value))  # (N, HW, C)
        seen = attend(q, k, v, known.flatten(2)).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.gain * self.leave(seen)


class Cascade(nn.Module):
    """One scale of the decoder: GB, SB guided by it, attention at coarse scales, and the picture so far."""

    def __init__(
        self, channels_in: int, channels: int, code: int, side: int, *, up: bool, last: bool, attention: bool
    ) -> None:
        super().__init__()
        self.global_block = GlobalBlock(channels_in, channels, code, up=up, last=last)
        self.spatial_block = SpatialBlock(channels_in, channels, code, side, up=up)
        self.attention = MaskedAttention(channels) if attention else None
        self.rgb = ModulatedWeight(channels, 3, 1, code)

    @property
    def modulated(self) -> list[ModulatedWeight]:
        """The layers that the global code modulates."""
        layers = [self.global_block.first, self.global_block.second, self.spatial_block.first, self.rgb]
        return [layer for layer in layers if layer is not None]

    def forward(
        self, f_g: Tensor, f_s: Tensor, f_e: Tensor, g: Tensor, given: Given, mask: Tensor, ops: Ops, random_noise: bool
    ) -> tuple[Tensor, Tensor]:
        """f_g, f_s (N, Ci, H, H), f_e (N, C, H', H'), g (N, code), mask (N, 1, R, R) -> f_g, f_s (N, C, H', H')."""
        x, f_g = self.global_block(f_g, f_e, given, ops)
        f_s = self.spatial_block(f_s, x, g, given, ops, random_noise)
        if self.attention is not None:
            f_s = self.attention(f_s, known_at(mask, f_s.shape[2]))
        return f_g, f_s

    def paint(self, rgb: Tensor | None, f_s: Tensor, given: Given, ops: Ops, level: Level | None = None) -> Tensor:
        """Skip connection (StyleGAN2, figure 7b): the coarser picture upsampled, plus this scale's (N, 3, H', H').

        With a level of the known pyramid, cells that have known pixels take their average instead.
        """
        here = ops.to_rgb(f_s, *given[self.rgb])
        if level is not None:
            assert rgb is not None
            average, known = level
            return torch.where(known, average, ops.enlarge(rgb) + here)
        return here if rgb is None else ops.upsample(rgb) + here
