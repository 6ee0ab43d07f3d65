"""`layers`: each layer of the decoders on every way through it. The fastest ways become what "auto" follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from cmgan.bench.gpu import clock
from cmgan.bench.gpu.plan import Measurement, Plan, Record
from cmgan.bench.gpu.report import Report, header, row
from cmgan.bench.gpu.roofline import Rates, Shape, floor_us, shapes
from cmgan.files import write_atomically
from cmgan.kernels.choose import WAYS, Layer, winners_json
from cmgan.kernels.epilogue import epilogue
from cmgan.kernels.halve import filter_before_halving
from cmgan.kernels.modconv2d import modconv2d
from cmgan.kernels.to_rgb import to_rgb
from cmgan.kernels.tolerances import three_way
from cmgan.model import functional

DTYPE = torch.bfloat16
Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Layered:
    """A layer's ways by name, PyTorch's own in another memory layout, whose error theirs is compared with, and the
    exact result."""

    ways: dict[str, Call]
    plain: Call
    exact: Tensor


def measurements(plan: Plan, rates: Rates) -> list[Measurement]:
    """Those that take most of a picture's time first."""
    torch.backends.cudnn.benchmark = not plan.rehearsal
    of_all = dict.fromkeys((s, n) for n in plan.batches for name in plan.presets for s in shapes(name))
    ordered = sorted(of_all, key=lambda one: -floor_us(one[0], one[1], rates) / one[1])
    return [
        Measurement(
            f"{s.kind} {s.channels_in} to {s.channels_out} @ {s.side}, batch {n}", partial(_measured, plan, rates, s, n)
        )
        for s, n in ordered
    ]


def _measured(plan: Plan, rates: Rates, shape: Shape, batch: int) -> Record:
    """Microseconds and error of every way. One that errs or is off fails the layer, by name."""
    torch.manual_seed(0)
    with torch.inference_mode():
        layer = _MAKERS[shape.kind](shape, batch, plan.device)
        plain = layer.plain().float()
        ways: dict[str, Record] = {}
        for name, call in layer.ways.items():
            ways[name] = _judged(call, plain, layer.exact)
        timings = clock.compare({name: call for name, call in layer.ways.items() if ways[name]["passed"]}, plan)
    for name, timing in timings.items():
        ways[name] |= {"passed": False, "error": timing} if isinstance(timing, str) else asdict(timing)
    record: Record = {"shape": asdict(shape), "batch": batch, "floor_us": floor_us(shape, batch, rates), "ways": ways}
    if wrong := [f"{name} ({way.get('error', 'off')})" for name, way in ways.items() if not way["passed"]]:
        record |= {"passed": False, "error": "; ".join(wrong)}
    times = {name: ways[name]["us"] for name in ways if ways[name]["passed"]}
    return record | {"fastest": min(times, key=lambda name: times[name], default=None)}


def _judged(call: Call, plain: Tensor, exact: Tensor) -> Record:
    try:
        comparison = three_way(call().float(), plain, exact.double(), "bfloat16")
    except Exception as error:  # the next way may run
        return {"passed": False, "error": clock.error_line(error)}
    return {"passed": comparison.passed, "largest_error": comparison.error, "limit": comparison.limit}


def table(records: list[Record]) -> list[str]:
    """Microseconds of every way."""
    kinds = ("eager", "channels-last", "library", "fused")
    lines = ["Microseconds; bf16, caches warm, launches not counted. library: a convolution, then an epilogue."]
    lines += ["", *header("layer", "floor", *kinds, "fastest", "x floor", "spread")]
    for r in records:
        cells = [r["ways"].get(kind, {}).get("us") for kind in kinds]
        best = r["ways"].get(r["fastest"])
        end = [r["fastest"], best["us"] / r["floor_us"], best["spread"]] if best else ["none"] * 3
        lines.append(row(r["name"], r["floor_us"], *cells, *end))
    return lines if records else []


def conclude(report: Report) -> None:
    """`winners.json`, in the form of the committed file; only a complete report without a failure may be adopted."""
    winners = {}
    for r in (r for r in report.records if r["passed"] and r["shape"]["kind"] == "same"):
        s = r["shape"]
        key = Layer(_arch(), "bfloat16", r["batch"], s["channels_in"], s["channels_out"], s["side"])
        us = {name: r["ways"][name]["us"] for name in WAYS}
        best = min(WAYS, key=lambda name: us[name])
        winners[key] = best, us[best]
    kept = {name: value for name, value in report.stamp.items() if name in ("date", "gpu", "commit", "torch", "triton")}
    whole = report.complete and not report.failures
    write_atomically(report.folder / "winners.json", winners_json(winners, kept, complete=whole).encode())


def _arch() -> int:
    """90 for sm_90; 0, which matches nothing, where there is no GPU."""
    if not torch.cuda.is_available():
        return 0
    major, minor = torch.cuda.get_device_capability()
    return 10 * major + minor


# -- the ways of each kind of layer ----------------------------------------------------------------------------------


def _map(n: int, channels: int, side: int, device: str) -> Tensor:
    x = torch.randn(n, channels, side, side, device=device).to(DTYPE)
    return x.contiguous(memory_format=torch.channels_last)


def _weight(shape: Shape, size: int, device: str) -> Tensor:
    into = shape.channels_in
    weight = torch.randn(shape.channels_out, into, size, size, device=device) / (into * size * size) ** 0.5
    return weight.to(DTYPE).contiguous(memory_format=torch.channels_last)


def _exact(function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """In float32 without TF32: far more exact than what is judged by it."""
    torch.backends.cudnn.allow_tf32 = False
    return function(*(v.float() for v in arguments))


def _layer(reference: Callable[..., Tensor], given: tuple[Tensor, ...], ways: dict[str, Call]) -> Layered:
    """The reference channels last is a way, and is compared with the contiguous one, as all ways are."""
    plain = tuple(v.contiguous() for v in given)
    ways = {"eager": lambda: reference(*plain), "channels-last": lambda: reference(*given), **ways}
    return Layered(ways, lambda: reference(*plain), _exact(reference, *given))


def _same(shape: Shape, batch: int, device: str) -> Layered:
    """As SB's second layer: a scaled input, demodulation, shift map as a slice of two maps, noise."""
    n, c, side = batch, shape.channels_out, shape.side
    x, residual = _map(n, shape.channels_in, side, device), _map(n, 2 * c, side, device)[:, c:]
    demod, bias = torch.rand(n, c, device=device) + 0.5, torch.randn(c, device=device)
    noise = torch.randn(1, 1, side, side, device=device).to(DTYPE)
    given = x, _weight(shape, 3, device), demod.to(DTYPE), bias.to(DTYPE), residual, noise

    def reference(x: Tensor, weight: Tensor, demod: Tensor, bias: Tensor, residual: Tensor, noise: Tensor) -> Tensor:
        y = F.conv2d(x, weight, padding=1) * demod[:, :, None, None] + bias[:, None, None]
        return functional.activate(y + residual + noise)

    def library() -> Tensor:
        return epilogue(F.conv2d(given[0], given[1], padding=1), *given[2:])

    def fused() -> Tensor:
        return modconv2d(given[0], given[1], None, None, *given[2:])

    return _layer(reference, given, {"library": library, "fused": fused})


def _up(shape: Shape, batch: int, device: str) -> Layered:
    """As GB's first layer with a folded weight."""
    x = _map(batch, shape.channels_in, shape.side // 2, device)
    weight, bias = _weight(shape, 3, device), torch.randn(shape.channels_out, device=device).to(DTYPE)
    given = x, weight, bias, _map(batch, shape.channels_out, shape.side, device)
    transposed = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)

    def reference(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
        return functional.activate(functional.upsampling_conv2d(x, weight) + bias[:, None, None] + residual)

    def library() -> Tensor:
        return epilogue(F.conv_transpose2d(x, transposed, stride=2), None, bias, given[3], None, None, True)

    return _layer(reference, given, {"library": library})


def _rgb(shape: Shape, batch: int, device: str) -> Layered:
    x, weight = _map(batch, shape.channels_in, shape.side, device), _weight(shape, 1, device)
    style, bias = torch.rand(batch, shape.channels_in, device=device).to(DTYPE), torch.randn(3, device=device).to(DTYPE)
    skip = torch.randn(batch, 3, shape.side // 2, shape.side // 2, device=device)
    given = x, weight, style, bias, skip

    def reference(x: Tensor, weight: Tensor, style: Tensor, bias: Tensor, skip: Tensor) -> Tensor:
        return functional.to_rgb(x, weight, style, bias) + functional.upsample(skip.to(x.dtype))

    return _layer(reference, given, {"fused": lambda: to_rgb(x, weight.flatten(1), style, bias, skip)})


def _halve(shape: Shape, batch: int, device: str) -> Layered:
    x = _map(batch, shape.channels_in, 2 * shape.side, device)
    return _layer(functional.filter_before_halving, (x,), {"fused": lambda: filter_before_halving(x)})


_MAKERS: dict[str, Callable[[Shape, int, str], Layered]] = {"same": _same, "up": _up, "rgb": _rgb, "halve": _halve}
