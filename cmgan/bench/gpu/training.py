"""`training`: steps of training with a discriminator, plain and with the R1 penalty, on random pictures."""

from __future__ import annotations

from functools import cache, partial

import torch

from cmgan.bench.gpu import clock
from cmgan.bench.gpu.plan import Measurement, Plan, Record
from cmgan.bench.gpu.report import header, row
from cmgan.bench.gpu.roofline import Rates
from cmgan.config import preset
from cmgan.train.config import DataSection, LoopSection, LossSection, ModelSection, TrainConfig
from cmgan.train.distributed import World
from cmgan.train.networks import Networks
from cmgan.train.steps import Batch, Stepper

_EVERY = 16  # steps from one penalty to the next


def measurements(plan: Plan, rates: Rates) -> list[Measurement]:
    """The generator alone, with a discriminator, and, last, as it may take long, with the penalty."""
    kinds = ("without a discriminator", "plain", "penalised")
    return [
        Measurement(f"{name}, batch {batch}, {kind}", partial(_measured, plan, name, batch, kind))
        for kind in kinds
        for name, batch in plan.training
    ]


def _measured(plan: Plan, name: str, batch: int, kind: str) -> Record:
    stepper, pictures = _stepper(plan, name, batch, kind != "without a discriminator"), _pictures(plan, name, batch)
    number = _EVERY if kind == "penalised" else 1
    finite = []

    def step() -> None:
        finite.append(stepper.step(number, pictures)[1])

    first = clock.seconds_of(step, plan)  # libraries search for their algorithms
    timing = clock.latency(step, plan)
    record = {"preset": name, "batch": batch, "kind": kind, "first_s": first, "ms": timing.us / 1000}
    if not plan.rehearsal:
        record["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return record | {"spread": timing.spread, "pictures_per_s": batch / timing.us * 1e6, "passed": all(finite)}


def table(records: list[Record]) -> list[str]:
    lines = header("preset", "batch", "step", "ms", "pictures/s", "spread", "first step, s", "GB") if records else []
    for r in records:
        figures = r["ms"], r["pictures_per_s"], r["spread"], r["first_s"], r.get("memory_gb")
        lines.append(row(r["preset"], r["batch"], r["kind"], *figures))
    return lines


@cache
def _stepper(plan: Plan, name: str, batch: int, adversarial: bool) -> Stepper:
    config = TrainConfig(
        model=ModelSection(preset=name),
        data=DataSection(path="procedural:1"),  # no picture is read
        loss=LossSection(perceptual=0.0, adversarial_weight=0.1 * adversarial, r1_every=_EVERY),
        loop=LoopSection(batch=batch),
    )
    device = torch.device(plan.device)
    return Stepper(config, Networks(config, device), World(0, 1, device))


def _pictures(plan: Plan, name: str, batch: int) -> Batch:
    side = preset(name).resolution
    torch.manual_seed(0)
    image = torch.rand(batch, side, side, 3, device=plan.device).permute(0, 3, 1, 2) * 2 - 1
    mask = torch.zeros(batch, 1, side, side, device=plan.device)
    mask[:, :, side // 4 : side // 2, side // 4 : side // 2] = 1
    return Batch(image, mask)
