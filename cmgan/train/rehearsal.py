"""One step of a run as it will be, and what it costs; nothing is written."""

from __future__ import annotations

import resource
import time
from dataclasses import replace
from typing import Any

import torch

from cmgan.errors import NumbersError
from cmgan.train.config import TrainConfig
from cmgan.train.data.batches import batches, steps_per_epoch
from cmgan.train.distributed import World
from cmgan.train.inputs import open_inputs
from cmgan.train.networks import Networks
from cmgan.train.steps import Batch, Stepper

_MB = 1e6


def rehearse(config: TrainConfig, world: World) -> dict[str, Any]:
    """Take step 0 twice, with every loss and penalty of the configuration, and time the second one.

    Returns:
        The plan and the cost by name: pictures, pictures a step, steps, epochs, millions of parameters, seconds a step
        (the dearest one), hours in all, peak memory in MB, and the terms of the loss.

    Raises:
        NumbersError: a gradient is not finite; and what `open_inputs` raises.
    """
    config = replace(config, loss=replace(config.loss, adversarial_from=0))
    samples, _ = open_inputs(config)
    pictures = config.pictures_a_step
    steps_an_epoch = steps_per_epoch(samples, pictures, world.size)
    networks = Networks(config, world.device)
    stepper = Stepper(config, networks, world)
    sample = next(iter(batches(samples, pictures, rank=world.rank, world=world.size)))
    for _ in range(2):
        began = time.monotonic()
        terms, finite = stepper.step(0, Batch.of(sample, world.device))
        values = {name: float(value) for name, value in terms.items()}
        seconds = time.monotonic() - began
    if not finite:
        raise NumbersError("gradient_non_finite", "a gradient of the first step is not finite; nothing can be trained")
    steps = config.loop.steps
    return {
        "pictures": len(samples),
        "pictures a step": pictures * world.size,
        "steps": steps,
        "epochs": round(steps / steps_an_epoch, 2),
        "million parameters": {name: _millions(module) for name, module in networks.trained.items()},
        "seconds a step": round(seconds, 3),
        "hours": round(seconds * steps / 3600, 2),
        "peak memory, MB": round(_peak(world.device) / _MB),
        "terms": values,
    }


def _millions(module: torch.nn.Module) -> float:
    return round(sum(p.numel() for p in module.parameters()) / 1e6, 2)


def _peak(device: torch.device) -> float:
    """Bytes: of the GPU, or resident of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
