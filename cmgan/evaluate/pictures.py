"""The set that an engine is judged on: pictures and masks from folders, brought to the engine's size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from cmgan.errors import PictureError
from cmgan.imaging.decode import decode
from cmgan.imaging.limits import DEFAULT_FORMATS, Limits
from cmgan.imaging.listing import pictures_in
from cmgan.imaging.picture import load_picture
from cmgan.imaging.source import Source
from cmgan.inpaint.folder import pair

HOLE_FROM = 128  # the least value of a hole in a mask file


class Collection(Protocol):
    """Pictures by number, out of an archive: `cmgan.train.data.pictures.Pictures`."""

    def __len__(self) -> int: ...
    def name(self, index: int) -> str: ...
    def read(self, index: int) -> bytes: ...


@dataclass(frozen=True)
class Item:
    """A picture with its masks; `read` gives its file, or its bytes where it lies in an archive."""

    name: str
    read: Callable[[], Path | bytes]
    masks: list[Path]


def collection_pairs(pictures: Collection, masks: Path) -> list[Item]:
    """Each picture of an archive with every mask of a folder. Raises `UsageError`: not_a_folder, no_pictures."""
    every = pictures_in(masks)
    return [Item(pictures.name(i), partial(pictures.read, i), every) for i in range(len(pictures))]


def find_pairs(images: Path, masks: Path, *, by_name: bool) -> list[Item]:
    """Each picture of the folder `images` with its masks of the folder `masks`, both in the order of their names.

    Every mask belongs to every picture, or, with `by_name`, those that `cmgan inpaint` would give it: a mask of the
    picture's stem, or any number of `STEM_mask*`.

    Raises:
        UsageError: not_a_folder, no_pictures; with `by_name` those of `cmgan.inpaint.folder.pair`.
    """
    if not by_name:
        every = pictures_in(masks)
        return [Item(picture.name, partial(_same, picture), every) for picture in pictures_in(images)]
    found: dict[Path, list[Path]] = {}
    for item in pair(images, masks, images / ".results", recursive=False, formats=DEFAULT_FORMATS):
        found.setdefault(item.image, []).append(item.mask)
    return [Item(picture.name, partial(_same, picture), of_picture) for picture, of_picture in found.items()]


def _same(path: Path) -> Path:
    return path


def load_square(source: Source, side: int) -> np.ndarray:
    """A picture as an engine of that size takes it: uint8 (side, side, 3).

    The largest square around the centre, scaled by the mean over areas (Pillow's BOX); a smaller one is enlarged by
    cubic interpolation. Raises `PictureError` as `load_picture`.
    """
    square = centre(load_picture(source, Limits.from_environment()).rgb)
    shrinks = square.shape[0] >= side
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(square).resize((side, side), method))


def load_hole(path: Path, side: int) -> np.ndarray:
    """A mask file as bool (side, side), True in the hole: the largest square around the centre, nearest neighbours.

    Raises:
        PictureError: as `load_picture`; mask_empty, mask_full: an engine cannot be judged on it.
    """
    decoded = decode(path, Limits.from_environment())
    square = centre(decoded.upright(np.asarray(decoded.image.convert("L"))))
    hole = np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.NEAREST)) >= HOLE_FROM
    if not hole.any():
        raise PictureError("mask_empty", f"has no hole (a value of {HOLE_FROM} or more) in its square", file=path)
    if hole.all():
        raise PictureError("mask_full", "leaves no known pixel in its square", file=path)
    return hole


def centre(picture: np.ndarray) -> np.ndarray:
    """The largest square around the centre of (H, W, ...)."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(picture[top : top + side, left : left + side])
