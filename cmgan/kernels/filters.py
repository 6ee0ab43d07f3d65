"""The fixed low-pass filters with their taps kept: making them anew costs more launches than filtering."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cmgan.model.functional import fir


class Filters:
    """`functional.upsample` and `functional.filter_before_halving`; equal to them to the bit."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int, torch.dtype, torch.device], Tensor] = {}

    def upsample(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 2H, 2W): zero insertion, FIR with gain 4."""
        return F.conv_transpose2d(x, self._taps(x, 4), stride=2, padding=1, groups=x.shape[1])

    def filter_before_halving(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H + 1, W + 1)."""
        return F.conv2d(x, self._taps(x, 1), padding=2, groups=x.shape[1])

    def _taps(self, x: Tensor, gain: int) -> Tensor:
        if torch.compiler.is_compiling():  # a tracer makes constants of its own
            return fir(x.shape[1], x) * gain
        key = x.shape[1], gain, x.dtype, x.device
        if key not in self._kept:
            with torch.inference_mode(False):  # training may use them after inference has made them
                self._kept[key] = (fir(x.shape[1], x) * gain).contiguous()
        return self._kept[key]
