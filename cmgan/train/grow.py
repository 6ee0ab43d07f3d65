"""A model of twice the resolution from a trained one: the start of the next stage of progressive training."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cmgan.model.functional import activate, fill, known_pyramid
from cmgan.model.generator import Generator

_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")
_NEW = ("encoder.stem.", "encoder.blocks.0.", "encoder.blocks.1.")  # what the small one has nothing to give for
_RATE = 3e-3  # of Adam


def grown(small: Generator) -> Generator:
    """A generator of twice the resolution that has the weights of `small` wherever a layer is of the same scale.

    The cascades keep their places, the halving encoder blocks move down by one. New are the encoder's stem and its two
    finest blocks, which `fit_encoder` is for, the second global layer of what was the finest scale, and the finest
    cascade, whose to-RGB is zero: given the features of the small one's encoder, the picture is its picture, enlarged.
    """
    config = replace(small.config, resolution=2 * small.config.resolution)
    large = Generator(config)
    state = large.state_dict()
    for name, value in small.state_dict().items():
        block = _BLOCK.match(name)
        if block is not None and block[1] != "0":
            name = name.replace(block[0], f"encoder.blocks.{int(block[1]) + 1}.")
        elif block is not None or name.startswith("encoder.stem."):
            continue
        state[name] = value
    large.load_state_dict(state)
    finest = f"cascades.{len(config.scales) - 1}.rgb."
    with torch.no_grad():
        for name in ("weight", "bias"):
            large.get_parameter(finest + name).zero_()
    return large


def fit_encoder(large: Generator, small: Generator, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Train what is new in the encoder of a grown generator to give the features that the small encoder gives of the
    same pictures at half the size; one step of Adam a batch.

    Args:
        batches: pictures (N, 3, R, R) in [-1, 1] and masks (N, 1, R, R), 1 in the hole, on the device of `large`.

    Returns:
        What is left of the features' variance at the last batch: 0 is a perfect fit, 1 none.
    """
    new = [parameter for name, parameter in large.named_parameters() if name.startswith(_NEW)]
    optimiser = torch.optim.Adam(new, lr=_RATE, betas=(0.9, 0.99))
    encoder = copy.deepcopy(small.encoder).to(new[0].device).requires_grad_(False)
    left = 1.0
    for image, mask in batches:
        halves = list(_inputs(image, mask, large))
        with torch.no_grad():
            wanted = encoder(*halves[1], small.ops)[-1]
        x = activate(large.encoder.stem(torch.cat(halves[0], 1)))
        for block in large.encoder.blocks[:2]:
            x = block(x, large.ops)
        loss = F.mse_loss(x, wanted) / wanted.var()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        left = loss.item()
    return left


def _inputs(image: Tensor, mask: Tensor, generator: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """What the encoder sees, and what that of half the resolution does: pictures, filled or with holes, and masks."""
    levels = known_pyramid(image, mask)
    filled = fill(levels, generator.ops.enlarge)
    for picture, (average, known) in ((filled[-1], levels[-1]), (filled[-2], levels[-2])):
        yield (picture if generator.config.fill == "pyramid" else average), (~known).to(picture.dtype)
