"""The pictures and masks that every artefact is judged on, and the file of them that goes with it. NumPy only."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmgan.errors import ModelError
from cmgan.files import read_model_file, write_atomically

KEPT = ("thin", "large", "border", "most")  # the cases in the parity file
RAW_STEP = 2  # of a raw output, every second row and column is kept: 8 MB at 512 otherwise


@dataclass(frozen=True)
class Case:
    """One picture (R, R, 3) and mask (R, R), uint8, with its z (z_dim,), float32."""

    name: str
    image: np.ndarray
    mask: np.ndarray
    z: np.ndarray


def parity_cases(side: int, z_dim: int) -> list[Case]:
    """Six cases: thin strokes, a large hole, one at the border, 95 % hole, a saturated picture, pure noise."""
    rng = np.random.default_rng(20220311)
    y, x = np.mgrid[0:side, 0:side] / side
    smooth = np.stack([x, y, (x + y) / 2], 2) * 200 + 30 * np.sin(20 * (x * y))[..., None] + 10
    scene = np.where((np.hypot(x - 0.4, y - 0.5) < 0.2)[..., None], [200.0, 60.0, 40.0], smooth)
    scene = scene.clip(0, 255).astype(np.uint8)
    saturated = ((np.floor(x * 8) + np.floor(y * 8))[..., None] % 2 * [255, 255, 255]).astype(np.uint8)
    noise = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    thin = np.abs(np.sin(6 * x + 2) * 0.3 + 0.5 - y) < 0.02
    large = (np.abs(x - 0.5) < 0.3) & (np.abs(y - 0.45) < 0.3)
    border = (x > 0.7) | (y < 0.1)
    most = rng.random((side // 8, side // 8)).repeat(8, 0).repeat(8, 1) < 0.95
    pairs = [
        ("thin", scene, thin),
        ("large", scene, large),
        ("border", scene[::-1], border),
        ("most", scene, most),
        ("saturated", saturated, large),
        ("noise", noise, border),
    ]
    return [
        Case(
            name,
            np.ascontiguousarray(image),
            hole.astype(np.uint8) * 255,
            rng.standard_normal(z_dim, dtype=np.float32),
        )
        for name, image, hole in pairs
    ]


def stacked(cases: list[Case]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cases as one batch: image (N, R, R, 3), mask (N, R, R), z (N, z_dim)."""
    image, mask, z = zip(*((c.image, c.mask, c.z) for c in cases), strict=True)
    return np.stack(image), np.stack(mask), np.stack(z)


@dataclass(frozen=True)
class Proof:
    """What a parity file holds: cases, eager's output of each (raw ones thinned), and whose outputs these are."""

    cases: list[Case]
    outputs: list[np.ndarray]
    weights_sha256: str


def parity_file_of(artefact: Path) -> Path:
    """Where the parity file of an artefact stands: `model.onnx.parity.npz`."""
    return artefact.with_name(f"{artefact.name}.parity.npz")


def save_cases(path: Path, cases: list[Case], outputs: list[np.ndarray], weights_sha256: str) -> None:
    """Write the kept cases with eager's outputs, uint8 pictures or raw (3, R, R), and the digest of its weights."""
    kept = [(c, o) for c, o in zip(cases, outputs, strict=True) if c.name in KEPT]
    image, mask, z = stacked([c for c, _ in kept])
    output = np.stack([thinned(o) for _, o in kept])
    buffer = io.BytesIO()
    names = [c.name for c, _ in kept]
    np.savez_compressed(buffer, name=names, image=image, mask=mask, z=z, output=output, weights_sha256=weights_sha256)
    write_atomically(path, buffer.getvalue())


def load_cases(path: Path) -> Proof:
    """The inverse.

    Raises:
        ModelError: the file is missing or is no such file.
    """
    data = read_model_file(path, 64 * 2**20)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            name, image, mask, z, output = (file[key] for key in ("name", "image", "mask", "z", "output"))
            weights_sha256 = str(file["weights_sha256"])
    except Exception as error:  # noqa: BLE001 - zipfile, zlib and NumPy each raise their own
        raise ModelError("parity_file", "is not a parity file of cmgan's; export again", file=path) from error
    cases = [Case(str(n), i, m, w) for n, i, m, w in zip(name, image, mask, z, strict=True)]
    return Proof(cases, list(output), weights_sha256)


def thinned(output: np.ndarray) -> np.ndarray:
    """A raw output (..., R, R) as it is kept; a picture as it is."""
    return output if output.dtype == np.uint8 else output[..., ::RAW_STEP, ::RAW_STEP]
