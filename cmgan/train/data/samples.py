"""Training samples: what sample `index` of `epoch` looks like depends on (seed, epoch, index) only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypedDict

import numpy as np
from PIL import Image

from cmgan.errors import PictureError, UsageError, warn
from cmgan.imaging.decode import decode
from cmgan.imaging.limits import Limits
from cmgan.masks.draw import training_mask
from cmgan.masks.rng import sample_rng
from cmgan.masks.segments import Segments

BAD_PICTURES = ("fail", "skip")
_MOST_BAD = 100  # pictures in a row that "skip" passes over

MaskFunction = Callable[[np.random.Generator, int, Segments | None], np.ndarray]


class PictureSource(Protocol):
    """What a training set needs of its pictures; see `Pictures`."""

    limits: Limits

    def __len__(self) -> int: ...
    def name(self, index: int) -> str: ...
    def read(self, index: int) -> bytes: ...
    def segments(self, index: int) -> Segments | None: ...


class Sample(TypedDict):
    """One sample: image uint8 (R, R, 3) RGB, hole bool (R, R), and how many bad pictures were passed over for it."""

    image: np.ndarray
    hole: np.ndarray
    skipped: int


class TrainingSet:
    """Samples of R x R pixels from pictures of any size.

    The rule of the crop: a square whose side is a share of the picture's shorter side, drawn uniformly from
    `smallest_crop` to 1, but not fewer than R pixels where the picture has them (so only pictures smaller than R are
    enlarged); its place uniform; half of them mirrored; resized with an antialiasing filter.

    A bad picture raises its `PictureError` ("fail"), or is passed over with a warning ("skip"): the next one that is
    good stands in for it, in the same way after a resume.

    Args:
        mask: from the sample's random numbers, R, and the crop's segments where there are any, the hole: bool (R, R).
    """

    def __init__(
        self,
        pictures: PictureSource,
        resolution: int,
        seed: int,
        mask: MaskFunction = training_mask,
        *,
        smallest_crop: float = 0.5,
        bad: str = "fail",
    ) -> None:
        if bad not in BAD_PICTURES:
            raise UsageError("bad_pictures", f"{bad!r} is no rule for bad pictures; {' or '.join(BAD_PICTURES)} is")
        if not 0 < smallest_crop <= 1:
            raise UsageError("crop", f"a smallest crop of {smallest_crop}; a share above 0 and up to 1 is needed")
        self.pictures = pictures
        self.resolution = resolution
        self.seed = seed
        self.mask = mask
        self.smallest_crop = smallest_crop
        self.bad = bad

    def __len__(self) -> int:
        return len(self.pictures)

    def item(self, epoch: int, index: int) -> Sample:
        """The sample; `PictureError` names a bad picture."""
        for skipped in range(min(len(self), _MOST_BAD)):
            number = (index + skipped) % len(self)
            try:
                return self._sample(epoch, index, number, skipped)
            except PictureError as error:
                name = self.pictures.name(number)
                if self.bad == "fail":
                    error.file = error.file or name
                    raise
                warn("picture_skipped", f"{name}: {error.message}")
        raise PictureError("pictures_bad", f"{skipped + 1} pictures in a row are bad; see the warnings", file=name)

    def _sample(self, epoch: int, index: int, number: int, skipped: int) -> Sample:
        rng = sample_rng(self.seed, epoch, index, "augment")
        share = rng.uniform(self.smallest_crop, 1)
        left, top = rng.random(2)
        mirrored = rng.random() < 0.5
        # A JPEG may be decoded at a half, a quarter, an eighth, as long as the crop keeps R pixels.
        image = _upright(self.pictures.read(number), self.pictures.limits, math.ceil(self.resolution / share))
        box = _square(image.size, share, (left, top), self.resolution)
        side = (self.resolution, self.resolution)
        pixels = np.asarray(image.resize(side, Image.Resampling.LANCZOS, box))
        segments = self.pictures.segments(number)
        if segments is not None:
            segments = _cropped(segments, image.size, box, self.resolution)
        if mirrored:
            pixels = pixels[:, ::-1]
            segments = segments and Segments(segments.ids[:, ::-1], segments.things)
        hole = self.mask(sample_rng(self.seed, epoch, index, "mask"), self.resolution, segments)
        return {"image": np.ascontiguousarray(pixels), "hole": hole, "skipped": skipped}


def _upright(data: bytes, limits: Limits, shorter_side: int) -> Image.Image:
    """Mode RGB, as a viewer shows it."""
    decoded = decode(data, limits, shorter_side=shorter_side)
    image = decoded.image if decoded.image.mode == "RGB" else decoded.image.convert("RGB")
    return image if decoded.orientation == 1 else Image.fromarray(decoded.upright(np.asarray(image)))


def _square(
    size: tuple[int, int], share: float, place: tuple[float, float], resolution: int
) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the crop in pixels; `place` is the share of the free room left of and above it."""
    width, height = size
    shorter = min(size)
    side = min(shorter, max(share * shorter, resolution))
    left, top = place[0] * (width - side), place[1] * (height - side)
    return left, top, left + side, top + side


def _cropped(
    segments: Segments, size: tuple[int, int], box: tuple[float, float, float, float], resolution: int
) -> Segments:
    """The ids in the crop `box` of a picture of `size`, whose annotation may have been made at another size."""
    height, width = segments.ids.shape
    if abs(width * size[1] - height * size[0]) > max(*size, width, height):  # more than rounding of a side
        message = f"{width}x{height}, of other proportions than its picture, {size[0]}x{size[1]}"
        raise PictureError("annotation_size", f"its annotation is {message}")
    x, y = width / size[0], height / size[1]
    scaled = (box[0] * x, box[1] * y, box[2] * x, box[3] * y)
    image = Image.fromarray(segments.ids).resize((resolution, resolution), Image.Resampling.NEAREST, scaled)
    return Segments(np.asarray(image), segments.things)
