"""What is judged: an engine, and the simple fillings that it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cmgan.errors import UsageError
from cmgan.evaluate.fillings import FILLINGS
from cmgan.runtime.engine import Engine

# (picture uint8 (R, R, 3), holes bool (M, R, R), seeds of the M fillings) -> uint8 (M, R, R, 3)
Painter = Callable[[np.ndarray, np.ndarray, Sequence[int]], np.ndarray]


def engine_painter(engine: Engine) -> Painter:
    """An engine as a painter, which does not see what it has to paint; z of each filling is drawn from its seed."""

    def paint(picture: np.ndarray, holes: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
        draws = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
        z = np.stack([draw.standard_normal(engine.info.z_dim, np.float32) for draw in draws])
        images = np.where(holes[..., None], np.uint8(0), picture)
        return engine(images, np.where(holes, np.uint8(255), np.uint8(0)), z)

    return paint


def baseline(name: str) -> Painter:
    """A filling without a network, by its name in `FILLINGS`.

    Raises:
        UsageError: another name.
        MissingError: when it paints: its package is not installed.
    """
    if name not in FILLINGS:
        raise UsageError("baseline", f"baseline {name[:40]!r}; known are {', '.join(FILLINGS)}")
    fill = FILLINGS[name]
    return lambda picture, holes, seeds: np.stack([fill(picture, hole) for hole in holes])
