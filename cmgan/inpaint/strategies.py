"""How a picture of any size becomes windows of R x R: crop, resize, original, tile."""

from __future__ import annotations

import numpy as np

from cmgan.errors import UsageError
from cmgan.imaging.holes import Box, find_holes
from cmgan.inpaint.windows import Window

STRATEGIES = ("crop", "resize", "original", "tile")


def plan(strategy: str, hole: np.ndarray, resolution: int, margin: int) -> list[Window]:
    """The windows that together hold every pixel of `hole`, bool (H, W).

    crop: a square for each hole, `margin` pixels wider than it and at least R, overlapping ones merged.
    resize: the whole picture.
    original: squares of R, unscaled, around the holes.
    tile: the coarse pass, which is resize; the tiles themselves are planned by `tiles.plan_tiles`.
    """
    if strategy == "crop":
        return _crops(hole, resolution, margin)
    if strategy == "original":
        return _unscaled(hole, resolution)
    if strategy in ("resize", "tile"):
        return [_square(Box(0, 0, hole.shape[1], hole.shape[0]), 1, hole.shape)]
    raise UsageError("strategy", f"strategy {strategy!r}; known are {', '.join(STRATEGIES)}")


def _square(box: Box, least: int, shape: tuple[int, ...]) -> Window:
    """The smallest square window of at least `least` pixels around `box`, inside the picture as far as it can be."""
    side = max(box.right - box.left, box.bottom - box.top, least)
    return Window(_start(box.left, box.right, side, shape[1]), _start(box.top, box.bottom, side, shape[0]), side)


def _start(first: int, last: int, side: int, length: int) -> int:
    """Where `side` pixels around [first, last) begin: moved into [0, length) where they fit, else centred on it."""
    if side >= length:
        return (length - side) // 2
    return min(max((first + last - side) // 2, 0), length - side)


def _crops(hole: np.ndarray, resolution: int, margin: int) -> list[Window]:
    done: list[Window] = []
    for box in find_holes(hole):
        window = _square(box.grown(margin, hole.shape), resolution, hole.shape)
        while (other := next((w for w in done if _overlap(w, window)), None)) is not None:
            done.remove(other)
            both = Box(
                min(window.x, other.x),
                min(window.y, other.y),
                max(window.x + window.side, other.x + other.side),
                max(window.y + window.side, other.y + other.side),
            ).grown(0, hole.shape)
            window = _square(both, resolution, hole.shape)
        done.append(window)
    return done


def _overlap(a: Window, b: Window) -> bool:
    return a.x < b.x + b.side and b.x < a.x + a.side and a.y < b.y + b.side and b.y < a.y + a.side


def _unscaled(hole: np.ndarray, resolution: int) -> list[Window]:
    windows = []
    for box in find_holes(hole):
        for top, bottom in _pieces(box.top, box.bottom, resolution):
            for left, right in _pieces(box.left, box.right, resolution):
                if hole[top:bottom, left:right].any():
                    windows.append(_square(Box(left, top, right, bottom), resolution, hole.shape))
    return windows


def _pieces(first: int, last: int, most: int) -> list[tuple[int, int]]:
    """[first, last) in as few nearly equal pieces of at most `most` pixels as possible."""
    count = -(-(last - first) // most)
    edges = [first + (last - first) * i // count for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))
