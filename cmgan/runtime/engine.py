"""What an engine is: pictures of one fixed size in, pictures out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

MASK_RULE = "hole = value >= 128"
KERNELS = ("auto", "triton", "reference")  # of a PyTorch model on a GPU


@dataclass(frozen=True)
class EngineInfo:
    """What a caller has to know about an engine before calling it."""

    format: str  # eager, onnx, ...
    name: str  # of the model: a preset, or what its configuration says
    resolution: int  # R: pictures are R x R
    z_dim: int
    precision: str  # fp32, fp16, bf16, int8
    trained: bool  # False: seeded weights, which paint nothing sensible
    weights_sha256: str
    details: dict[str, Any] = field(default_factory=dict)  # provider, threads, versions: for reports only


@dataclass(frozen=True)
class EngineOptions:
    """How an engine runs. `device` is "cpu", "cuda" or "cuda:1"; `threads` 0 leaves the number to the runtime; with
    `throughput` OpenVINO serves calls that come from several threads side by side, each of them later than it could
    be. `precision` and `kernels`, one of `KERNELS`, are of a preset or a model folder: an exported file has its
    precision, "", and no choice of kernels."""

    device: str = "cpu"
    threads: int = 0
    precision: str = ""
    kernels: str = "auto"
    throughput: bool = False
    allow_foreign: bool = False  # run an ONNX file of the right shape that does not say that cmgan made it


class Engine(Protocol):
    """Anything that inpaints batches of R x R pictures.

    Args:
        image: uint8 (N, R, R, 3), RGB.
        mask: uint8 (N, R, R); hole = value >= 128.
        z: float32 (N, z_dim), drawn from N(0, 1): the only source of variety.

    Returns:
        uint8 (N, R, R, 3); outside the hole the input's own bytes.
    """

    @property
    def info(self) -> EngineInfo: ...

    def __call__(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray: ...

    def close(self) -> None:
        """Give back the memory and the device that it holds; calls after that are errors. Once is enough, twice is
        not wrong."""


def check_inputs(info: EngineInfo, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> None:
    """Raise `ValueError` for arrays that an engine does not take, naming the shape seen and the one needed."""
    n, side = len(image), info.resolution
    for name, array, dtype, shape in (
        ("image", image, np.uint8, (n, side, side, 3)),
        ("mask", mask, np.uint8, (n, side, side)),
        ("z", z, np.float32, (n, info.z_dim)),
    ):
        if array.dtype != dtype or array.shape != shape:
            seen = f"{array.dtype} {array.shape}"
            raise ValueError(f"{name} is {seen}; {np.dtype(dtype)} {shape} is needed (N = {n})")
