"""Fillings without a network, which a network has to beat. Each takes a picture, uint8 (H, W, 3), and a hole, bool
(H, W), that leaves a known pixel, and gives the picture with the hole filled; other pixels stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from cmgan.errors import needs

Filling = Callable[[np.ndarray, np.ndarray], np.ndarray]

_RADIUS = 3  # pixels around a pixel that OpenCV's methods look at; the value of its own examples
_PATCH_RADIUS = 3  # patches of 7 x 7 pixels, as in the paper
_AROUND = ((-1, 0), (1, 0), (0, -1), (0, 1))


def mean(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The mean colour of the known pixels."""
    return _composite(picture, hole, np.broadcast_to(picture[~hole].mean(axis=0), picture.shape))


def push_pull(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Means of the known cells from scale to scale; a cell without one is interpolated from the next coarser scale.

    After Gortler et al. (The Lumigraph, 1996), with all weights one; a network with `fill = "pyramid"` starts from it.
    """
    return _composite(picture, hole, _pulled(picture.astype(np.float64), ~hole[..., None]))


def harmonic(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The solution of Laplace's equation: every pixel of the hole is the mean of its neighbours in the picture."""
    with needs("baseline harmonic", "cmgan[eval]"):
        from scipy import sparse  # type: ignore[import-untyped]
        from scipy.sparse.linalg import spsolve  # type: ignore[import-untyped]
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    rows, columns = np.nonzero(hole)
    neighbours = np.zeros(len(rows))
    known, entries = np.zeros((len(rows), picture.shape[2])), []
    for down, along in _AROUND:
        y, x = rows + down, columns + along
        inside = (y >= 0) & (y < hole.shape[0]) & (x >= 0) & (x < hole.shape[1])
        of, y, x = np.flatnonzero(inside), y[inside], x[inside]
        neighbours += inside
        open_ = hole[y, x]
        known[of[~open_]] += picture[y[~open_], x[~open_]]
        entries.append(np.stack([of[open_], number[y[open_], x[open_]]]))
    pairs = np.concatenate(entries, axis=1)
    links = sparse.coo_array((np.ones(pairs.shape[1]), pairs), shape=(len(rows), len(rows)))
    filled = picture.astype(np.float64)
    filled[hole] = spsolve((sparse.diags_array(neighbours) - links).tocsc(), known)
    return _composite(picture, hole, filled)


def biharmonic(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """scikit-image's solution of the biharmonic equation, which continues slopes (Damelin and Hoang 2018)."""
    with needs("baseline biharmonic", "cmgan[eval]"):
        from skimage.restoration import inpaint_biharmonic
    return _composite(picture, hole, 255 * inpaint_biharmonic(picture / 255, hole, channel_axis=-1))


def patchmatch(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Patches of the known part, found by PatchMatch (Barnes et al. 2009), coarse to fine; the seed is fixed."""
    with needs("baseline patchmatch", "cmgan[eval]"):
        import patchmatch as package
    package.set_random_seed(0)
    return _composite(picture, hole, package.inpaint(picture, hole, patch_size=_PATCH_RADIUS))


def _opencv(method: str, name: str, picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    with needs(f"baseline {name}", "cmgan[eval]"):
        import cv2
    blank = mean(picture, hole)  # where a hole meets the border, Navier-Stokes looks at what lies in it
    return _composite(picture, hole, cv2.inpaint(blank, hole.astype(np.uint8), _RADIUS, getattr(cv2, method)))


FILLINGS: dict[str, Filling] = {
    "telea": partial(_opencv, "INPAINT_TELEA", "telea"),  # Telea 2004
    "navier-stokes": partial(_opencv, "INPAINT_NS", "navier-stokes"),  # Bertalmio et al. 2001
    "biharmonic": biharmonic,
    "harmonic": harmonic,
    "push-pull": push_pull,
    "patchmatch": patchmatch,
    "mean": mean,
}


def _composite(picture: np.ndarray, hole: np.ndarray, filled: np.ndarray) -> np.ndarray:
    return np.where(hole[..., None], np.clip(np.rint(filled), 0, 255).astype(np.uint8), picture)


def _pulled(colours: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The colours (H, W, 3) of the `known` cells, bool (H, W, 1), and from coarser scales those of the others."""
    if known.all():
        return colours
    count = _halved(known.astype(np.float64))
    above = _pulled(_halved(colours * known) / np.maximum(count, 1), count > 0)
    height, width = known.shape[:2]
    return np.where(known, colours, _doubled(_doubled(above).swapaxes(0, 1)).swapaxes(0, 1)[:height, :width])


def _halved(x: np.ndarray) -> np.ndarray:
    """Sums of 2 x 2 cells of (H, W, C); an odd side ends in half a cell."""
    x = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)))
    return x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]


def _doubled(x: np.ndarray) -> np.ndarray:
    """Linear interpolation of (H, ...) to (2 H, ...); the border continues."""
    before, after = np.concatenate([x[:1], x[:-1]]), np.concatenate([x[1:], x[-1:]])
    return np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=1).reshape(-1, *x.shape[1:])
