"""What a penalty on the discriminator's gradient costs: `python -m tools.penalty_cost`.

Three steps of the discriminator on two pictures, in float32 and channels-last: without a penalty; with R1 and
PyTorch's own second derivatives; with R1 as training has it. Operators are counted on tensors without data; seconds are
of processor time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cmgan.config import PRESETS
from cmgan.model.discriminator import Discriminator
from cmgan.train import losses
from cmgan.train.double_backward import TwiceDifferentiable

PLAIN, PYTORCH, OURS = "no penalty", "R1, PyTorch's second derivatives", "R1, as training has it"
WAYS = (PLAIN, PYTORCH, OURS)
_BATCH = 2
_TURNS = 3  # of which the fastest counts


class Operators(TorchDispatchMode):
    """Counts what is called below autograd: all operators, and of them convolutions and their gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.all = self.convolutions = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.all += 1
        self.convolutions += func.name().startswith("aten::convolution")
        return func(*args, **(kwargs or {}))


def prepared(preset: str, device: str) -> Callable[[str], None]:
    """A discriminator with its pictures; what is returned takes a step with it in one of `WAYS`, without Adam."""
    torch.manual_seed(0)
    side = PRESETS[preset].resolution
    with torch.device(device):
        discriminator = Discriminator(PRESETS[preset])
        discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as training has it
        real, fake = (torch.randn(_BATCH, 3, side, side) for _ in range(2))
        mask = (torch.rand(_BATCH, 1, side, side) > 0.5).float()

    def step(way: str) -> None:
        discriminator.zero_grad()
        image = real.detach().requires_grad_(way != PLAIN)
        with TwiceDifferentiable() if way == OURS else nullcontext():
            scores = discriminator(image, mask)
        loss = losses.discriminator_adversarial("non-saturating", scores, discriminator(fake, mask))
        if way != PLAIN:
            loss = loss + losses.masked_r1(scores, image, mask)
        loss.backward()

    return step


def counted(preset: str) -> dict[str, Operators]:
    """The operators of each way."""
    step, found = prepared(preset, "meta"), {}
    for way in WAYS:
        with Operators() as found[way]:
            step(way)
    return found


def timed(preset: str) -> dict[str, float]:
    """Seconds of processor time of each way, which take turns, so that a busy machine is busy for all of them."""
    step, found = prepared(preset, "cpu"), dict.fromkeys(WAYS, float("inf"))
    for turn in range(1 + _TURNS):
        for way in WAYS:
            began = time.process_time()
            step(way)
            if turn:  # the first one warms up
                found[way] = min(found[way], time.process_time() - began)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.penalty_cost", description=__doc__)
    parser.add_argument("--preset", default="mini-256", choices=PRESETS)
    preset = parser.parse_args().preset
    operators, seconds = counted(preset), timed(preset)
    print(f"Discriminator of {preset}, {_BATCH} pictures, {torch.get_num_threads()} threads.\n")
    print("| step | operators | of them convolutions | processor seconds | of a plain step |")
    print("| --- | --- | --- | --- | --- |")
    for way in WAYS:
        count, share = operators[way], seconds[way] / seconds[PLAIN]
        print(f"| {way} | {count.all} | {count.convolutions} | {seconds[way]:.2f} | {share:.2f} x |")


if __name__ == "__main__":
    main()
