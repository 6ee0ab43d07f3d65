"""What a network on kernels keeps of a generator: copies in the layout that its kernels read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cmgan.model.layers import Conv


def constant(values: Tensor, dtype: torch.dtype = torch.float32) -> nn.Buffer:
    """Biases and codes stay float32: they cost nothing, and rounded they shift the colours of the whole picture."""
    return nn.Buffer(values.detach().to(dtype, copy=True).contiguous(), persistent=False)


def map_weight(weight: Tensor, dtype: torch.dtype) -> nn.Buffer:
    """The weights of a library convolution, (Co, Ci, k, k), channels last as the maps."""
    laid_out = weight.detach().to(dtype, copy=True).contiguous(memory_format=torch.channels_last)
    return nn.Buffer(laid_out, persistent=False)


def bias_of(conv: Conv) -> Tensor:
    """The bias of a convolution that has one."""
    assert conv.bias is not None
    return conv.bias
