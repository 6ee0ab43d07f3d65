"""Pictures without colour stay without: what a network paints into them loses its own."""

from __future__ import annotations

import numpy as np

_WEIGHTS = np.array([299, 587, 114], np.uint32)  # of R, G and B in the luminance of ITU-R BT.601, in thousandths
_BAND = 256  # rows that are looked at together: a photograph shows its colour in the first


def without_colour(canvas: np.ndarray, image: np.ndarray, hole: np.ndarray) -> None:
    """If the known pixels of `image` have no colour, take it from the hole of `canvas`, both uint8 (H, W, 3), in place.

    The luminance (ITU-R BT.601) stays. Where nothing is known, `image` as a whole decides.
    """
    if _has_colour(image, np.zeros_like(hole) if hole.all() else hole):
        return
    canvas[hole] = ((canvas[hole] @ _WEIGHTS + 500) // 1000).astype(np.uint8)[:, None]


def _has_colour(image: np.ndarray, hole: np.ndarray) -> bool:
    """Whether a pixel outside the hole has channels that differ."""
    bands = ((image[i : i + _BAND], ~hole[i : i + _BAND]) for i in range(0, len(image), _BAND))
    return any((known & (band != band[..., :1]).any(axis=2)).any() for band, known in bands)
