"""Every way the kernels are compiled that is worth keeping: what the static report and its snapshot cover."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cmgan.kernels.epilogue import epilogue_kernel
from cmgan.kernels.fold import BLOCK, fold_kernel
from cmgan.kernels.launch import tile
from cmgan.kernels.modconv2d import PANEL, modconv2d_kernel
from cmgan.kernels.spatial import spatial_kernel
from cmgan.kernels.winners import RGB_TILE, Tile
from cmgan.model.functional import CLAMP, DEMODULATION_EPSILON, GAIN, SLOPE

ARCHITECTURES = (80, 86, 89, 90, 100, 120)
TYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}  # PyTorch's names, Triton's

# The cuts of the fused convolution that fit every architecture. Which one is the fastest only a GPU can tell.
TILES = (
    Tile(128, 64, 64, 4, 3),
    Tile(128, 64, 64, 8, 3),
    Tile(128, 64, 32, 4, 4),
    Tile(256, 64, 32, 8, 3),
    Tile(128, 128, 64, 8, 3),
    Tile(128, 128, 32, 8, 4),
    Tile(64, 64, 64, 4, 4),
    RGB_TILE,
)


@dataclass(frozen=True)
class Configuration:
    """One specialisation of a kernel: `dtype` of its tensors, the pointers that are None, the constants."""

    name: str
    kernel: Any
    dtype: str
    constants: dict[str, Any]
    absent: frozenset[str] = frozenset()
    uneven: frozenset[str] = frozenset()  # integers that are no multiple of 16
    options: dict[str, int] = field(default_factory=dict)  # num_warps, num_stages


_ACTIVATION = {"SLOPE": SLOPE, "GAIN": GAIN, "CLAMP": CLAMP}
_OPTIONAL = frozenset({"demod_ptr", "bias_ptr", "residual_ptr", "noise_ptr", "style_ptr", "scaled_ptr"})


def _elementwise(name: str, kernel: Any, dtype: str, present: str, *, up: bool, last: bool = True) -> Configuration:
    positions, channels = tile(64, up=up)
    constants = {**_ACTIVATION, "UP": up, "CHANNELS_LAST": last, "BP": positions, "BC": channels}
    given = {f"{term}_ptr" for term in present.split()}
    optional = _OPTIONAL if kernel is epilogue_kernel else frozenset({"demod_ptr"})
    return Configuration(f"{name} {dtype}", kernel, dtype, constants, optional - given)


def _convolution(kind: str, dtype: str, cut: Tile) -> Configuration:
    absent = {
        "same": {"residual_ptr", "noise_ptr"},
        "spatial": {"style_ptr", "bias_ptr"},
        "rgb": {"demod_ptr", "residual_ptr", "noise_ptr"},
    }[kind]
    constants: dict[str, Any] = {
        **_ACTIVATION,
        "SIZE": 1 if kind == "rgb" else 3,
        "ACTIVATE": kind != "rgb",
        "PANEL": PANEL,
    }
    constants |= {"BM": cut.positions, "BN": cut.channels, "BK": cut.depth, "STAGES": cut.stages, "PRECISION": "tf32"}
    name = f"modconv2d {kind} {dtype} {cut.positions}x{cut.channels}x{cut.depth} w{cut.warps} s{cut.stages}"
    uneven = frozenset({"CO"} if kind == "rgb" else ())
    return Configuration(name, modconv2d_kernel, dtype, constants, frozenset(absent), uneven, {"num_warps": cut.warps})


def configurations() -> list[Configuration]:
    """All of them, by name."""
    wide = [cut for cut in TILES if cut is not RGB_TILE]
    terms = "demod bias residual style scaled"
    return [
        _elementwise("epilogue", epilogue_kernel, "bfloat16", "demod bias", up=False),
        _elementwise("epilogue folded", epilogue_kernel, "bfloat16", "bias", up=False),
        _elementwise("epilogue folded, up", epilogue_kernel, "bfloat16", "bias residual", up=True),
        _elementwise("epilogue scaling, up", epilogue_kernel, "bfloat16", terms, up=True),
        _elementwise("epilogue spatial", epilogue_kernel, "bfloat16", "demod residual noise", up=False),
        _elementwise("epilogue contiguous", epilogue_kernel, "float32", "demod bias residual", up=False, last=False),
        _elementwise("spatial", spatial_kernel, "bfloat16", "demod", up=False),
        _elementwise("spatial folded, up", spatial_kernel, "float16", "", up=True),
        Configuration(
            "fold_weights bfloat16",
            fold_kernel,
            "bfloat16",
            {"EPSILON": DEMODULATION_EPSILON, "EVEN": True, "LONGEST": 9 * 512, "BLOCK": BLOCK},
        ),
        *(_convolution("same", "bfloat16", cut) for cut in wide),
        *(_convolution("spatial", "bfloat16", cut) for cut in wide[:5]),
        _convolution("same", "float16", wide[0]),
        _convolution("rgb", "bfloat16", TILES[-1]),
        _convolution("rgb", "float16", TILES[-1]),
    ]
