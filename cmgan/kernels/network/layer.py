"""A 3x3 layer on the way that is fastest for it: one kernel, or a library's convolution and a pass behind it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from cmgan.kernels.choose import way_of
from cmgan.kernels.epilogue import epilogue
from cmgan.kernels.modconv2d import modconv2d


def layer(
    x: Tensor,
    weight: Tensor,
    demod: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    noise: Tensor | None = None,
    after: Tensor | None = None,
) -> Tensor:
    """activate(demod * conv(x, weight) + bias + residual + noise) * after; the arguments are those of `modconv2d`."""
    if way_of(x, weight) == "fused":
        return modconv2d(x, weight, None, None, demod, bias, residual, noise, after)
    return epilogue(F.conv2d(x, weight, padding=1), demod, bias, residual, noise, after)
