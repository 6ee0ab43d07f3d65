"""One mask of a kind: object-aware as the paper trains on, or one of the plainer kinds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from cmgan.errors import UsageError
from cmgan.imaging.holes import hull
from cmgan.masks.config import MODES, PUBLISHED, MaskConfig, scaled
from cmgan.masks.morphology import dilated_by_cross, eroded_by_cross
from cmgan.masks.segments import Segments
from cmgan.masks.silhouettes import Shapes, Silhouettes
from cmgan.masks.strokes import LAMA, LAMA_LARGEST_HOLE, free_form, lama, rectangles

KINDS = ("object-aware", "free-form", "rectangles", *LAMA)


def training_mask(
    rng: np.random.Generator,
    resolution: int,
    segments: Segments | None = None,
    silhouettes: Silhouettes | None = None,
    config: MaskConfig = PUBLISHED,
) -> np.ndarray:
    """An object-aware mask (Zheng et al. 2022, section 3.3): bool (R, R), True = hole.

    Object masks, free-form masks and rectangles in the proportion of their weights. Without `silhouettes` object masks
    are procedural shapes. Raises as `draw_mask`.
    """
    return draw_mask(rng, resolution, "object-aware", segments, silhouettes, config)


def draw_mask(
    rng: np.random.Generator,
    resolution: int,
    kind: str,
    segments: Segments | None = None,
    silhouettes: Silhouettes | None = None,
    config: MaskConfig = PUBLISHED,
) -> np.ndarray:
    """A mask of one of `KINDS`: bool (R, R), True = hole.

    It covers 5 % to 99 % of the picture, a thin, medium or thick one up to 50 %. What does not is drawn anew, in the
    same mode so that the weights hold; after 50 times the mask is one rectangle of a sixteenth to a quarter of the
    picture. With `segments`, int32 (R, R), `spare_things` is part of every draw, but not of that rectangle.

    Raises:
        UsageError: mask_kind, resolution, annotation_size (`segments` are not R x R).
        PictureError: a silhouette cannot be read.
    """
    check_kind(kind, resolution)
    if segments is not None and segments.ids.shape != (resolution, resolution):
        height, width = segments.ids.shape
        raise UsageError("annotation_size", f"segments of {width}x{height} for a mask of {resolution}x{resolution}")
    mode = kind
    if kind == "object-aware":
        mode = str(rng.choice(MODES, p=np.array(config.weights) / sum(config.weights)))
    draw = _drawer(mode, silhouettes or Shapes(), config)
    low, high = (0.0, LAMA_LARGEST_HOLE) if mode in LAMA else (config.smallest_hole, config.largest_hole)
    for _ in range(1 + config.redraws):
        hole = draw(rng, resolution)
        if segments is not None:
            hole = spare_things(rng, hole, segments, config)
        area = np.count_nonzero(hole)
        if area and low <= area / hole.size <= high:
            return hole
    return _plain_rectangle(rng, resolution)


def _drawer(mode: str, silhouettes: Silhouettes, config: MaskConfig) -> Callable[..., np.ndarray]:
    if mode == "objects":
        return partial(objects, silhouettes=silhouettes, config=config)
    if mode in LAMA:
        return partial(lama, kind=mode)
    return partial(free_form if mode == "free-form" else rectangles, config=config)


def check_kind(kind: str, resolution: int) -> None:
    """Raise `UsageError` (mask_kind, resolution) for what cannot be drawn."""
    if kind not in KINDS:
        raise UsageError("mask_kind", f"{kind!r} is no kind of mask; the kinds are {', '.join(KINDS)}")
    if not 16 <= resolution <= 4096:
        raise UsageError("resolution", f"resolution {resolution}: 16 to 4096 is needed")


def objects(rng: np.random.Generator, resolution: int, silhouettes: Silhouettes, config: MaskConfig) -> np.ndarray:
    """One or two silhouettes, mirrored and shifted together with wrap-around, then grown."""
    hole = silhouettes.draw(rng, resolution)
    if rng.random() < config.second_silhouette:
        hole = hole | silhouettes.draw(rng, resolution)
    if rng.random() < 0.5:
        hole = hole[:, ::-1]
    if rng.random() < config.shifted:
        most = scaled(config.max_shift, resolution)
        hole = np.roll(hole, rng.integers(-most, most + 1, 2).tolist(), axis=(0, 1))
    return dilated_by_cross(hole, scaled(config.dilation, resolution))


def spare_things(rng: np.random.Generator, hole: np.ndarray, segments: Segments, config: MaskConfig) -> np.ndarray:
    """`hole`, bool (R, R), without the things that it covers by more than half: nobody could tell that they were there.

    Each is made 2 to 4 pixels smaller first, so that its boundary stays hidden. A thing that is covered by half or less
    stays covered: it is for the generator to complete.
    """
    spared = hole.copy()
    for thing in sorted(segments.things):
        everywhere = segments.ids == thing
        if not everywhere.any():
            continue
        near = hull(everywhere).grown(1, hole.shape).slices  # what is nearest outside a thing touches it
        pixels = everywhere[near]
        if np.count_nonzero(pixels & hole[near]) > config.thing_covered * np.count_nonzero(pixels):
            steps = int(rng.integers(config.min_erosion, config.max_erosion + 1))
            spared[near] &= ~eroded_by_cross(pixels, scaled(steps, hole.shape[0]))
    return spared


def _plain_rectangle(rng: np.random.Generator, resolution: int) -> np.ndarray:
    """One rectangle inside the picture with sides of a quarter to half of its side."""
    hole = np.zeros((resolution, resolution), bool)
    height, width = rng.integers(-(-resolution // 4), resolution // 2 + 1, 2).tolist()
    top, left = (int(rng.integers(resolution - side + 1)) for side in (height, width))
    hole[top : top + height, left : left + width] = True
    return hole
