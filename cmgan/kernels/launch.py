"""Where the kernels run, how their tensors lie in memory, and a count of their launches."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import triton
from torch import Tensor
from torch.library import wrap_triton

from cmgan.errors import MissingError, UsageError

INTERPRETED: bool = triton.knobs.runtime.interpret  # read once, as Triton does where it decorates a kernel
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
LARGEST_SAMPLE = 2**31 - 1  # elements; offsets inside one sample are 32-bit, between samples 64-bit

launches: Counter[str] = Counter()  # by op; what proves that a result came from a kernel


def kernel_runs(x: Tensor) -> bool:
    """Whether the kernels can take `x`: on a GPU, or anywhere under the interpreter."""
    return x.is_cuda or INTERPRETED


def require_kernels(x: Tensor) -> None:
    """Refuse a tensor that no kernel can take. A model being exported passes: there the composites are traced."""
    if kernel_runs(x) or torch.compiler.is_exporting():
        return
    message = f"the Triton kernels need a CUDA tensor, this one is on {x.device.type}; use the reference there"
    raise MissingError("cuda", f"{message}, or set TRITON_INTERPRET=1 to run them slowly")


def check_operands(*tensors: Tensor | None) -> None:
    """Refuse what a kernel would compute wrongly: another dtype, or a sample beyond 32-bit offsets."""
    for x in tensors:
        if x is None:
            continue
        if x.dtype not in DTYPES:
            raise UsageError("dtype", f"the kernels take float32, float16 and bfloat16; this tensor is {x.dtype}")
        if x.dim() == 4 and x[0].numel() > LARGEST_SAMPLE:
            raise UsageError("too_large", f"{x[0].numel()} elements a sample; the limit is {LARGEST_SAMPLE}")


def traceable(kernel: Any) -> Any:
    """A kernel that torch.compile sees. Interpreted ones it cannot, and PyTorch before 2.13 refuses to wrap them."""
    return kernel if INTERPRETED else wrap_triton(kernel)


def is_channels_last(x: Tensor) -> bool:
    """Whether (N, C, H, W) lies in memory as (N, H, W, C)."""
    return x.is_contiguous(memory_format=torch.channels_last)


def laid_out(x: Tensor, *, channels_last: bool) -> Tensor:
    """`x` in the wanted order; copied only where it lies otherwise."""
    return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def tile(channels: int, *, up: bool) -> tuple[int, int]:
    """(positions, channels) of an elementwise tile: 16 to 64 channels, fewer positions where 16 taps fill registers."""
    elements = 2048 if up else 4096
    block = min(64, max(16, triton.next_power_of_2(channels)))
    return elements // block, block
