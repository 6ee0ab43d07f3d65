"""The perceptual loss: distance of two pictures in the features of a network that was trained to recognise things."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNIT_EPSILON = 1e-6  # beside squared lengths of about one or more: a position without any feature has a tame gradient


def feature_distance(ours: Sequence[Tensor], truth: Sequence[Tensor]) -> Tensor:
    """Sum over the layers of the mean squared distance of feature vectors of unit length (LPIPS without learned
    weights, Zhang et al. 2018, equation 1): two lists of (N, C_l, H_l, W_l) -> a scalar in [0, 4 L]."""
    distances = [(_unit(a) - _unit(b)).square().sum(1).mean() for a, b in zip(ours, truth, strict=True)]
    return torch.stack(distances).sum()


def _unit(features: Tensor) -> Tensor:
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + UNIT_EPSILON)


class Perceptual(nn.Module):
    """`feature_distance` of two pictures, (N, 3, R, R) in [-1, 1], shrunk to `side` pixels where they are larger.

    `side` 0 takes them as they are. Evaluated in float32, whatever the autocast around it.
    """

    def __init__(self, extractor: nn.Module, side: int) -> None:
        super().__init__()
        self.extractor = extractor
        self.side = side

    def forward(self, picture: Tensor, truth: Tensor) -> Tensor:
        with torch.autocast(picture.device.type, enabled=False):
            with torch.no_grad():
                wanted = self.extractor(self._shrunk(truth.float()))
            return feature_distance(self.extractor(self._shrunk(picture.float())), wanted)

    def _shrunk(self, x: Tensor) -> Tensor:
        factor = x.shape[-1] // self.side if self.side else 1
        return F.avg_pool2d(x, factor) if factor > 1 else x
