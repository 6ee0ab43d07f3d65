"""Hole masks: from a picture file, from a picture's own transparency, from boxes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cmgan.errors import PictureError, UsageError, shown, warn
from cmgan.imaging.decode import decode
from cmgan.imaging.limits import Limits
from cmgan.imaging.picture import Picture
from cmgan.imaging.source import Source, source_name

CHANNELS = ("auto", "luma", "alpha", "red")
_BLACK, _WHITE, _MOSTLY = 16, 240, 0.5  # a mask has most of its values outside
_LARGE = 0.6  # share of hole above which a mask is probably the wrong way round

logger = logging.getLogger("cmgan")


@dataclass(frozen=True)
class MaskOptions:
    """How a mask file is read; `UsageError` for a value out of range."""

    threshold: int = 128  # hole = value >= threshold
    channel: str = "auto"  # auto, luma, alpha, red
    invert: bool = False
    resize: bool = False  # to the picture's size, nearest neighbour
    allow_full: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= 255:
            raise UsageError("mask_threshold", f"mask threshold {self.threshold}; 1 to 255 is possible")
        if self.channel not in CHANNELS:
            raise UsageError("mask_channel", f"mask channel {self.channel!r}; known are {', '.join(CHANNELS)}")


def load_mask(
    source: Source, picture: Picture, limits: Limits | None = None, options: MaskOptions | None = None
) -> np.ndarray:
    """The hole of a mask file for `picture`: bool (H, W), True inside.

    Channel `auto` takes alpha if alpha varies and the colours of the visible pixels do not carry the shape; otherwise
    the luminance (ITU-R BT.601) or, where that marks nothing, the greatest of red, green and blue; hidden pixels are no
    hole. Warns of mask_photograph, mask_colour, mask_levels and mask_red.

    Raises:
        PictureError: those of `decode`; mask_channel, mask_size.
    """
    options = options or MaskOptions()
    name = source_name(source) or "mask"
    decoded = decode(source, limits or Limits())
    values = decoded.upright(_channel(decoded.image, options, name))
    _warn_of_photograph(values, name, picture)
    if values.shape != picture.rgb.shape[:2]:
        values = _fitted(values, picture, options, name)
    hole = values >= options.threshold
    if not hole.any():
        _hint_at_levels(values, decoded.image, options, name)
    return ~hole if options.invert else hole


def alpha_mask(picture: Picture, options: MaskOptions | None = None, name: str = "picture") -> np.ndarray:
    """The hole that a picture's own transparency marks: bool (H, W), True where alpha < threshold.

    Raises:
        PictureError: mask_channel (the picture has no alpha).
    """
    options = options or MaskOptions()
    if picture.alpha is None:
        raise PictureError("mask_channel", "no transparency to take the mask from; give a mask file", file=name)
    return (picture.alpha < options.threshold) ^ options.invert


def parse_box(text: str) -> tuple[int, int, int, int]:
    """`x,y,w,h` in pixels, from the top left corner; anything else raises `UsageError`."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise UsageError("box", f"box {text[:40]!r}; x,y,w,h in whole pixels is needed, as in 40,60,128,96")
    x, y, width, height = map(int, parts)
    if not (width and height):
        raise UsageError("box", f"box {text[:40]!r} is empty; its width and height must be at least 1")
    return x, y, width, height


def box_mask(boxes: Iterable[tuple[int, int, int, int]], picture: Picture) -> np.ndarray:
    """The union of the boxes (x, y, w, h): bool (H, W). A box that leaves the picture raises `UsageError`."""
    width, height = picture.size
    hole = np.zeros((height, width), bool)
    for x, y, w, h in boxes:
        if x + w > width or y + h > height:
            raise UsageError("box", f"box {x},{y},{w},{h} leaves the picture, which is {width}x{height}")
        hole[y : y + h, x : x + w] = True
    return hole


def check_hole(hole: np.ndarray, options: MaskOptions, name: str) -> None:
    """Refuse a hole, as it will be painted, that leaves nothing known; warn of one that leaves little.

    Raises:
        PictureError: mask_full.
    """
    share = np.count_nonzero(hole) / hole.size
    if share == 1 and not options.allow_full:
        message = "the whole picture is hole; the other way round? --invert-mask (--allow-full-mask paints it all)"
        raise PictureError("mask_full", message, file=name)
    if share > _LARGE:
        warn("mask_large", f"{name}: {share:.0%} of the picture is hole; the other way round? --invert-mask")


def _channel(image: Image.Image, options: MaskOptions, name: str) -> np.ndarray:
    """uint8 (H, W): the values that the threshold applies to."""
    alpha = np.asarray(image.getchannel("A")) if "A" in image.mode else None
    if options.channel == "alpha":
        if alpha is None:
            raise PictureError("mask_channel", "has no alpha channel; --mask-channel luma or red", file=name)
        return alpha
    if options.channel == "red":
        return np.asarray(image.getchannel(0))
    luma = np.asarray(image if image.mode == "L" else image.convert("L"))
    return luma if options.channel == "luma" else _chosen(image, luma, alpha, options, name)


def _chosen(
    image: Image.Image, luma: np.ndarray, alpha: np.ndarray | None, options: MaskOptions, name: str
) -> np.ndarray:
    """What channel `auto` takes: alpha, luminance or, where that marks nothing, the brightest of the colours."""
    visible = luma if alpha is None else luma[alpha > 0]
    bright = visible >= options.threshold
    if alpha is not None:
        taken = "alpha" if alpha.min() != alpha.max() and bright.min() == bright.max() else "luma"
        logger.info("%s: the mask was taken from its %s (--mask-channel)", name, taken)
        if taken == "alpha":
            return alpha
    values = luma
    if not bright.any() and image.mode in ("RGB", "RGBA"):
        values = np.asarray(image.convert("RGB")).max(axis=2)
        if (values >= options.threshold).any():
            darkest = f"luminance of at most {int(luma.max())}"
            warn("mask_colour", f"{name}: marks in colours with a {darkest} were taken as the hole (--mask-channel)")
    return values if alpha is None else np.where(alpha > 0, values, np.uint8(0))


def _warn_of_photograph(values: np.ndarray, name: str, picture: Picture) -> None:
    share = np.count_nonzero((values >= _BLACK) & (values <= _WHITE)) / values.size
    if share > _MOSTLY:
        message = f"{share:.0%} of its values lie between {_BLACK} and {_WHITE}, as in a photograph"
        warn("mask_photograph", f"{shown(name)}: {message}; is it the mask of {shown(picture.name or 'the picture')}?")


def _fitted(values: np.ndarray, picture: Picture, options: MaskOptions, name: str) -> np.ndarray:
    if options.resize:
        return np.asarray(Image.fromarray(values).resize(picture.size, Image.Resampling.NEAREST))
    (height, width), (shown_width, shown_height) = values.shape, picture.size
    advice = "--resize-mask scales it"
    if picture.turned and (width, height) == (shown_height, shown_width):
        advice = "it fits the picture as stored, before its EXIF turn: turn the mask, too"
    message = f"the mask is {width}x{height}, the picture {shown_width}x{shown_height} as shown; {advice}"
    raise PictureError("mask_size", message, file=name)


def _hint_at_levels(values: np.ndarray, image: Image.Image, options: MaskOptions, name: str) -> None:
    highest = int(values.max())
    if highest == 1:
        warn("mask_levels", f"{name}: no value above 1: saved as 0/1? --mask-threshold 1")
    elif (
        options.channel == "luma"
        and image.mode in ("RGB", "RGBA")
        and np.asarray(image.getchannel(0)).max() >= options.threshold
    ):
        warn("mask_red", f"{name}: its red is no hole by luminance ({highest}); red strokes? --mask-channel red")
