"""Triton kernels for the generator's modulated convolutions, and the switch between them and the reference."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from cmgan.errors import MissingError, UsageError

if TYPE_CHECKING:
    from cmgan.model.generator import Generator

IMPLEMENTATIONS = ("reference", "triton", "auto")


def use(generator: Generator, implementation: str) -> Generator:
    """Let the generator run on the reference or on kernels: the same weights, the same picture. Returns the generator.

    Args:
        generator: changed in place; its parameters are untouched and can be trained whatever is in use.
        implementation: "reference", PyTorch's own operations; "triton", kernels everywhere; "auto", what was measured
            to be the fastest on this GPU, the reference where nothing was.

    Raises:
        UsageError: no such implementation.
        MissingError: "triton" without the package, or, when the generator is called, without a GPU.
    """
    if implementation not in IMPLEMENTATIONS:
        raise UsageError("kernels", f"{implementation!r} is none of {', '.join(IMPLEMENTATIONS)}")
    from cmgan.model.functional import ACTIVATION_SPACE

    generator.ops = ACTIVATION_SPACE
    if implementation == "triton" and importlib.util.find_spec("triton") is None:
        raise MissingError("triton", "the kernels need Triton; pip install triton")
    if implementation == "reference" or importlib.util.find_spec("triton") is None:
        return generator
    from cmgan.kernels.table import KernelTable
    from cmgan.kernels.winners import load_winners

    generator.ops = KernelTable(generator, load_winners() if implementation == "auto" else None).ops()
    return generator
