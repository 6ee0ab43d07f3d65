"""Squares of a picture as the network sees them: cut out R x R, painted, put back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cmgan.imaging.holes import Box

_Resampling = Image.Resampling


@dataclass(frozen=True)
class Window:
    """A square of `side` pixels with its top left corner at (x, y), scaled to R x R for the network.

    It may reach beyond the picture, which continues there by reflection. `rim` is how many pixels of each edge (left,
    top, right, bottom) the network is to take as known though they are hole.
    """

    x: int
    y: int
    side: int
    rim: tuple[int, int, int, int] = (0, 0, 0, 0)

    def inside(self, shape: tuple[int, ...]) -> Box:
        """The part of the window that lies in a picture (H, W, ...)."""
        return Box(self.x, self.y, self.x + self.side, self.y + self.side).grown(0, shape)


def cut(image: np.ndarray, hole: np.ndarray, window: Window, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """What the network gets of a picture uint8 (H, W, 3) and its hole bool (H, W): uint8 (R, R, 3) and (R, R).

    Scaling never mixes the hole's colours into known pixels, and a pixel is hole if any pixel it covers is.
    """
    box = window.inside(hole.shape)
    place = _place(window, box, resolution)
    size = (place.right - place.left, place.bottom - place.top)
    part, mask = image[box.slices], hole[box.slices]
    if any(window.rim):
        mask = _without_rim(mask, window, box)
    if part.shape[1::-1] != size:
        part, mask = _scaled(part, mask, size), _any_covered(_any_covered(mask, size[1]).T, size[0]).T
    rows = _reflected(place.top, size[1], resolution)[:, None]
    columns = _reflected(place.left, size[0], resolution)
    return part[rows, columns], mask[rows, columns] * np.uint8(255)


def placed(painted: np.ndarray, window: Window, shape: tuple[int, ...]) -> tuple[Box, np.ndarray]:
    """Where in a picture (H, W, ...) the network's answer uint8 (R, R, 3) belongs, and its pixels in that size."""
    box = window.inside(shape)
    part = painted[_place(window, box, painted.shape[0]).slices]
    size = (box.right - box.left, box.bottom - box.top)
    if part.shape[1::-1] != size:
        filter = _Resampling.BICUBIC if window.side > painted.shape[0] else _Resampling.HAMMING
        part = np.asarray(Image.fromarray(np.ascontiguousarray(part)).resize(size, filter))
    return box, part


def paste(canvas: np.ndarray, hole: np.ndarray, window: Window, painted: np.ndarray) -> None:
    """Write the network's answer into the hole pixels of `canvas` uint8 (H, W, 3) that the window holds, in place."""
    box, part = placed(painted, window, canvas.shape)
    np.copyto(canvas[box.slices], part, where=hole[box.slices][..., None])


def _place(window: Window, box: Box, resolution: int) -> Box:
    """Where the part of the window that lies in the picture stands in R x R; at least one pixel wide and high."""
    scale = resolution / window.side
    left = min(round((box.left - window.x) * scale), resolution - 1)
    top = min(round((box.top - window.y) * scale), resolution - 1)
    right = max(round((box.right - window.x) * scale), left + 1)
    bottom = max(round((box.bottom - window.y) * scale), top + 1)
    return Box(left, top, right, bottom)


def _scaled(part: np.ndarray, hole: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`part` at `size` (width, height): each pixel the weighted mean of the known pixels under the filter.

    That is what Pillow does for alpha; its filters used here have no negative weights.
    """
    known = np.empty((*hole.shape, 4), np.uint8)
    known[..., :3] = part
    known[..., 3] = np.where(hole, 0, 255)
    filter = _Resampling.HAMMING if size[0] < part.shape[1] or size[1] < part.shape[0] else _Resampling.BILINEAR
    return np.asarray(Image.fromarray(known).resize(size, filter))[..., :3]


def _any_covered(hole: np.ndarray, length: int) -> np.ndarray:
    """Scale the first axis of `hole` to `length`: True where any of the pixels covered, if only in part, is True."""
    edges = np.arange(length + 1) * hole.shape[0]
    first, last = edges[:-1] // length, -(-edges[1:] // length) - 1
    return np.bitwise_or.reduceat(hole, first, axis=0) | hole[last]


def _without_rim(mask: np.ndarray, window: Window, box: Box) -> np.ndarray:
    """`mask` (the window's part `box` of the hole) with the window's rim taken as known."""
    left, top, right, bottom = window.rim
    inner = np.zeros_like(mask)
    rows = slice(max(window.y + top - box.top, 0), max(window.y + window.side - bottom - box.top, 0))
    columns = slice(max(window.x + left - box.left, 0), max(window.x + window.side - right - box.left, 0))
    inner[rows, columns] = mask[rows, columns]
    return inner


def _reflected(start: int, length: int, resolution: int) -> np.ndarray:
    """For each of R positions the one of `length` pixels that stands there when they begin at `start` and are
    mirrored at their edges as often as needed (the edge pixel is not repeated)."""
    if length == 1:
        return np.zeros(resolution, int)
    period = 2 * (length - 1)
    position = (np.arange(resolution) - start) % period
    return np.minimum(position, period - position)
