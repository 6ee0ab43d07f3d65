"""Growing a hole and blending inside it. Distances are chessboard distances: max(|dx|, |dy|), in pixels."""

from __future__ import annotations

import numpy as np

from cmgan.imaging.holes import find_holes, hull


def dilated(hole: np.ndarray, reach: int) -> np.ndarray:
    """bool (H, W): True where a hole pixel lies at a distance of at most `reach`."""
    if reach == 0 or not hole.any():
        return hole
    grown = hole.copy()
    view = grown[hull(hole).grown(reach, hole.shape).slices]
    _spread(view, reach)
    _spread(view.T, reach)
    return grown


def _spread(hole: np.ndarray, reach: int) -> None:
    """Along the first axis, in place: each pass ORs with copies `step` away, so that log2(reach) passes do."""
    done = 0
    while done < reach:
        step = min(done + 1, reach - done)
        before = hole.copy(order="K")
        hole[step:] |= before[:-step]
        hole[:-step] |= before[step:]
        done += step


def feather(canvas: np.ndarray, image: np.ndarray, hole: np.ndarray, reach: int) -> None:
    """Blend `image` into `canvas`, uint8 (H, W, 3), in place: inside the hole, over its first `reach` pixels.

    A hole pixel at distance d <= reach from the nearest known pixel becomes
    ((reach + 1 - d) image + d canvas) / (reach + 1), rounded. The border of the picture is no edge of a hole.
    """
    if reach == 0:
        return
    left = hole.copy()  # regions may overlap: each pixel is blended once
    for box in find_holes(hole):
        region = box.grown(reach, hole.shape).slices
        depth = _depth(hole[region], reach)
        rows, columns = np.nonzero(left[region] & (depth <= reach))
        left[region][rows, columns] = False
        d = depth[rows, columns, None].astype(np.uint32)
        old, new = image[region][rows, columns], canvas[region][rows, columns]
        blend = ((reach + 1 - d) * old + d * new + (reach + 1) // 2) // (reach + 1)
        canvas[region][rows, columns] = blend.astype(np.uint8)


def _depth(hole: np.ndarray, reach: int) -> np.ndarray:
    """uint16 (H, W): distance of hole pixels to the nearest known one, reach + 1 where it is farther; 0 outside."""
    depth = hole.astype(np.uint16)
    known = ~hole
    for _ in range(reach):
        _spread(known, 1)
        _spread(known.T, 1)
        depth += ~known
    return depth
