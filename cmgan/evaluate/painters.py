"""What is judged: an engine, and the simple fillings that it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cmgan.errors import UsageError, needs
from cmgan.runtime.engine import Engine

# (picture uint8 (R, R, 3), holes bool (M, R, R), seeds of the M fillings) -> uint8 (M, R, R, 3)
Painter = Callable[[np.ndarray, np.ndarray, Sequence[int]], np.ndarray]

BASELINES = ("telea", "navier-stokes", "mean")
_RADIUS = 3  # pixels around a pixel that OpenCV's methods look at; the value of its own examples


def engine_painter(engine: Engine) -> Painter:
    """An engine as a painter, which does not see what it has to paint; z of each filling is drawn from its seed."""

    def paint(picture: np.ndarray, holes: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
        draws = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
        z = np.stack([draw.standard_normal(engine.info.z_dim, np.float32) for draw in draws])
        images = np.where(holes[..., None], np.uint8(0), picture)
        return engine(images, np.where(holes, np.uint8(255), np.uint8(0)), z)

    return paint


def baseline(name: str) -> Painter:
    """One of `BASELINES`: OpenCV's methods (Telea 2004; Bertalmio et al. 2001), or the mean colour of known pixels.

    Raises:
        UsageError: another name.
        MissingError: OpenCV is not installed.
    """
    if name not in BASELINES:
        raise UsageError("baseline", f"baseline {name[:40]!r}; known are {', '.join(BASELINES)}")
    fill = _mean_fill if name == "mean" else _opencv_fill(name)
    return lambda picture, holes, seeds: np.stack([fill(picture, hole) for hole in holes])


def _mean_fill(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    filled = picture.copy()
    filled[hole] = np.rint(picture[~hole].mean(axis=0))
    return filled


def _opencv_fill(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    with needs(f"baseline {name}", "cmgan[eval]"):
        import cv2
    method = {"telea": cv2.INPAINT_TELEA, "navier-stokes": cv2.INPAINT_NS}[name]

    def fill(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
        painted = cv2.inpaint(picture, hole.astype(np.uint8), _RADIUS, method)
        return np.where(hole[..., None], painted, picture)

    return fill
