"""Which 3x3 convolutions run as one kernel, and which as a library's with a pass behind it.

`winners.json`, written by `python -m cmgan.bench.gpu layers` and committed, says it for the GPUs that were measured.
For the others a model does: the longer of arithmetic and memory, and the launches, from rates of the data sheet.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmgan.errors import ModelError
from cmgan.kernels.modconv2d import cut

COMMITTED = Path(__file__).with_name("winners.json")
WAYS = ("library", "fused")
LAUNCH = 1.5e-6  # seconds of a launch in a CUDA graph
LIBRARY, FUSED = 0.7, 0.5  # shares of the peak that a large convolution of each kind reaches


@dataclass(frozen=True)
class Layer:
    """What decides a 3x3 layer's speed. `batch` is 1, or 8 for every larger one; `arch` 90 for sm_90."""

    arch: int
    dtype: str  # float32, float16, bfloat16
    batch: int
    channels_in: int
    channels_out: int
    side: int


@dataclass(frozen=True)
class Machine:
    """Rates a second, of the data sheets: 16-bit operations, bytes of memory, bytes of the cache; and processors."""

    flops: float
    memory: float
    cache: float
    processors: int


MACHINES = {
    80: Machine(312e12, 1.9e12, 4e12, 108),
    86: Machine(125e12, 0.7e12, 2e12, 72),
    89: Machine(165e12, 0.9e12, 3e12, 100),
    90: Machine(800e12, 3.2e12, 5.5e12, 132),
    100: Machine(2000e12, 7.5e12, 10e12, 148),
    120: Machine(210e12, 1.6e12, 4e12, 170),
}


def seconds(layer: Layer, machine: Machine) -> dict[str, float]:
    """What the model says of each way: a convolution and the epilogue behind it, maps in a 16-bit type."""
    positions, into, out = layer.batch * layer.side**2, layer.channels_in, layer.channels_out
    moved = 2 * (positions * (into + out) + 9 * into * out) / machine.memory
    library = max(18 * positions * into * out / (LIBRARY * machine.flops), moved) + LAUNCH
    library += 2 * 2 * positions * out / machine.memory + LAUNCH  # read and written once more
    rows, wide, deep, _, _ = cut(into, out)
    tiles = math.ceil(positions / rows) * math.ceil(out / wide)
    depth = 9 * deep * math.ceil(into / deep)
    gathered = 2 * tiles * depth * (rows + wide) / machine.cache  # every tap reads its tile again
    work = max(2 * tiles * rows * wide * depth / (FUSED * machine.flops), gathered)
    idle = max(1.0, machine.processors / tiles)  # too few tiles leave processors without work
    return {"library": library, "fused": max(work * idle, moved) + LAUNCH}


def way(layer: Layer) -> str:
    """One of `WAYS`: as measured, else as the model says. Only 16-bit types are worth the kernel."""
    measured = _committed().get(layer)
    if measured or layer.dtype == "float32":
        return measured or "library"
    machine = MACHINES.get(layer.arch) or MACHINES[max((a for a in MACHINES if a <= layer.arch), default=80)]
    times = seconds(layer, machine)
    return min(WAYS, key=lambda name: times[name])


def way_of(x: Tensor, weight: Tensor) -> str:
    """The way of a convolution of x (N, Ci, H, H) with weight (Co, Ci, 3, 3)."""
    major, minor = torch.cuda.get_device_capability(x.device) if x.is_cuda else (9, 0)
    dtype = str(x.dtype).removeprefix("torch.")
    return way(Layer(10 * major + minor, dtype, 1 if len(x) == 1 else 8, x.shape[1], len(weight), x.shape[2]))


@functools.cache
def _committed() -> dict[Layer, str]:
    return load_winners(COMMITTED)


def load_winners(path: Path) -> dict[Layer, str]:
    """The table of a winners file; `ModelError` if it is not one, or only a part of one."""
    try:
        content = json.loads(path.read_text())
        if content["complete"] is not True:
            raise ValueError("it is partial")
        return {Layer(**entry["layer"]): WAYS[WAYS.index(entry["way"])] for entry in content["winners"]}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError("winners", f"no table of winners ({type(error).__name__}: {error})", file=path) from error


def winners_json(winners: dict[Layer, tuple[str, float]], stamp: dict[str, Any], *, complete: bool) -> str:
    """The file's text: each layer with its way and the median in microseconds, and the machine it was measured on."""
    entries = [
        {"layer": asdict(layer), "way": way, "microseconds": round(microseconds, 2)}
        for layer, (way, microseconds) in winners.items()
    ]
    lines = ",\n  ".join(json.dumps(entry) for entry in entries)
    body = f"[\n  {lines}\n ]" if lines else "[]"
    return f'{{\n "complete": {json.dumps(complete)},\n "stamp": {json.dumps(stamp)},\n "winners": {body}\n}}\n'
