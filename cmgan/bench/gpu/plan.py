"""What a check measures: the real sizes, and a small rehearsal of them for a machine without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]  # what one measurement found; `passed` says whether it may be believed


@dataclass(frozen=True)
class Plan:
    """Sizes and device of one check. A rehearsal runs the same code; its figures mean nothing."""

    device: str
    presets: tuple[str, ...]  # whose layers and whole models are measured; the first one gets torch.compile
    batches: tuple[int, ...]  # of the layers
    repetitions: int  # of the same kernel, whose bits must not change
    seconds_per_way: float  # of GPU time, at least, before a figure counts
    product: int  # side of the square matrices whose product is the peak rate
    copied: int  # bytes of the copy whose rate is the bandwidth
    workers: int  # processes that compile ahead
    training: tuple[tuple[str, int], ...]  # presets and batch sizes of the training steps

    @property
    def rehearsal(self) -> bool:
        return self.device == "cpu"


@dataclass(frozen=True)
class Measurement:
    """A thing to measure, under the name that a report calls it by, failed or not."""

    name: str
    measure: Callable[[], Record]


def real() -> Plan:
    return Plan(
        device="cuda",
        presets=("paper-512", "small-512", "mini-256"),
        batches=(1, 8),
        repetitions=100,
        seconds_per_way=0.05,
        product=8192,
        copied=2**30,
        workers=16,
        training=(("small-512", 32), ("mini-256", 64)),
    )


def rehearsal() -> Plan:
    return Plan(
        device="cpu",
        presets=("tiny-64",),
        batches=(1, 2),
        repetitions=2,
        seconds_per_way=0.001,
        product=64,
        copied=2**16,
        workers=1,
        training=(("tiny-64", 2),),
    )
