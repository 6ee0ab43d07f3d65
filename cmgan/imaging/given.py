"""Pictures and masks as a program has them: arrays, PIL images, paths, or the bytes of files."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from cmgan.errors import UsageError
from cmgan.imaging.limits import Limits
from cmgan.imaging.mask import MaskOptions, load_mask
from cmgan.imaging.picture import Picture, load_picture
from cmgan.imaging.source import Source

Given = Source | np.ndarray | Image.Image


def given_picture(image: Given, limits: Limits | None = None, *, keep_metadata: bool = False) -> Picture:
    """`image` as a picture: uint8 (H, W, 3) RGB, a PIL image as it is (no EXIF turn), or a file as `load_picture`.

    Raises:
        UsageError: image_type, something else; array, of another shape or type. PictureError: as `load_picture`.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise UsageError("array", f"image is {image.dtype} {image.shape}; uint8 (H, W, 3) is needed")
        return Picture(image)
    if isinstance(image, Image.Image):
        return _from_pillow(image)
    _check_source("image", image)
    return load_picture(image, limits, keep_metadata=keep_metadata)


def given_hole(
    mask: Given, picture: Picture, limits: Limits | None = None, options: MaskOptions | None = None
) -> np.ndarray:
    """The hole for `picture`: bool (H, W), True inside.

    `mask` is an array, bool (True in the hole) or uint8 (hole = value >= 128); a PIL image, by its luminance in the
    same way; or a file as `load_mask`, which alone takes `options`.

    Raises:
        UsageError: mask_type, something else; array, of another shape or type. PictureError: as `load_mask`.
    """
    if isinstance(mask, Image.Image):
        mask = np.asarray(mask.convert("L"))
    if isinstance(mask, np.ndarray):
        if mask.dtype not in (np.bool_, np.uint8) or mask.shape != picture.rgb.shape[:2]:
            needed = f"bool or uint8 {picture.rgb.shape[:2]}"
            raise UsageError("array", f"mask is {mask.dtype} {mask.shape}; {needed} is needed for this image")
        return mask if mask.dtype == np.bool_ else mask >= 128
    _check_source("mask", mask)
    return load_mask(mask, picture, limits, options)


def _from_pillow(image: Image.Image) -> Picture:
    if image.mode.startswith(("I", "F")):
        message = f"image is a PIL image of mode {image.mode}; give its file, or 8 bits a sample"
        raise UsageError("image_type", message)
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        image = image.convert("RGBA")
    alpha = np.asarray(image.getchannel("A")) if "A" in image.getbands() else None
    return Picture(np.asarray(image.convert("RGB")), alpha, grey=image.mode in ("1", "L", "LA"))


def _check_source(what: str, source: object) -> None:
    if not isinstance(source, (str, os.PathLike, bytes)) and not hasattr(source, "read"):
        kinds = "an array, a PIL image, a path, or the bytes of a file"
        raise UsageError(f"{what}_type", f"{what} is a {type(source).__name__}; {kinds} is needed")
