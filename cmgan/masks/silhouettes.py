"""Where object masks take their shapes: a folder of masks, the things of annotated pictures, or made-up outlines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from cmgan.imaging.decode import decode
from cmgan.imaging.limits import Limits
from cmgan.imaging.listing import pictures_in
from cmgan.masks.config import PUBLISHED, MaskConfig
from cmgan.masks.segments import AnnotatedPictures
from cmgan.masks.strokes import Canvas

_TRIES = 10  # pictures looked at for a thing that is large enough
_CORNERS = (5, 12)  # of a random polygon
_RADII = (1 / 12, 1 / 4)  # of a shape, shares of the picture's side


class Silhouettes(Protocol):
    """A source of silhouettes."""

    def draw(self, rng: np.random.Generator, resolution: int) -> np.ndarray:
        """bool (R, R), True inside an object, at its place in its own picture."""


def silhouettes_from(
    masks: Path | None = None, pictures: AnnotatedPictures | None = None, config: MaskConfig = PUBLISHED
) -> Silhouettes:
    """The first source that there is: the folder `masks`, the things of `pictures`, procedural shapes."""
    if masks is not None:
        return MaskFolder(masks)
    return Shapes() if pictures is None else Things(pictures, config)


class MaskFolder:
    """The masks of a folder (PNG, JPEG, WebP; object = value >= 128), sub-folders not included.

    Raises:
        UsageError: not_a_folder, no_pictures.
    """

    def __init__(self, folder: Path) -> None:
        self._files = pictures_in(folder)

    def draw(self, rng: np.random.Generator, resolution: int) -> np.ndarray:
        """One of the masks, as `Silhouettes.draw`; an unusable file raises `PictureError`."""
        decoded = decode(self._files[rng.integers(len(self._files))], Limits.from_environment())
        values = decoded.upright(np.asarray(decoded.image.convert("L")))
        return fitted(values >= 128, resolution)


@dataclass(frozen=True)
class Things:
    """The things of annotated pictures that are not too small; where ten pictures have none, a procedural shape."""

    pictures: AnnotatedPictures
    config: MaskConfig

    def draw(self, rng: np.random.Generator, resolution: int) -> np.ndarray:
        """One thing of one picture, as `Silhouettes.draw`; an unusable annotation raises `PictureError`."""
        for _ in range(_TRIES):
            segments = self.pictures.segments(int(rng.integers(len(self.pictures))))
            outlines = [segments.ids == thing for thing in sorted(segments.things)] if segments else []
            large = [o for o in outlines if np.count_nonzero(o) >= self.config.smallest_thing * o.size]
            if large:
                return fitted(large[rng.integers(len(large))], resolution)
        return Shapes().draw(rng, resolution)


class Shapes:
    """Procedural shapes: unions of one to three smoothed random polygons and superellipses that hang together."""

    def draw(self, rng: np.random.Generator, resolution: int) -> np.ndarray:
        """One shape, as `Silhouettes.draw`."""
        canvas = Canvas(resolution)
        centre = rng.uniform(0, resolution, 2)
        for _ in range(rng.integers(1, 4)):
            outline = smoothed_polygon(rng) if rng.random() < 0.5 else superellipse(rng)
            angle = rng.uniform(0, 2 * math.pi)
            turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            radii = rng.uniform(*_RADII, size=2) * resolution
            corners = centre + (outline * radii) @ turn
            canvas.polygon(corners)
            centre = corners[rng.integers(len(corners))]  # the next one is centred on this one's outline
        return canvas.hole


def smoothed_polygon(rng: np.random.Generator) -> np.ndarray:
    """The outline of a random polygon of radius 1/2 to 1 with its corners cut three times: float (n, 2).

    Each cut (Chaikin 1974) replaces a corner by the points at a quarter of its two edges.
    """
    count = int(rng.integers(_CORNERS[0], _CORNERS[1] + 1))
    angles = (np.arange(count) + rng.uniform(-0.4, 0.4, count)) * (2 * math.pi / count)
    points = rng.uniform(0.5, 1, count)[:, None] * np.stack((np.cos(angles), np.sin(angles)), axis=1)
    for _ in range(3):
        ahead = np.roll(points, -1, axis=0)
        points = np.stack((0.75 * points + 0.25 * ahead, 0.25 * points + 0.75 * ahead), axis=1).reshape(-1, 2)
    return points


def superellipse(rng: np.random.Generator) -> np.ndarray:
    """The outline |x|^p + |y|^p = 1 for a random p from 1 (a diamond) to 6 (nearly a square): float (64, 2)."""
    angles = np.arange(64) * (2 * math.pi / 64)
    directions = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    return np.sign(directions) * np.abs(directions) ** (2 / rng.uniform(1, 6))


def fitted(mask: np.ndarray, resolution: int) -> np.ndarray:
    """`mask`, bool (H, W), at R x R by nearest neighbour."""
    if mask.shape == (resolution, resolution):
        return mask
    image = Image.fromarray(mask.view(np.uint8)).resize((resolution, resolution), Image.Resampling.NEAREST)
    return np.array(image).view(np.bool_)
