"""Where the holes of a mask are, found on a coarse grid: fast on large pictures, however ragged the mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELL = 64  # pixels; holes in touching cells of this grid count as one


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the box in an array (H, W, ...)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, margin: int, shape: tuple[int, ...]) -> Box:
        """The box with `margin` pixels more on each side, cut at the picture's (H, W, ...)."""
        return Box(
            max(self.left - margin, 0),
            max(self.top - margin, 0),
            min(self.right + margin, shape[1]),
            min(self.bottom + margin, shape[0]),
        )


def hull(hole: np.ndarray) -> Box:
    """The smallest box around all hole pixels of `hole`, bool (H, W), which must have one."""
    rows = np.flatnonzero(hole.any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(hole[top:bottom].any(axis=0))
    return Box(int(columns[0]), top, int(columns[-1]) + 1, bottom)


def find_holes(hole: np.ndarray) -> list[Box]:
    """The bounding boxes of the connected groups of hole pixels of `hole`, bool (H, W), in reading order.

    Two hole pixels are connected if their cells touch, if only at a corner: holes less than CELL pixels apart are
    always in one group, those at least 2 CELL apart never by themselves.
    """
    if not hole.any():
        return []
    around = hull(hole)
    left, top = around.left - around.left % CELL, around.top - around.top % CELL
    part = hole[top : around.bottom, left : around.right]
    columns = np.bitwise_or.reduceat(part, np.arange(0, part.shape[0], CELL), axis=0)  # (h / CELL, w)
    rows = np.bitwise_or.reduceat(part, np.arange(0, part.shape[1], CELL), axis=1).T  # (w / CELL, h)
    x_first, x_last = _extents(columns)
    y_first, y_last = (extent.T for extent in _extents(rows))
    boxes = []
    for cells in _groups(x_first >= 0):
        at = tuple(np.array(cells).T)
        xs, ys = (x_first[at].min(), x_last[at].max()), (y_first[at].min(), y_last[at].max())
        boxes.append(Box(left + int(xs[0]), top + int(ys[0]), left + int(xs[1]) + 1, top + int(ys[1]) + 1))
    return boxes


def _extents(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last set position in each cell of each line: bool (n, L) -> two int (n, L / CELL), -1 if none."""
    count, length = lines.shape
    padded = np.zeros((count, -(-length // CELL) * CELL), bool)
    padded[:, :length] = lines
    cells = padded.reshape(count, -1, CELL)
    starts = np.arange(cells.shape[1]) * CELL
    filled = cells.any(axis=2)
    first = np.where(filled, starts + cells.argmax(axis=2), -1)
    last = np.where(filled, starts + CELL - 1 - cells[:, :, ::-1].argmax(axis=2), -1)
    return first, last


def _groups(filled: np.ndarray) -> list[list[tuple[int, int]]]:
    """The 8-connected groups of the filled cells (row, column)."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(filled), strict=True)}
    groups = []
    for seed in sorted(left):
        if seed not in left:
            continue
        left.remove(seed)
        group = [seed]
        for y, x in group:  # grows while it is walked
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            group.extend(near)
        groups.append(group)
    return groups
