"""How far a kernel may be from the exact result: no worse than twice PyTorch's own error in that dtype, plus a floor.

The exact result is the composite in float64; PyTorch's own is the composite in the kernel's dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

# Floors, as shares of the largest exact value: dtype -> (share, why).
FLOORS = MappingProxyType(
    {
        "float32": (1e-6, "Eight units in the last place: sums of a few thousand terms, mostly cancelling."),
        "tf32": (1e-3, "Products keep 10 bits of mantissa, 2**-10; PyTorch may choose not to use them."),
        "float16": (2**-10, "One unit in the last place: both round once, on the way out."),
        "bfloat16": (2**-7, "One unit in the last place; the interpreter truncates where a GPU rounds."),
    }
)
# An op against PyTorch's own gradients of its composite, a share of the largest value: the same operations, so only
# rounding is left.
COMPOSITE_FLOAT64 = 1e-12
# The generator on kernels against the reference in float32, a share of the largest value, after some forty layers.
GENERATOR = 1e-5


@dataclass(frozen=True)
class Comparison:
    """Largest absolute errors against the exact result, and the largest that is allowed."""

    error: float
    eager_error: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.error <= self.limit  # a NaN is not


def three_way(kernel: Tensor, eager: Tensor, exact: Tensor, name: str) -> Comparison:
    """Judge a kernel's output; the three are of one shape, `name` is a row of `FLOORS`. Comparing nothing fails."""
    if not kernel.shape == eager.shape == exact.shape or not exact.numel() or exact.dtype != torch.float64:
        raise ValueError(f"cannot compare {kernel.shape}, {eager.shape} and {exact.dtype} {exact.shape}")
    error, eager_error = ((x.double() - exact).abs().max().item() for x in (kernel, eager))
    return Comparison(error, eager_error, 2 * eager_error + FLOORS[name][0] * exact.abs().max().item())


def relative_error(value: Tensor, reference: Tensor) -> float:
    """The largest absolute difference as a share of the largest reference value."""
    return ((value - reference).abs().max() / reference.abs().max()).item()
