"""`layers`: each layer of the decoders on every way through it. The fastest ways become what "auto" follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cmgan.bench.gpu import clock
from cmgan.bench.gpu.plan import Measurement, Plan, Record
from cmgan.bench.gpu.report import Report, header, row
from cmgan.bench.gpu.roofline import Rates, Shape, floor_us, shapes
from cmgan.files import write_atomically
from cmgan.kernels.configurations import TILES
from cmgan.kernels.epilogue import epilogue
from cmgan.kernels.fold import fold_weights, layer_views, pack, row_table
from cmgan.kernels.modconv2d import modconv2d
from cmgan.kernels.spatial import spatial_epilogue
from cmgan.kernels.tolerances import three_way
from cmgan.kernels.winners import EPILOGUE, FOLD, REFERENCE, RGB, RGB_TILE, Layer, Tile, Way, winners_json
from cmgan.model import functional
from cmgan.model.functional import demodulation, demodulation_of_energy, transposed_conv2d

DTYPE = torch.bfloat16
Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Layered:
    """A layer's ways by name: what "auto" may choose, None where it is there for comparison; and the exact result."""

    ways: dict[str, tuple[Way | None, Call]]
    plain: Call  # PyTorch's own in other operations: what the ways' errors are compared with
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
        for name, (_, call) in layer.ways.items():
            ways[name] = _judged(call, plain, layer.exact)
        timings = clock.compare({name: call for name, (_, call) in layer.ways.items() if ways[name]["passed"]}, plan)
    for name, timing in timings.items():
        ways[name] |= {"passed": False, "error": timing} if isinstance(timing, str) else asdict(timing)
    record: Record = {"shape": asdict(shape), "batch": batch, "floor_us": floor_us(shape, batch, rates), "ways": ways}
    if wrong := [f"{name} ({way.get('error', 'off')})" for name, way in ways.items() if not way["passed"]]:
        record |= {"passed": False, "error": "; ".join(wrong)}
    record["winner"] = _winner(layer, ways)
    return record


def _judged(call: Call, plain: Tensor, exact: Tensor) -> Record:
    try:
        comparison = three_way(call().float(), plain, exact.double(), "bfloat16")
    except Exception as error:  # the next way may run
        return {"passed": False, "error": clock.error_line(error)}
    return {"passed": comparison.passed, "largest_error": comparison.error, "limit": comparison.limit}


def _winner(layer: Layered, ways: dict[str, Record]) -> Record | None:
    right = [(ways[name]["us"], name, way) for name, (way, _) in layer.ways.items() if way and ways[name]["passed"]]
    if not right:
        return None
    us, name, way = min(right, key=lambda one: one[0])
    return {"name": name, "us": us, "path": way.path, "tile": None if way.tile is None else list(astuple(way.tile))}


def table(records: list[Record]) -> list[str]:
    """Microseconds of the fastest way of each kind."""
    kinds = ("eager", "channels-last", "conv + epilogue", "fold", "fused")
    lines = ["Microseconds; bf16, weights in the cache, launches not counted.", ""]
    lines += header("layer", "floor", *kinds, "fastest", "x floor", "spread")
    for r in records:
        times = {name: way["us"] for name, way in r["ways"].items() if way["passed"]}
        cells = [min((us for name, us in times.items() if name.startswith(kind)), default=None) for kind in kinds]
        best = r["winner"]
        end = [best["name"], best["us"] / r["floor_us"], r["ways"][best["name"]]["spread"]] if best else ["none"] * 3
        lines.append(row(r["name"], r["floor_us"], *cells, *end))
    return lines if records else []


def conclude(report: Report) -> None:
    """A complete report without a failure leaves `winners.json`, in the form of the committed file."""
    if report.failures:
        return
    winners = {}
    for r in report.records:
        tile = r["winner"]["tile"]
        way = Way(r["winner"]["path"], None if tile is None else Tile(*tile))
        s = r["shape"]
        key = Layer(_arch(), "bfloat16", r["batch"], s["kind"], s["channels_in"], s["channels_out"], s["side"])
        winners[key] = way, r["winner"]["us"]
    kept = {name: value for name, value in report.stamp.items() if name in ("date", "gpu", "commit", "torch", "triton")}
    write_atomically(report.folder / "winners.json", winners_json(winners, kept).encode())


def _arch() -> int:
    """90 for sm_90; 0, which matches nothing, where there is no GPU."""
    if not torch.cuda.is_available():
        return 0
    major, minor = torch.cuda.get_device_capability()
    return 10 * major + minor


# -- the ways of each kind of layer ----------------------------------------------------------------------------------


def _given(batch: int, shape: Shape, size: int, device: str) -> tuple[Tensor, ...]:
    into, out = shape.channels_in, shape.channels_out
    weight = torch.randn(out, into, size, size, device=device) / (into * size * size) ** 0.5
    style = torch.rand(batch, into, device=device) + 0.5
    weight, style, bias = (v.to(DTYPE) for v in (weight, style, torch.randn(out, device=device)))
    return weight.contiguous(memory_format=torch.channels_last), style, bias


def _picture(batch: int, channels: int, side: int, device: str) -> Tensor:
    x = torch.randn(batch, channels, side, side, device=device).to(DTYPE)
    return x.contiguous(memory_format=torch.channels_last)


def _folded(weight: Tensor, style: Tensor, *, demodulated: bool = True) -> Call:
    """The layer's own share of the launch that folds all weights."""
    sizes = [*weight.shape[:3], int(demodulated)]
    packed, rows = pack([weight]), row_table(sizes).to(weight.device)
    return lambda: layer_views(fold_weights(packed, rows, style[0], sizes), sizes)[0]


def _exact(function: Callable[..., Tensor], *arguments: Tensor, **settings: Any) -> Tensor:
    """In float32 without TF32: far more exact than what is judged by it."""
    torch.backends.cudnn.allow_tf32 = False
    wide = {name: v.float() if isinstance(v, Tensor) else v for name, v in settings.items()}
    return function(*(v.float() for v in arguments), **wide)


def _same(shape: Shape, batch: int, device: str) -> Layered:
    weight, style, bias = _given(batch, shape, 3, device)
    x = _picture(batch, shape.channels_in, shape.side, device)
    flat, flat_weight, scaled = x.contiguous(), weight.contiguous(), x * style[:, :, None, None]
    reference = functional.modulated_layer

    def convolved(y: Tensor) -> Tensor:
        return epilogue(F.conv2d(y, weight, padding=1), demodulation(weight, style), bias)

    def fused(cut: Tile) -> Call:
        return lambda: modconv2d(x, weight, style, demodulation(weight, style), bias, tile=cut)

    ways: dict[str, tuple[Way | None, Call]] = {
        "eager": (None, lambda: reference(flat, flat_weight, style, bias)),
        "channels-last": (REFERENCE, lambda: reference(x, weight, style, bias)),
        "conv + epilogue": (EPILOGUE, lambda: convolved(x * style[:, :, None, None])),
        "conv + epilogue, input scaled before": (None, lambda: convolved(scaled)),
    }
    if batch == 1:
        fold = _folded(weight, style)
        ways["fold"] = (FOLD, lambda: epilogue(F.conv2d(x, fold(), padding=1), None, bias))
    ways |= {f"fused {cut}": (Way("fused", cut), fused(cut)) for cut in TILES if cut != RGB_TILE}
    plain = partial(reference, flat, flat_weight, style, bias, form="weight")
    return Layered(ways, plain, _exact(reference, x, weight, style, bias))


def _up(shape: Shape, batch: int, device: str) -> Layered:
    weight, style, bias = _given(batch, shape, 3, device)
    x = _picture(batch, shape.channels_in, shape.side // 2, device)
    residual = _picture(batch, shape.channels_out, shape.side, device)
    reference = partial(functional.modulated_layer, up=True)

    def kernels() -> Tensor:
        y = transposed_conv2d(x * style[:, :, None, None], weight)
        return epilogue(y, demodulation(weight, style), bias, residual, up=True)

    ways: dict[str, tuple[Way | None, Call]] = {
        "channels-last": (REFERENCE, lambda: reference(x, weight, style, bias, residual=residual)),
        "conv + epilogue": (EPILOGUE, kernels),
    }
    if batch == 1:
        fold = _folded(weight, style)
        ways["fold"] = (FOLD, lambda: epilogue(transposed_conv2d(x, fold()), None, bias, residual, up=True))
    plain = partial(reference, x, weight, style, bias, residual=residual, form="weight")
    return Layered(ways, plain, _exact(reference, x, weight, style, bias, residual=residual))


def _spatial(shape: Shape, batch: int, device: str) -> Layered:
    """The end of SB's first layer, from its raw convolution on, and the whole second one."""
    weight, alpha, bias = _given(batch, shape, 3, device)
    raw, scale_map, shift_map = (_picture(batch, shape.channels_in, shape.side, device) for _ in range(3))
    noise = torch.randn(1, 1, shape.side, shape.side, device=device).to(DTYPE)
    demod = torch.ones(batch, shape.channels_in, device=device, dtype=DTYPE)

    def reference(raw: Tensor, weight: Tensor, *rest: Tensor) -> Tensor:
        scale_map, alpha, shift_map, noise, bias = rest
        y = functional.activate(raw + bias[:, None, None] + noise)
        return functional.spatial_layer(y, weight, scale_map, alpha, shift_map, noise)

    def scaled() -> tuple[Tensor, Tensor]:
        y, energy = spatial_epilogue(raw, demod, bias, noise, scale_map, alpha)
        return y, demodulation_of_energy(weight, energy)

    def kernels() -> Tensor:
        y, left = scaled()
        return epilogue(F.conv2d(y, weight, padding=1), left, None, shift_map, noise)

    def fused(cut: Tile) -> Call:
        def call() -> Tensor:
            y, left = scaled()
            return modconv2d(y, weight, None, left, None, shift_map, noise, tile=cut)

        return call

    given = raw, weight, scale_map, alpha, shift_map, noise, bias
    ways: dict[str, tuple[Way | None, Call]] = {
        "channels-last": (REFERENCE, lambda: reference(*given)),
        "conv + epilogue": (EPILOGUE, kernels),
    }
    ways |= {f"fused {cut}": (Way("fused", cut), fused(cut)) for cut in TILES if cut != RGB_TILE}
    plain = partial(reference, *(v.contiguous() for v in given))
    return Layered(ways, plain, _exact(reference, *given))


def _rgb(shape: Shape, batch: int, device: str) -> Layered:
    weight, style, bias = _given(batch, shape, 1, device)
    x = _picture(batch, shape.channels_in, shape.side, device)
    ways: dict[str, tuple[Way | None, Call]] = {
        "channels-last": (REFERENCE, lambda: functional.to_rgb(x, weight, style, bias)),
        "fused": (RGB, lambda: modconv2d(x, weight, style, None, bias, act=False, tile=RGB_TILE)),
    }
    if batch == 1:
        fold = _folded(weight, style, demodulated=False)
        ways["fold"] = (FOLD, lambda: F.conv2d(x, fold(), bias))
    plain = partial(functional.to_rgb, x.contiguous(), weight.contiguous(), style, bias)
    return Layered(ways, plain, _exact(functional.to_rgb, x, weight, style, bias))


_MAKERS: dict[str, Callable[[Shape, int, str], Layered]] = {
    "same": _same,
    "up": _up,
    "spatial": _spatial,
    "rgb": _rgb,
}
