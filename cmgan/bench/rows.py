"""The kinds of rows that a bench has, with how their engines are made. Read by the parent and the children.

PyTorch has one line a row here; exported files have a row for each format of `cmgan.formats` and precision.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmgan.errors import MissingError
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.formats import FORMATS
from cmgan.runtime.engine import Engine, EngineOptions
from cmgan.runtime.open import open_engine

FORMS = ("activation", "weight")  # of the modulated convolution
BASELINE = "eager"  # the row that every other is compared with and measured against
USUAL_FORMATS = ("onnx", "openvino")  # exported for a bench that names no rows: they run everywhere and export quickly
PRECISIONS = tuple(TOLERANCES)  # a row is judged by the tolerances of its precision


@dataclass(frozen=True)
class Setting:
    """What a child process needs to make an engine."""

    folder: Path  # the model's, with its weights
    artefact: Path | None  # the exported file of the row, None for PyTorch
    form: str  # one of FORMS, for PyTorch
    threads: int
    device: str


@dataclass(frozen=True)
class RowKind:
    """A row's name, what it is, and how its engine is made in a fresh process.

    `format` is that of the exported file, none for PyTorch. `any_batch` is False where every batch size would be
    compiled anew: such a row is measured at batch 1 only. `kernels` says that it runs on this project's kernels:
    nothing is measured against it. `gpu` says that it needs one.
    """

    name: str
    about: str
    open: Callable[[Setting], Engine]
    precision: str = "fp32"
    format: str = ""
    any_batch: bool = True
    kernels: bool = False
    gpu: bool = False

    @property
    def pytorch(self) -> bool:
        return not self.format


def _pytorch(setting: Setting, *, kernels: str = "reference", lowered: bool = False, **options: Any) -> Engine:
    """`options` are those of `EagerOptions`, without the device; `lowered` runs the network that is exported."""
    import torch

    from cmgan.export.network.lowered import Lowered
    from cmgan.model.functional import WEIGHT_SPACE
    from cmgan.model.weights import load_generator
    from cmgan.runtime.eager import EagerEngine, EagerOptions, First, in_type, on_device, prepared

    torch.set_num_threads(setting.threads)
    loaded, running = load_generator(setting.folder), EagerOptions(setting.device, **options)
    if setting.form == "weight":
        loaded.generator.ops = WEIGHT_SPACE
    if lowered:
        exported = Lowered(loaded.generator, "core", "dft", "convolutions")
        network = in_type(on_device(First(exported), setting.device), running)
    else:
        network = prepared(loaded.generator, kernels, running)
    config = loaded.generator.config
    return EagerEngine(network, config, trained=loaded.trained, weights_sha256=loaded.digest, options=running)


def _compiled(setting: Setting) -> Engine:
    compiler = os.environ.get("CXX", "g++")
    if setting.device == "cpu" and not shutil.which(compiler):
        raise MissingError("compiler", f"torch.compile needs a C++ compiler, and there is no {compiler}: install g++")
    return _pytorch(setting, compiled="default")


def _exported(setting: Setting) -> Engine:
    assert setting.artefact is not None
    return open_engine(setting.artefact, EngineOptions(device=setting.device, threads=setting.threads))


def row_name(format: str, precision: str) -> str:
    """The row of an exported file: `openvino`, `openvino-bf16`."""
    return format if precision == "fp32" else f"{format}-{precision}"


def _gpu(name: str, about: str, precision: str, **options: Any) -> RowKind:
    """A row that needs a GPU: maps channels last, the rest as `options` of `_pytorch` say."""
    kernels = "kernels" in options
    compiled = bool(options.get("compiled"))

    def opened(setting: Setting) -> Engine:
        return _pytorch(setting, precision=precision, channels_last=True, **options)

    about = f"{about}, {precision}, channels last"
    return RowKind(name, about, opened, precision, any_batch=not compiled, kernels=kernels, gpu=True)


# What a GPU can do beside the rows that run everywhere; all compute with the same folded gains.
_GPU_ROWS = (
    _gpu("eager-tf32", "PyTorch", "tf32"),
    _gpu("eager-bf16-graph", "PyTorch in a CUDA graph", "bf16", graph=True),
    _gpu("triton", "PyTorch on the Triton kernels", "fp32", kernels="triton"),
    _gpu("triton-bf16", "PyTorch on the Triton kernels", "bf16", kernels="triton"),
    _gpu("triton-bf16-graph", "PyTorch on the Triton kernels in a CUDA graph", "bf16", kernels="triton", graph=True),
    _gpu("compile-bf16", "torch.compile reduce-overhead", "bf16", compiled="reduce-overhead"),
    _gpu("compile-bf16-max", "torch.compile max-autotune", "bf16", compiled="max-autotune"),
    _gpu(
        "compile-bf16-lowered", "torch.compile of the exported network", "bf16", compiled="max-autotune", lowered=True
    ),
    _gpu(
        "triton-bf16-compile",
        "torch.compile on the Triton kernels",
        "bf16",
        kernels="triton",
        compiled="reduce-overhead",
    ),
)

KINDS: dict[str, RowKind] = {
    kind.name: kind
    for kind in (
        RowKind("eager", "PyTorch, fp32, contiguous: the baseline", _pytorch),
        RowKind("eager-channels-last", "PyTorch, fp32, channels last", lambda s: _pytorch(s, channels_last=True)),
        RowKind(
            "eager-bf16",
            "PyTorch, bf16 autocast, channels last",
            lambda s: _pytorch(s, channels_last=True, precision="bf16", autocast=True),
            precision="bf16",
        ),
        RowKind("compile", "torch.compile, fp32", _compiled, any_batch=False),
        *_GPU_ROWS,
        *(
            RowKind(row_name(format.name, precision), f"{format.about}; {precision}", _exported, precision, format.name)
            for format in FORMATS.values()
            for precision in PRECISIONS
        ),
    )
}
