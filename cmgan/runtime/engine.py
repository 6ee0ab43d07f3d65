"""What an engine is: pictures of one fixed size in, pictures out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from cmgan.errors import NumbersError

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
    signature: str = ""  # of a foreign graph, a row of `cmgan.runtime.signatures`; empty: it is found out
    resolution: int = 0  # R of a foreign graph of free sizes; 0: 512


class Engine(Protocol):
    """Anything that inpaints batches of R x R pictures.

    Args:
        image: uint8 (N, R, R, 3), RGB.
        mask: uint8 (N, R, R); hole = value >= 128.
        z: float32 (N, z_dim), drawn from N(0, 1): the only source of variety.

    Returns:
        uint8 (N, R, R, 3); outside the hole the input's own bytes.

    Raises:
        NumbersError: the network's numbers are not finite.
    """

    @property
    def info(self) -> EngineInfo: ...

    def __call__(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray: ...

    def close(self) -> None:
        """Give back the memory and the device that it holds; calls after that are errors. Once is enough, twice is
        not wrong."""


def refuse_non_finite(image: np.ndarray, output: np.ndarray) -> None:
    """Raise `NumbersError` where one of the pictures that an engine gave stands for numbers that are not finite.

    Args:
        image: what the engine was given, uint8 (N, R, R, 3).
        output: its answer, uint8 of the same shape, of which the negative of the image is such a picture (see
            `cmgan.model.pipeline.inpaint_bytes`); or raw RGB, float (N, 3, R, R).
    """
    if output.dtype == np.uint8:
        bad = (output == ~image).all(axis=(1, 2, 3))
    else:
        bad = ~np.isfinite(output).all(axis=(1, 2, 3))
    if bad.any():
        message = f"the engine's numbers are not finite in {int(bad.sum())} of {len(bad)} pictures (NaN or infinity)"
        raise NumbersError("non_finite", f"{message}: its weights overflow, or its precision does; try another")


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
