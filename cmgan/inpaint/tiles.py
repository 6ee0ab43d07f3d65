"""The strategy `tile`: overlapping unscaled windows over a coarse fill, joined by linear ramps."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from cmgan.inpaint.windows import Window, placed


def plan_tiles(hole: np.ndarray, resolution: int, overlap: int) -> list[list[Window]]:
    """Rows of unscaled R x R tiles, neighbours sharing at least `overlap` pixels; those without a hole left out.

    On the sides where a tile has a neighbour, a quarter of `overlap` is its rim: there the network sees what is
    already painted, so that its own picture joins it.
    """
    height, width = hole.shape
    xs, ys = _starts(width, resolution, overlap), _starts(height, resolution, overlap)
    rim = overlap // 4
    rows = []
    for y in ys:
        row = [
            Window(x, y, resolution, (rim * (x > xs[0]), rim * (y > ys[0]), rim * (x < xs[-1]), rim * (y < ys[-1])))
            for x in xs
        ]
        row = [tile for tile in row if hole[tile.inside(hole.shape).slices].any()]
        if row:
            rows.append(row)
    return rows


def paste_row(canvas: np.ndarray, hole: np.ndarray, painted: Iterable[tuple[Window, np.ndarray]], overlap: int) -> None:
    """Join the painted tiles of one row and write them into the hole pixels of `canvas` uint8 (H, W, 3), in place.

    Tiles are joined from left to right, then the whole row to the one above it: each join is a ramp of one direction,
    from one rim to the other, so that no painted pixel comes from a rim.
    """
    strip = np.empty(0)
    for tile, pixels in painted:
        box, part = placed(pixels, tile, canvas.shape)
        if not strip.size:
            rows, rim = slice(box.top, box.bottom), tile.rim[1]
            strip = canvas[rows].copy()
        _join(strip[:, box.left : box.right].swapaxes(0, 1), part.swapaxes(0, 1), tile.rim[0], overlap)
    row = canvas[rows].copy()
    _join(row, strip, rim, overlap)
    np.copyto(canvas[rows], row, where=hole[rows][..., None])


def _join(below: np.ndarray, above: np.ndarray, rim: int, overlap: int) -> None:
    """Lay `above` over `below`, both uint8 (L, ., 3), in place, with a ramp at its start if it has a rim there."""
    ramp = overlap - rim if rim else 0
    below[ramp:] = above[ramp:]
    weight = np.clip((np.arange(ramp) - rim + 1) / (ramp - rim + 1), 0, 1).astype(np.float32)[:, None, None]
    below[:ramp] = np.rint(below[:ramp] * (1 - weight) + above[:ramp] * weight)


def _starts(length: int, resolution: int, overlap: int) -> list[int]:
    if length <= resolution:
        return [(length - resolution) // 2]
    count = math.ceil((length - overlap) / (resolution - overlap))
    return [round(i * (length - resolution) / (count - 1)) for i in range(count)]
