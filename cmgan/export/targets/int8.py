"""Which blocks may be int8? A greedy search by the error in the hole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx

from cmgan.errors import NumbersError
from cmgan.export.gate.candidate import Progress, Runner
from cmgan.export.gate.parity import compare
from cmgan.export.gate.tolerances import EXACT_DB, SEARCH_MARGIN, TOLERANCES
from cmgan.export.options import ExportOptions
from cmgan.export.precision.calibration import calibration_set
from cmgan.export.precision.quantiser import Quantiser
from cmgan.export.source import Source

INT8_COST = 0.25  # of an int8 multiplication, that of fp32 being 1


@dataclass(frozen=True)
class Step:
    """A group that was tried: the in-hole PSNR of it alone and of the mix with it, in decibels; whether it stays, and
    the mix's estimated cost, that of all convolutions in fp32 being 1."""

    group: str
    alone: float
    together: float
    kept: bool
    cost: float


@dataclass(frozen=True)
class Mix:
    """What the search found: the groups in int8, their PSNR together, and the steps."""

    groups: list[str]
    psnr: float
    steps: list[Step]

    @property
    def cost(self) -> float:
        return min((step.cost for step in self.steps if step.kept), default=1.0)


def int8_graph(
    source: Source,
    options: ExportOptions,
    run: Callable[[onnx.ModelProto], Runner],
    progress: Progress,
    *,
    outputs: bool = True,
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The graph of `--precision int8` (everything that may be) or `auto` (the cheapest mix that passes).

    Args:
        run: how the format runs a graph.
        outputs: as in `Quantiser`.

    Returns:
        The graph, and what the metadata say of it.

    Raises:
        NumbersError: int8 misses its least PSNR; the message names the mix that `auto` finds.
        UsageError: see `cmgan.export.precision.calibration` and `cmgan.export.precision.half`.
    """
    config = source.generator.config
    data = calibration_set(options.calib_data, config.resolution, config.z_dim)
    quantiser = Quantiser(source.graph(options.onnx), data, options.keep_fp32, outputs)
    details: dict[str, Any] = {"calibration": data.origin, "calibration_digest": data.digest}

    def psnr(groups: list[str]) -> float:
        return hole_psnr(run(quantiser.quantised(groups)), source)

    everything = list(quantiser.groups)
    if options.precision == "int8":
        progress("calibrating and quantising")
        model = quantiser.quantised(everything)
        seen, least = hole_psnr(run(model), source), TOLERANCES["int8"].psnr
        if seen >= least:
            return model, details | {"int8": everything}
        missed = f"int8 reaches {seen:.1f} dB in the hole, {least:.0f} are needed"
        if not options.advise:
            raise NumbersError("int8", f"{missed}; --precision auto looks for a mix that passes")
        mix = search(quantiser.shares, psnr, progress)
        high = ", ".join(group for group in everything if group not in mix.groups)
        message = f"{missed}; --precision auto writes the best mix"
        raise NumbersError("int8", f"{message}: {mix.psnr:.1f} dB, cost {mix.cost:.2f}, with {high} in fp32")
    mix = search(quantiser.shares, psnr, progress)
    return quantiser.quantised(mix.groups), details | {"int8": mix.groups, "search": [asdict(s) for s in mix.steps]}


def search(shares: dict[str, float], psnr: Callable[[list[str]], float], progress: Progress) -> Mix:
    """Lower one group after the other, those first that save most for the error they make, while the mix passes.

    Args:
        shares: of all multiplications, by group.
        psnr: measures the in-hole PSNR of a mix, given its int8 groups.
    """
    least = TOLERANCES["auto"].psnr + SEARCH_MARGIN
    alone: dict[str, float] = {}
    for group in shares:
        alone[group] = psnr([group])
        progress(f"searching: {group} alone {alone[group]:.1f} dB")
    kept: list[str] = []
    reached, steps = float("inf"), []
    for group in sorted(shares, key=lambda group: _square_error(alone[group]) / shares[group]):
        together = psnr([*kept, group]) if alone[group] >= least else alone[group]
        passes = together >= least
        if passes:
            kept, reached = [*kept, group], together
        cost = 1 - (1 - INT8_COST) * sum(shares[name] for name in kept)
        steps.append(Step(group, alone[group], together, passes, cost))
        progress(f"searching: {group} {'in int8' if passes else 'stays'}, {together:.1f} dB, cost {cost:.2f}")
    return Mix(kept, reached, steps)


def hole_psnr(run: Runner, source: Source) -> float:
    """The worst in-hole PSNR over the parity cases, of pictures, or in core graphs of the raw RGB, in decibels."""
    worst = EXACT_DB
    for case, (picture, raw) in zip(source.cases, source.references, strict=True):
        output = run([case])["output"]
        reference = picture if output.dtype == np.uint8 else raw
        worst = min(worst, compare(case.name, reference, output, case.mask[None] >= 128).hole_psnr)
    return float(worst)  # NumPy numbers are none that JSON knows


def _square_error(psnr: float) -> float:
    return float(10 ** (-psnr / 10))
