"""Triton kernels for the generator, and the choice between them and the reference."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from cmgan.errors import MissingError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from cmgan.model.generator import Generator

IMPLEMENTATIONS = ("reference", "triton", "auto")
_OLDEST = 8  # compute capability that kernels are made for: sm_80


def use(generator: Generator, implementation: str, dtype: torch.dtype | None = None) -> nn.Module:
    """What runs a generator for inference: the generator itself, or a network on kernels that paints the same picture.

    The latter keeps copies of the weights, of `dtype`, the generator's own if none is given; gradients and later
    changes of the generator do not reach it. It is called as the generator is: (image, mask, z) -> raw RGB.

    Args:
        generator: on the device that it will run on; it stays as it is.
        implementation: "reference", PyTorch's own operations; "triton", kernels; "auto", kernels on a GPU that they are
            made for, and the reference elsewhere.

    Raises:
        UsageError: no such implementation.
        MissingError: "triton" without the package, or, when the network is called, without a GPU.
    """
    if implementation not in IMPLEMENTATIONS:
        raise UsageError("kernels", f"kernels {implementation!r}: known are {', '.join(IMPLEMENTATIONS)}")
    if implementation == "triton" and importlib.util.find_spec("triton") is None:
        raise MissingError("triton", "the kernels need Triton; pip install triton")
    weight = generator.style.weight
    if implementation == "reference" or (implementation == "auto" and not _can(weight.device)):
        return generator
    from cmgan.kernels.network.network import KernelNetwork

    return KernelNetwork(generator, dtype or weight.dtype)


def _can(device: torch.device) -> bool:
    """Whether the kernels are made for this device."""
    import torch

    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device)[0] >= _OLDEST
