"""Free-form masks, rectangles, and the thin, medium and thick masks of LaMa. All draw bool (R, R), True = hole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from cmgan.masks.config import MaskConfig, scaled

_ANGLE, _ANGLE_RANGE = 2 * math.pi / 5, 2 * math.pi / 15  # of a stroke's segments, radians: mean, largest difference


Point = tuple[float, float]  # x, y, pixels


class Canvas:
    """A hole of R x R pixels to draw into."""

    def __init__(self, resolution: int) -> None:
        self.resolution = resolution
        self._image = Image.new("L", (resolution, resolution))
        self._draw = ImageDraw.Draw(self._image)

    @property
    def hole(self) -> np.ndarray:
        """bool (R, R): what has been drawn."""
        return np.array(self._image).view(np.bool_)  # its bytes are 0 or 1

    def rectangle(self, left: int, top: int, width: int, height: int) -> None:
        """Fill a rectangle; one without pixels fills nothing."""
        if width and height:
            self._draw.rectangle((left, top, left + width - 1, top + height - 1), fill=1)

    def line(self, points: list[Point], width: int) -> None:
        """Draw through `points` with round joints and ends."""
        pixels = [(round(x), round(y)) for x, y in points]  # Pillow would cut the fractions off
        self._draw.line(pixels, fill=1, width=width)
        for x, y in pixels:
            left, top = x - width // 2, y - width // 2
            self._draw.ellipse((left, top, left + width - 1, top + width - 1), fill=1)

    def polygon(self, points: np.ndarray) -> None:
        """Fill the polygon of the corners `points` (n, 2), x and y."""
        self._draw.polygon(points.ravel().tolist(), fill=1)


def rectangles(rng: np.random.Generator, resolution: int, config: MaskConfig) -> np.ndarray:
    """Up to 9 rectangles of sides below R / 2 and up to 4 of sides below R."""
    canvas = Canvas(resolution)
    _draw_rectangles(rng, canvas, config)
    return canvas.hole


def free_form(rng: np.random.Generator, resolution: int, config: MaskConfig) -> np.ndarray:
    """The masks of CoModGAN (Zhao et al. 2021): rectangles, then up to 19 brush strokes, randomly mirrored."""
    canvas = Canvas(resolution)
    _draw_rectangles(rng, canvas, config)
    for _ in range(rng.integers(config.strokes + 1)):
        points = stroke(rng, resolution, int(rng.integers(config.min_segments, config.max_segments + 1)))
        canvas.line(points, scaled(rng.uniform(config.min_width, config.max_width), resolution))
    x, y = rng.choice((1, -1), 2)
    return canvas.hole[::y, ::x]


def _draw_rectangles(rng: np.random.Generator, canvas: Canvas, config: MaskConfig) -> None:
    """Sides from 0 to below the limit, the centre anywhere in the picture."""
    size = canvas.resolution
    for most, limit in ((config.small_rectangles, size // 2), (config.large_rectangles, size)):
        count = int(rng.integers(most + 1))
        sides = rng.integers(limit, size=(count, 2))
        corners = rng.integers(size, size=(count, 2)) - sides // 2
        for (left, top), (width, height) in zip(corners.tolist(), sides.tolist(), strict=True):
            canvas.rectangle(left, top, width, height)


def stroke(rng: np.random.Generator, resolution: int, segments: int) -> list[Point]:
    """The segments + 1 corners of a brush stroke, all inside the picture.

    Every other segment takes 2 pi minus its angle, so that strokes zigzag. Lengths are normal with mean diagonal / 8
    and deviation diagonal / 16, clipped to [0, diagonal / 4].
    """
    angles = _ANGLE + rng.uniform(-_ANGLE_RANGE, _ANGLE_RANGE, segments)
    angles[::2] = 2 * math.pi - angles[::2]
    diagonal = math.sqrt(2) * resolution
    lengths = np.clip(rng.normal(diagonal / 8, diagonal / 16, segments), 0, diagonal / 4)
    steps = lengths[:, None] * np.stack((np.cos(angles), np.sin(angles)), axis=1)
    return _walk(rng.uniform(0, resolution, 2), steps, resolution)


def _walk(start: np.ndarray, steps: np.ndarray, resolution: int) -> list[Point]:
    """`start` (2,) and the points that `steps` (n, 2) lead to one after the other; the border stops a step."""
    x, y = start.tolist()
    points = [(x, y)]
    for dx, dy in steps.tolist():
        x, y = min(max(x + dx, 0), resolution), min(max(y + dy, 0), resolution)
        points.append((x, y))
    return points


@dataclass(frozen=True)
class Lama:
    """Masks as LaMa's users know them (Suvorov et al. 2021, supplementary material): polylines, or sometimes boxes.

    Pixels are those of a 512 x 512 picture. Limits above are exclusive, those of counts inclusive.
    """

    strokes: tuple[int, int]
    width: int  # of a segment: 5 to 5 + width
    length: int  # of a segment: 10 to 10 + length
    boxes: tuple[int, int]
    box_sides: tuple[int, int]
    box_weight: float  # beside a weight of 1 of the strokes
    margin: int  # pixels between boxes and the border of the picture


LAMA = {
    #               strokes  width  length   boxes      sides  weight  margin
    "thin": Lama((4, 70), 20, 100, (0, 0), (0, 0), 0, 0),
    "medium": Lama((4, 10), 100, 200, (1, 5), (30, 150), 0.3, 0),
    "thick": Lama((1, 5), 250, 450, (1, 4), (30, 300), 0.3, 10),
}
LAMA_LARGEST_HOLE = 0.5  # share of the picture: LaMa's test sets have no larger one


def lama(rng: np.random.Generator, resolution: int, kind: str) -> np.ndarray:
    """A thin, medium or thick mask."""
    preset = LAMA[kind]
    canvas = Canvas(resolution)
    if rng.uniform(0, 1 + preset.box_weight) >= 1:
        _draw_boxes(rng, canvas, preset)
    else:
        for number in range(rng.integers(preset.strokes[0], preset.strokes[1] + 1)):
            _draw_polyline(rng, canvas, preset, clockwise=number % 2 == 1)
    return canvas.hole


def _draw_boxes(rng: np.random.Generator, canvas: Canvas, preset: Lama) -> None:
    size, margin = canvas.resolution, scaled(preset.margin, canvas.resolution)
    low, high = (scaled(side, size) for side in preset.box_sides)
    for _ in range(rng.integers(preset.boxes[0], preset.boxes[1] + 1)):
        width, height = rng.integers(low, max(high, low + 1), 2).tolist()
        left, top = (int(rng.integers(margin, size - margin - side + 1)) for side in (width, height))
        canvas.rectangle(left, top, width, height)


def _draw_polyline(rng: np.random.Generator, canvas: Canvas, preset: Lama, *, clockwise: bool) -> None:
    """One to five segments, each of its own width; their angles to the y axis are 0, 1, 2 or 3 radians."""
    size, segments = canvas.resolution, int(rng.integers(1, 6))
    angles = rng.integers(4, size=segments) * (1.0 if clockwise else -1.0)
    lengths = (10 + rng.uniform(0, preset.length, segments)) * size / 512
    steps = lengths[:, None] * np.stack((np.sin(angles), np.cos(angles)), axis=1)
    points = _walk(rng.uniform(0, size, 2), steps, size)
    for i in range(segments):
        canvas.line(points[i : i + 2], scaled(5 + rng.uniform(0, preset.width), size))
