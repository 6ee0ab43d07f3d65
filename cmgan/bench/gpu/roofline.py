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
    """A layer of the decoder: `kind` same, up, spatial or rgb; `side` is that of the output."""

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
    """The decoder's layers of a preset, coarse to fine."""
    config = preset(name)
    for side in config.scales:
        channels = config.channels(side)
        if side < config.resolution:
            yield Shape("same", channels, channels, side)
        if side > 4:
            yield Shape("up", config.channels(side // 2), channels, side)
        yield Shape("spatial", channels, channels, side)
        yield Shape("rgb", channels, 3, side)


def floor_us(shape: Shape, batch: int, rates: Rates) -> float:
    """Microseconds of one layer in a 16-bit type: activations and weights moved once, every product done once.

    An upsampling layer reads a quarter of the positions and the residual; a spatial one its input, two maps and noise.
    """
    positions_out = batch * shape.side**2
    positions = positions_out // 4 if shape.kind == "up" else positions_out
    weights = (1 if shape.kind == "rgb" else 9) * shape.channels_in * shape.channels_out
    maps = {"same": 0, "up": 1, "spatial": 2, "rgb": 0}[shape.kind] * positions_out * shape.channels_out
    moved = 2 * (positions * shape.channels_in + positions_out * shape.channels_out + weights + maps)
    return max(2 * positions * weights / rates.flops, moved / rates.bandwidth) * 1e6
