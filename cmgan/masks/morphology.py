"""Growing and shrinking in steps of a 4-neighbour cross, so that distances are |dx| + |dy|, in pixels."""

from __future__ import annotations

import numpy as np


def dilated_by_cross(mask: np.ndarray, steps: int) -> np.ndarray:
    """bool (H, W): True where a pixel of `mask`, bool (H, W), lies at a distance of at most `steps`.

    A pixel within reach + step <= 2 reach of another is within reach of one of the four that lie `step` away from it on
    the axes, so that log2(steps) passes do. The padding holds those of them that lie outside the picture.
    """
    if steps == 0 or not mask.any():
        return mask
    grown = np.pad(mask, steps)
    reach = 0
    while reach < steps:
        step = min(max(reach, 1), steps - reach)
        before = grown.copy()
        grown[step:] |= before[:-step]
        grown[:-step] |= before[step:]
        grown[:, step:] |= before[:, :-step]
        grown[:, :-step] |= before[:, step:]
        reach += step
    return grown[steps:-steps, steps:-steps]


def eroded_by_cross(mask: np.ndarray, steps: int) -> np.ndarray:
    """bool (H, W): `mask` without its pixels at a distance of at most `steps` from one outside it.

    The border of the picture is no edge of the mask.
    """
    return mask & ~dilated_by_cross(~mask, steps)
