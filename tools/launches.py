"""How many kernels one picture launches on a GPU: `python -m tools.launches`, counted without one, on meta tensors.

Each operation that computes is one launch, a convolution with a bias two; views and memory are none. What a library
does inside an operation (copies, several passes of a Fourier transform) is not seen, for neither network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cmgan.config import GeneratorConfig, preset
from cmgan.kernels.network.network import KernelNetwork
from cmgan.model.generator import Generator
from cmgan.model.layers import fold_gains

_MEMORY = ("aten.empty", "aten.new_empty", "aten.detach", "aten._reshape_alias", "aten._unsafe_view")


class LaunchCount(TorchDispatchMode):
    """While it is entered, counts launches by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        if not view and not name.startswith(_MEMORY):
            biased = name == "aten.convolution.default" and args[2] is not None
            self.launches[name] += 2 if biased else 1
        return func(*args, **(kwargs or {}))


def launches(config: GeneratorConfig, network: str, batch: int) -> Counter[str]:
    """Of one call of the "reference", gains folded, or of the "kernels"."""
    with torch.device("meta"), torch.no_grad():
        generator = Generator(config).requires_grad_(False)
        fold_gains(generator)
        running: nn.Module = generator if network == "reference" else KernelNetwork(generator, torch.bfloat16)
        given = _inputs(config, batch)
        if network == "reference":
            running, given = running.bfloat16(), tuple(x.bfloat16() for x in given)
        with LaunchCount() as count:
            running(*given)
    return count.launches


def _inputs(config: GeneratorConfig, batch: int) -> tuple[Tensor, ...]:
    side = config.resolution
    return torch.zeros(batch, 3, side, side), torch.zeros(batch, 1, side, side), torch.zeros(batch, config.z_dim)


def table() -> Iterator[str]:
    """Markdown."""
    yield "| preset | batch | reference, gains folded | kernels | of them Triton |"
    yield "| --- | --- | --- | --- | --- |"
    for name in ("paper-512", "small-512", "mini-256"):
        for batch in (1, 8):
            reference, kernels = (launches(preset(name), network, batch) for network in ("reference", "kernels"))
            ours = sum(n for op, n in kernels.items() if op.startswith("cmgan."))
            yield f"| {name} | {batch} | {reference.total()} | {kernels.total()} | {ours} |"


if __name__ == "__main__":
    for line in table():
        print(line)
