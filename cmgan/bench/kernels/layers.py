"""Stage three: each layer of the decoder on every way through it. The fastest one that is right becomes the winner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cmgan.bench.kernels.plan import Plan
from cmgan.bench.kernels.roofline import floor_us
from cmgan.bench.kernels.timing import microseconds
from cmgan.kernels.configurations import TILES
from cmgan.kernels.epilogue import epilogue
from cmgan.kernels.fold import fold_weights, layer_views, pack, row_table
from cmgan.kernels.modconv2d import modconv2d
from cmgan.kernels.spatial import spatial_epilogue
from cmgan.kernels.tolerances import three_way
from cmgan.kernels.winners import EPILOGUE, FOLD, REFERENCE, RGB, RGB_TILE, Way
from cmgan.model import functional
from cmgan.model.functional import demodulation, demodulation_of_energy, transposed_conv2d

Record = dict[str, Any]
Ways = dict[str, tuple[Way | None, Callable[[], Tensor]]]  # a way of None is measured for comparison only
DTYPE = torch.bfloat16


def layers(plan: Plan) -> Iterator[partial[Record]]:
    """The layers that keep their size first, then upsampling, spatial and to-RGB ones, which "auto" needs too."""
    if not plan.rehearsal:
        torch.backends.cudnn.benchmark = True
    for kind in (_same, _up, _spatial, _rgb):
        for batch in plan.batches:
            for channels, side in plan.layers:
                yield partial(_measured, plan, kind, batch, channels, side)


def _measured(plan: Plan, kind: Callable[..., Any], batch: int, channels: int, side: int) -> Record:
    """One layer: microseconds and error of every way, and the winner."""
    torch.manual_seed(0)
    with torch.inference_mode():
        shape, ways, exact = kind(batch, channels, side, plan.device)
        eager = ways["eager channels-last"][1]().float()
        measured, best = {}, None
        for name, (way, call) in ways.items():
            entry = measured[name] = _one(call, eager, exact, plan)
            if way is not None and entry.get("passed") and (best is None or entry["us"] < best[1]):
                best = name, entry["us"], way
    channels_in, channels_out = shape
    floor = floor_us(batch, channels_in, channels_out, side, size=1 if kind is _rgb else 3, up=kind is _up)
    record = {
        "kind": kind.__name__[1:],
        "batch": batch,
        "channels_in": channels_in,
        "channels_out": channels_out,
        "side": side,
    }
    record |= {"dtype": "bfloat16", "floor_us": floor}
    record |= {"ways": measured, "passed": best is not None}
    if best:
        tile = None if best[2].tile is None else list(vars(best[2].tile).values())
        record["winner"] = {"name": best[0], "us": best[1], "path": best[2].path, "tile": tile}
    return record


def _one(call: Callable[[], Tensor], eager: Tensor, exact: Tensor, plan: Plan) -> Record:
    try:
        comparison = three_way(call().float(), eager, exact.double(), "bfloat16")
        us = microseconds(call, plan.calls, plan.device)
    except Exception as error:  # the next way may run
        return {"error_message": f"{type(error).__name__}: {str(error)[:200]}"}
    return {"us": us, "error": comparison.error, "limit": comparison.limit, "passed": comparison.passed}


def _given(batch: int, channels_in: int, channels: int, size: int, device: str) -> tuple[Tensor, ...]:
    weight = torch.randn(channels, channels_in, size, size, device=device) / (channels_in * size * size) ** 0.5
    style = torch.rand(batch, channels_in, device=device) + 0.5
    weight, style, bias = (v.to(DTYPE) for v in (weight, style, torch.randn(channels, device=device)))
    return weight.contiguous(memory_format=torch.channels_last), style, bias


def _picture(batch: int, channels: int, side: int, device: str) -> Tensor:
    x = torch.randn(batch, channels, side, side, device=device).to(DTYPE)
    return x.contiguous(memory_format=torch.channels_last)


def _folded(weight: Tensor, style: Tensor, *, demodulated: bool = True) -> Callable[[], Tensor]:
    """The layer's own share of the launch that folds all weights."""
    shapes = [*weight.shape[:3], int(demodulated)]
    packed, rows = pack([weight]), row_table(shapes).to(weight.device)
    return lambda: layer_views(fold_weights(packed, rows, style[0], shapes), shapes)[0]


def _exact(function: Callable[..., Tensor], *arguments: Tensor, **settings: Any) -> Tensor:
    """In float32 without TF32: far more exact than what is judged by it."""
    torch.backends.cudnn.allow_tf32 = False
    wide = {name: v.float() if isinstance(v, Tensor) else v for name, v in settings.items()}
    return function(*(v.float() for v in arguments), **wide)


def _same(batch: int, channels: int, side: int, device: str) -> tuple[tuple[int, int], Ways, Tensor]:
    weight, style, bias = _given(batch, channels, channels, 3, device)
    x = _picture(batch, channels, side, device)
    plain, plain_weight, scaled = x.contiguous(), weight.contiguous(), x * style[:, :, None, None]
    reference = functional.modulated_layer

    def prescaled() -> Tensor:
        return epilogue(F.conv2d(scaled, weight, padding=1), demodulation(weight, style), bias)

    def fused(cut: Any) -> Callable[[], Tensor]:
        return lambda: modconv2d(x, weight, style, demodulation(weight, style), bias, tile=cut)

    ways: Ways = {
        "eager": (None, lambda: reference(plain, plain_weight, style, bias)),
        "eager, weight space": (None, lambda: reference(plain, plain_weight, style, bias, form="weight")),
        "eager channels-last": (REFERENCE, lambda: reference(x, weight, style, bias)),
        "conv + epilogue": (
            EPILOGUE,
            lambda: epilogue(
                F.conv2d(x * style[:, :, None, None], weight, padding=1), demodulation(weight, style), bias
            ),
        ),
        "conv + epilogue, input scaled before": (None, prescaled),
    }
    if batch == 1:
        fold = _folded(weight, style)
        ways["fold"] = (FOLD, lambda: epilogue(F.conv2d(x, fold(), padding=1), None, bias))
    ways |= {f"fused {cut}": (Way("fused", cut), fused(cut)) for cut in TILES if cut != RGB_TILE}
    return (channels, channels), ways, _exact(reference, x, weight, style, bias)


def _up(batch: int, channels: int, side: int, device: str) -> tuple[tuple[int, int], Ways, Tensor]:
    channels_in = channels if channels == 512 else 2 * channels
    weight, style, bias = _given(batch, channels_in, channels, 3, device)
    x, residual = _picture(batch, channels_in, max(1, side // 2), device), _picture(batch, channels, side, device)

    def reference() -> Tensor:
        return functional.modulated_layer(x, weight, style, bias, residual=residual, up=True)

    def kernels() -> Tensor:
        y = transposed_conv2d(x * style[:, :, None, None], weight)
        return epilogue(y, demodulation(weight, style), bias, residual, up=True)

    ways: Ways = {"eager channels-last": (REFERENCE, reference), "conv + epilogue": (EPILOGUE, kernels)}
    if batch == 1:
        fold = _folded(weight, style)
        ways["fold"] = (FOLD, lambda: epilogue(transposed_conv2d(x, fold()), None, bias, residual, up=True))
    exact = _exact(functional.modulated_layer, x, weight, style, bias, residual=residual, up=True)
    return (channels_in, channels), ways, exact


def _spatial(batch: int, channels: int, side: int, device: str) -> tuple[tuple[int, int], Ways, Tensor]:
    """The end of SB's first layer, from its raw convolution on, and the whole second one."""
    weight, alpha, bias = _given(batch, channels, channels, 3, device)
    raw, scale_map, shift_map = (_picture(batch, channels, side, device) for _ in range(3))
    noise = torch.randn(1, 1, side, side, device=device).to(DTYPE)
    demod = torch.ones(batch, channels, device=device, dtype=DTYPE)

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

    def fused(cut: Any) -> Callable[[], Tensor]:
        def call() -> Tensor:
            y, left = scaled()
            return modconv2d(y, weight, None, left, None, shift_map, noise, tile=cut)

        return call

    given = raw, weight, scale_map, alpha, shift_map, noise, bias
    ways: Ways = {
        "eager channels-last": (REFERENCE, lambda: reference(*given)),
        "conv + epilogue": (EPILOGUE, kernels),
    }
    ways |= {f"fused {cut}": (Way("fused", cut), fused(cut)) for cut in TILES if cut != RGB_TILE}
    return (channels, channels), ways, _exact(reference, *given)


def _rgb(batch: int, channels: int, side: int, device: str) -> tuple[tuple[int, int], Ways, Tensor]:
    weight, style, bias = _given(batch, channels, 3, 1, device)
    x = _picture(batch, channels, side, device)
    ways: Ways = {
        "eager channels-last": (REFERENCE, lambda: functional.to_rgb(x, weight, style, bias)),
        "fused": (RGB, lambda: modconv2d(x, weight, style, None, bias, act=False, tile=RGB_TILE)),
    }
    if batch == 1:
        fold = _folded(weight, style, demodulated=False)
        ways["fold"] = (FOLD, lambda: F.conv2d(x, fold(), bias))
    return (channels, 3), ways, _exact(functional.to_rgb, x, weight, style, bias)
