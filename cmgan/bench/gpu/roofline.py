"""The least time that a layer can take, from rates that are measured in the same run.

A model: operations at the rate of a large product, or bytes at that of a large copy, whichever takes longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from cmgan.bench.gpu import clock
from cmgan.bench.gpu.plan import Plan
from cmgan.config import preset


@dataclass(frozen=True)
class Rates:
    """What a large product and a large copy reach here."""

    flops: float  # a second, bfloat16
    bandwidth: float  # bytes a second, read and written


@dataclass(frozen=True)
class Shape:
    """A layer: `kind` same, up, rgb, or halve, the filter in front of a halving; `side` is that of the output."""

    kind: str
    channels_in: int
    channels_out: int
    side: int


def measured_rates(plan: Plan) -> Rates:
    """The peaks of this card, which are the floors of its layers."""
    a = torch.randn(plan.product, plan.product, device=plan.device, dtype=torch.bfloat16)
    source = torch.zeros(plan.copied, dtype=torch.uint8, device=plan.device)
    target = torch.empty_like(source)
    found = clock.compare({"product": lambda: a @ a, "copy": lambda: target.copy_(source)}, plan)
    product, copy = found["product"], found["copy"]
    if isinstance(product, str) or isinstance(copy, str):
        raise RuntimeError(f"product: {product}; copy: {copy}")
    return Rates(2 * plan.product**3 / product.us * 1e6, 2 * plan.copied / copy.us * 1e6)


def shapes(name: str) -> Iterator[Shape]:
    """The layers of a preset, coarse to fine."""
    config = preset(name)
    for side in config.scales:
        channels, coarser = config.channels(side), config.channels(side // 2) if side > 4 else 0
        yield Shape("same", channels, channels, side)
        if coarser:
            yield Shape("up", coarser, channels, side)
            yield Shape("rgb", channels, 3, side)
            yield Shape("halve", channels, channels, side // 2)


def floor_us(shape: Shape, batch: int, rates: Rates) -> float:
    """Microseconds of one layer in a 16-bit type: activations and weights moved once, every product done once.

    A layer of the same size reads a residual beside its input, an upsampling one reads a quarter of the positions.
    """
    out = batch * shape.side**2
    into = {"same": out, "up": out // 4, "rgb": out, "halve": 4 * out}[shape.kind]
    if shape.kind == "halve":
        return 2 * 2 * into * shape.channels_in / rates.bandwidth * 1e6
    weights = (1 if shape.kind == "rgb" else 9) * shape.channels_in * shape.channels_out
    residual = 0 if shape.kind == "rgb" else out * shape.channels_out
    moved = 2 * (into * shape.channels_in + out * shape.channels_out + weights + residual)
    return max(2 * into * weights / rates.flops, moved / rates.bandwidth) * 1e6
