"""What static quantisation sees of the world: pictures with masks whose holes are of every size. NumPy and Pillow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cmgan.errors import PictureError, UsageError, warn
from cmgan.export.gate.cases import Case, parity_cases
from cmgan.imaging.limits import Limits
from cmgan.imaging.listing import pictures_in
from cmgan.imaging.picture import load_picture

MOST_PICTURES = 64  # of a folder, evenly spaced in the order of their names
_SCENES = 18
_HOLE_RATIOS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)  # one of them a sample, in turn


@dataclass(frozen=True)
class CalibrationSet:
    """Samples, where they are from, and the SHA-256 of all of them."""

    samples: list[Case]
    origin: str
    digest: str


def calibration_set(folder: Path | None, side: int, z_dim: int) -> CalibrationSet:
    """Pictures of a folder, their middle squares at side x side; without one the parity cases and synthetic scenes.

    Masks are drawn, hole ratios from 10 to 80 % in turn. The same folder gives the same samples.

    Raises:
        UsageError: there is no such folder, or none of its pictures can be read.
    """
    rng = np.random.default_rng(20220723)
    if folder is None:
        images = [_scene(rng, side) for _ in range(_SCENES)]
        origin = f"{_SCENES} synthetic scenes and the parity cases (no --calib-data)"
    else:
        images = _pictures(folder, side)
        origin = f"{len(images)} pictures of {folder.name}"
    samples = [] if folder else parity_cases(side, z_dim)
    for index, image in enumerate(images):
        hole = _hole(rng, side, _HOLE_RATIOS[index % len(_HOLE_RATIOS)])
        samples.append(Case(str(index), image, hole, rng.standard_normal(z_dim, dtype=np.float32)))
    digest = hashlib.sha256()
    for case in samples:
        for array in (case.image, case.mask, case.z):
            digest.update(array.tobytes())
    return CalibrationSet(samples, origin, digest.hexdigest())


def _pictures(folder: Path, side: int) -> list[np.ndarray]:
    files = pictures_in(folder)
    images = []
    for path in files[:: max(1, -(-len(files) // MOST_PICTURES))]:
        try:
            images.append(_square(load_picture(path, Limits.from_environment()).rgb, side))
        except PictureError as error:
            warn("calib_data", f"left out: {error}")
    if not images:
        raise UsageError("calib_data", "none of its pictures can be read", file=folder)
    return images


def _square(rgb: np.ndarray, side: int) -> np.ndarray:
    height, width, _ = rgb.shape
    length = min(height, width)
    top, left = (height - length) // 2, (width - length) // 2
    square = Image.fromarray(rgb[top : top + length, left : left + length])
    return np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))


def _scene(rng: np.random.Generator, side: int) -> np.ndarray:
    """A gradient with discs and some grain."""
    y, x = np.mgrid[0:side, 0:side] / side
    corners = rng.uniform(0, 255, (3, 3))
    scene = np.stack([x, y, 1 - (x + y) / 2], 2) @ corners * rng.uniform(0.5, 1.0)
    for _ in range(rng.integers(2, 9)):
        (cx, cy), radius = rng.random(2), rng.uniform(0.03, 0.3)
        scene[np.hypot(x - cx, y - cy) < radius] = rng.uniform(0, 255, 3)
    return (scene + rng.normal(0, rng.uniform(0, 12), scene.shape)).clip(0, 255).astype(np.uint8)


def _hole(rng: np.random.Generator, side: int, ratio: float) -> np.ndarray:
    """The highest `ratio` of a smooth random field: blobs that cover exactly that share."""
    coarse = rng.random((8, 8)).astype(np.float32)
    field = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    return (field > np.quantile(field, 1 - ratio)).astype(np.uint8) * 255
