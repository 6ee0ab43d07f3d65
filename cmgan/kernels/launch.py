"""Where the kernels run, how their tensors lie in memory, and a count of their launches.

Maps are (N, C, H, W) tensors that lie channels last. Some lie in rows longer than C: slices of a map's channels.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import triton
from torch import Tensor
from torch.library import wrap_triton as _wrap_triton

from cmgan.errors import MissingError, UsageError

INTERPRETED: bool = triton.knobs.runtime.interpret  # read once, as Triton does where it decorates a kernel
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
LARGEST_SAMPLE = 2**31 - 1  # elements; offsets inside one sample are 32-bit, between samples 64-bit

launches: Counter[str] = Counter()  # by op; what proves that a result came from a kernel


def kernel_runs(x: Tensor) -> bool:
    """Whether the kernels can take `x`: on a GPU, or anywhere under the interpreter."""
    return x.is_cuda or INTERPRETED


def require_kernels(x: Tensor) -> None:
    """Refuse a tensor that no kernel can take. Meta tensors pass: they count launches."""
    if kernel_runs(x) or x.is_meta:
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


def wrap_triton(kernel: Any) -> Any:
    """PyTorch's own, which torch.compile sees, and whose name its cache looks for in a launcher to find the kernel's
    source. Interpreted kernels go unwrapped: it cannot see them, and PyTorch before 2.13 refuses them."""
    return kernel if INTERPRETED else _wrap_triton(kernel)


def channels_last(x: Tensor) -> Tensor:
    """(N, C, H, W) as (N, H, W, C) in memory; copied only where it lies otherwise."""
    return x.contiguous(memory_format=torch.channels_last)


def new_map(like: Tensor, channels: int, height: int, width: int, dtype: torch.dtype | None = None) -> Tensor:
    """Memory for a map of as many samples as `like`, of its dtype if none is given."""
    size = len(like), channels, height, width
    order = torch.channels_last
    return torch.empty(size, dtype=dtype or like.dtype, device=like.device, memory_format=order)


def in_rows(x: Tensor | None) -> tuple[Tensor | None, int]:
    """A map and the elements from one position to the next: C, or more for a slice of the channels of a larger map."""
    if x is None:
        return None, 0
    _, _, height, width = x.shape
    step = x.stride(3)
    if x.stride() == (height * width * step, 1, width * step, step):
        return x, step
    return channels_last(x), x.shape[1]


def by_sample(x: Tensor | None) -> tuple[Tensor | None, int]:
    """A vector for each sample, (N, C), and the elements from one to the next."""
    if x is None:
        return None, 0
    x = x if x.stride(1) == 1 else x.contiguous()
    return x, x.stride(0)


def noise_of(noise: Tensor | None) -> tuple[Tensor | None, int]:
    """Noise (N or 1, 1, H, W) and the elements from one sample's map to the next: 0 where the batch shares one."""
    if noise is None:
        return None, 0
    return noise.contiguous(), 0 if len(noise) == 1 else noise.shape[2] * noise.shape[3]


def tile(channels: int, *, taps: int = 1) -> tuple[int, int]:
    """(positions, channels) of an elementwise tile: 16 to 64 channels, fewer positions where taps fill registers."""
    elements = 2048 if taps > 1 else 4096
    block = min(64, max(16, triton.next_power_of_2(channels)))
    return elements // block, block
