"""`models`: the rows that decide, of whole networks at batch 1, and the kernels that take their time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from cmgan.bench.gpu import clock
from cmgan.bench.gpu.plan import Measurement, Plan, Record
from cmgan.bench.gpu.report import header, row
from cmgan.bench.gpu.roofline import Rates
from cmgan.config import preset
from cmgan.export.network.lowered import Lowered
from cmgan.kernels.tolerances import three_way
from cmgan.model.functional import WEIGHT_SPACE
from cmgan.model.generator import Generator
from cmgan.model.initialise import seeded_generator
from cmgan.runtime.eager import EagerOptions, First, in_type, prepared


@dataclass(frozen=True)
class Row:
    """How a network is run. `mode` is torch.compile's; all rows compute with folded gains, all but the first two with
    maps that lie channels last."""

    name: str
    precision: str = "bf16"
    network: str = "reference"  # or "kernels", or "lowered": the network that is exported
    channels_last: bool = True
    graph: bool = False
    mode: str = ""


_FLOORS = {"fp32": "float32", "tf32": "tf32", "bf16": "bfloat16"}  # precisions, and rows of `tolerances.FLOORS`
EAGER = "eager fp32, TF32"  # what every other row is compared with
ROWS = (
    Row("eager fp32", "fp32", channels_last=False),
    Row(EAGER, "tf32", channels_last=False),
    Row("eager bf16 + graph", graph=True),
    Row("kernels bf16", network="kernels"),
    Row("kernels bf16 + graph", network="kernels", graph=True),
)
COMPILED = (  # of the first preset; the last one takes minutes
    Row("compile reduce-overhead bf16", mode="reduce-overhead"),
    Row("compile of the lowered network bf16", network="lowered", mode="reduce-overhead"),
    Row("kernels + compile bf16", network="kernels", mode="reduce-overhead"),
)
LAST = Row("compile max-autotune bf16", mode="max-autotune")
PROFILED = (ROWS[2], ROWS[4], COMPILED[0])


def measurements(plan: Plan, rates: Rates) -> list[Measurement]:
    torch.backends.cudnn.benchmark = not plan.rehearsal
    first, *others = plan.presets
    found = [Measurement(f"{name}, {r.name}", partial(_measured, plan, name, r)) for name in plan.presets for r in ROWS]
    found += [Measurement(f"{first}, {r.name}", partial(_measured, plan, first, r)) for r in COMPILED]
    found += [Measurement(f"{first}, kernels of {r.name}", partial(_profiled, plan, first, r)) for r in PROFILED]
    return [*found, Measurement(f"{first}, {LAST.name}", partial(_measured, plan, first, LAST))]


def _measured(plan: Plan, name: str, row: Row) -> Record:
    """The latency of one picture, and its error beside PyTorch's own in that type, in its other form."""
    _allow_tf32(row.precision == "tf32")
    call = _call(plan, name, row)
    plain = Row("", row.precision, network="weight space", channels_last=False)
    with torch.inference_mode():
        expected = _call(plan, name, plain)()
        replay: Callable[[], Any] = call
        if row.graph and not plan.rehearsal:
            replay, output = clock.captured(call)
            replay()
        else:
            call()
            output = call()
        judged = three_way(output, expected, _exact(plan, name), _FLOORS[row.precision])
        timing = clock.latency(replay, plan)
    record = {"preset": name, "row": asdict(row), "ms": timing.us / 1000, "spread": timing.spread}
    return record | {"largest_error": judged.error, "plain_error": judged.eager_error, "passed": judged.passed}


def _profiled(plan: Plan, name: str, row: Row) -> Record:
    call = _call(plan, name, row)
    with torch.inference_mode():
        for _ in range(3):
            call()
        top = clock.profile(call, plan)
    return {"preset": name, "row": asdict(row), "top": [list(entry) for entry in top], "passed": bool(top)}


def table(records: list[Record]) -> list[str]:
    measured = [r for r in records if "ms" in r]
    base = {r["preset"]: r["ms"] for r in measured if r["row"]["name"] == EAGER}
    lines = header("preset", "row", "ms", f"x {EAGER}", "spread", "largest error", "PyTorch's own") if measured else []
    for r in measured:
        speed = base[r["preset"]] / r["ms"] if r["preset"] in base else None
        error = r["largest_error"] if r["passed"] else f"**{r['largest_error']:.3g}**"
        lines.append(row(r["preset"], r["row"]["name"], r["ms"], speed, r["spread"], error, r["plain_error"]))
    for r in (r for r in records if "top" in r):
        lines += ["", f"## Kernels of {r['preset']}, {r['row']['name']}", "", *header("share", "launches", "kernel")]
        lines += [row(f"{share:.1%}", count, name[:110].replace("|", "/")) for name, share, count in r["top"]]
    return lines


def _call(plan: Plan, name: str, row: Row) -> Callable[[], Tensor]:
    """A call with float32 inputs and output, as an engine makes it."""
    network = _network(plan, name, row)
    if row.mode:
        how: dict[str, Any] = {"backend": "eager"} if plan.rehearsal else {"mode": row.mode}
        network = torch.compile(network, dynamic=False, **how)  # type: ignore[assignment]
    given = _inputs(plan, name)
    return lambda: network(*given)


def _network(plan: Plan, name: str, row: Row) -> nn.Module:
    generator = copy.deepcopy(_generator(plan, name))
    options = EagerOptions(plan.device, row.precision, channels_last=row.channels_last)
    if row.network == "lowered":
        return in_type(First(Lowered(generator, "core", "dft", "convolutions")), options)
    if row.network == "weight space":
        generator.ops = WEIGHT_SPACE
    return prepared(generator, "triton" if row.network == "kernels" and not plan.rehearsal else "reference", options)


@cache
def _generator(plan: Plan, name: str) -> Generator:
    with torch.device(plan.device):  # drawn there: a large one takes long on a CPU
        return seeded_generator(preset(name)).requires_grad_(False)


@cache
def _inputs(plan: Plan, name: str) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    config, device = preset(name), plan.device
    side = config.resolution
    image = torch.rand(1, 3, side, side, device=device) * 2 - 1
    mask = torch.zeros(1, 1, side, side, device=device)
    mask[:, :, side // 4 : side // 2, side // 4 : side // 2] = 1
    return image, mask, torch.randn(1, config.z_dim, device=device)


@cache
def _exact(plan: Plan, name: str) -> Tensor:
    """The reference in float64."""
    generator = copy.deepcopy(_generator(plan, name)).double()
    with torch.no_grad():
        return generator(*(x.double() for x in _inputs(plan, name)))


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
