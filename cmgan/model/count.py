"""How large and how costly a generator is, part by part."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cmgan.config import GeneratorConfig
from cmgan.model.functional import ACTIVATION_SPACE
from cmgan.model.generator import Generator

# The modules of every part; the generator itself asks modulated layers (first, second) for their styles. What remains
# makes the pictures: to-RGB, the upsampling of the skips and that of the fill.
_MODULES = {
    "encoder": r"encoder",
    "codes": r"style|mapping",
    "global stream": r"start_global|cascades\.\d+\.global_block(\.first|\.second)?",
    "spatial stream": r"start_spatial|cascades\.\d+\.spatial_block(\.first)?",
    "attention": r"cascades\.\d+\.attention",
}


@dataclass(frozen=True)
class Cost:
    """Learned numbers (the constant noise maps are none) and floating-point operations for one picture."""

    parameters: int
    flops: int


def count(config: GeneratorConfig) -> dict[str, Cost]:
    """The cost of the generator's parts: encoder, codes, global stream, spatial stream, attention, rgb; and of "all".

    A multiplication and an addition are two operations. Convolutions (in activation space), FIR filters and matrix
    products are counted, element-wise work is not; Fourier transforms count as the products with constant matrices
    that the exports run. No weights are made, so that the largest preset takes no longer than the smallest.
    """
    with torch.device("meta"):
        generator = Generator(config)
        image = torch.empty(1, 3, config.resolution, config.resolution)
        z = torch.empty(1, config.z_dim)
    ops = replace(ACTIVATION_SPACE, enlarge=ACTIVATION_SPACE.upsample)  # the same filter, as a convolution
    generator.ops = replace(ops, rfft2=_rfft2_products, irfft2=_irfft2_products)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        generator(image, image[:, :1], z)
    flops = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    everything = Cost(sum(p.numel() for p in generator.parameters()), counter.get_total_flops())
    costs = {}
    for part, pattern in _MODULES.items():
        parameters = sum(p.numel() for name, p in generator.named_parameters() if re.match(pattern, name))
        operations = sum(n for name, n in flops.items() if re.fullmatch(rf"Generator\.({pattern})", name))
        costs[part] = Cost(parameters, operations)
    counted = Cost(sum(c.parameters for c in costs.values()), sum(c.flops for c in costs.values()))
    costs["rgb"] = Cost(everything.parameters - counted.parameters, everything.flops - counted.flops)
    return costs | {"all": everything}


def _rfft2_products(x: Tensor) -> Tensor:
    """The matrix products of `functional.rfft2`, of right shape, not of right values."""
    side = x.shape[2]
    columns, rows = x.new_empty(side, side), x.new_empty(side, side // 2 + 1)
    real, imaginary = x @ rows, x @ rows
    return torch.cat([columns @ real + columns @ imaginary, columns @ imaginary - columns @ real], 1)


def _irfft2_products(x: Tensor) -> Tensor:
    """The matrix products of `functional.irfft2`, of right shape, not of right values."""
    side = x.shape[2]
    columns, rows = x.new_empty(side, side), x.new_empty(side // 2 + 1, side)
    real, imaginary = x.chunk(2, 1)
    return (columns @ real - columns @ imaginary) @ rows + (columns @ real + columns @ imaginary) @ rows
