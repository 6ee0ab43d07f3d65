"""Push-pull filling, cell by cell, in NumPy."""

import numpy as np


def push_pull(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """image (C, R, R) float64, hole (R, R) bool -> the picture whose hole is filled from coarser and coarser averages
    of what is known; 0 where nothing is."""
    known = ~hole
    if known.all():
        return image
    if image.shape[1] == 1:
        return np.zeros_like(image)
    half = image.shape[1] // 2
    coarse, covered = np.zeros((image.shape[0], half, half)), np.ones((half, half), bool)
    for y in range(half):
        for x in range(half):
            cells = [(2 * y + i, 2 * x + j) for i in (0, 1) for j in (0, 1) if known[2 * y + i, 2 * x + j]]
            if cells:
                coarse[:, y, x] = np.mean([image[:, i, j] for i, j in cells], axis=0)
                covered[y, x] = False
    below = push_pull(coarse, covered)
    result = image.copy()
    for y, x in np.argwhere(hole):
        result[:, y, x] = 0
        for i, share_i in _neighbours(y, half):
            for j, share_j in _neighbours(x, half):
                result[:, y, x] += share_i * share_j * below[:, i, j]
    return result


def _neighbours(position: int, coarse: int) -> list[tuple[int, float]]:
    """The coarse cells whose centres are nearest to a fine cell's, the nearer three times the weight; inside only."""
    near = position // 2
    far = near + (1 if position % 2 else -1)
    return [(near, 0.75), (min(max(far, 0), coarse - 1), 0.25)]
