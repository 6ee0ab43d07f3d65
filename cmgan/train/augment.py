"""What the discriminator sees of pictures: real and generated ones with the same random changes, lest it learn
a few photographs by heart (differentiable augmentation, Zhao et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_SHIFT = 8  # up to a share of 1 / 8 of the side, with wrap-around
_BRIGHTNESS = 0.3  # added, up or down at most
_STRENGTH = 0.5  # contrast and saturation are multiplied by 1 - this to 1 + this


@dataclass(frozen=True)
class Augmentation:
    """Changes drawn for N pictures of R x R: mirroring (N,), shifts in pixels (N, 2), and brightness, contrast and
    saturation, (N, 1, 1, 1) each."""

    mirrored: Tensor
    shifts: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor

    @classmethod
    def drawn(cls, like: Tensor) -> Augmentation:
        """For pictures (N, 3, R, R), on their device."""
        count, _, side, _ = like.shape

        def uniform(strength: float, around: float) -> Tensor:
            return around + strength * (2 * torch.rand(count, 1, 1, 1, device=like.device) - 1)

        reach = side // _SHIFT
        shifts = torch.randint(-reach, reach + 1, (count, 2), device=like.device)
        mirrored = torch.rand(count, device=like.device) < 0.5
        return cls(mirrored, shifts, uniform(_BRIGHTNESS, 0), uniform(_STRENGTH, 1), uniform(_STRENGTH, 1))

    def moved(self, x: Tensor) -> Tensor:
        """Pictures or masks (N, C, R, R), mirrored and shifted."""
        places = torch.arange(x.shape[3], device=x.device)
        rows = (places - self.shifts[:, :1]) % x.shape[3]  # (N, R), where each row comes from
        columns = (places - self.shifts[:, 1:]) % x.shape[3]
        columns = torch.where(self.mirrored[:, None], x.shape[3] - 1 - columns, columns)
        samples = torch.arange(len(x), device=x.device)[:, None, None]
        found = x.movedim(1, 3)[samples, rows[:, :, None], columns[:, None, :]]
        return found.movedim(3, 1)

    def __call__(self, picture: Tensor) -> Tensor:
        """Pictures (N, 3, R, R), mirrored, shifted and recoloured; with gradients."""
        x = self.moved(picture)
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * self.saturation
        mean = x.mean((1, 2, 3), keepdim=True)
        return mean + (x - mean) * self.contrast + self.brightness
