"""Writing a picture: whole or not at all, with its colour profile, without what nobody asked to keep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cmgan.errors import UsageError, warn
from cmgan.files import write_with
from cmgan.imaging.colour import changes_look
from cmgan.imaging.metadata import XMP_KEY
from cmgan.imaging.picture import Picture

FORMATS: Mapping[str, str] = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_WEBP_MAX_SIDE = 16_383  # pixels, of the format itself
_JPEG_EXIF, _JPEG_XMP = 65_533, 65_504  # bytes, of one segment
_Z_RLE = 3  # strategy of zlib: photographs come out at most a fifth larger than at level 6, in a quarter of the time


def output_format(path: str | os.PathLike[str]) -> str:
    """PNG, JPEG or WEBP by the extension; another one raises `UsageError`, so ask before any work."""
    extension = Path(path).suffix.lower()
    if extension not in FORMATS:
        known = ", ".join(FORMATS)
        raise UsageError("output_format", f"unknown extension {extension!r}; known are {known}", file=path)
    return FORMATS[extension]


def save_picture(
    target: str | os.PathLike[str] | BinaryIO, picture: Picture, *, quality: int = 95, format: str | None = None
) -> None:
    """Write `picture` atomically to a path, in the format of its extension, or to a binary stream as PNG.

    PNG is lossless; JPEG and WebP take `quality` (1 to 100). What the picture carries is written: how its samples are
    to be shown, kept metadata; never an orientation. JPEG has no alpha: the picture is laid on white, with a warning.
    A new file is not more open than the picture's own; one that is replaced keeps its permissions.

    Args:
        format: PNG, JPEG or WEBP, where the extension should not decide.

    Raises:
        UsageError: unknown extension, quality out of range, a side too long for WebP.
        SystemRefusal: disk full, not writable, and the like.
    """
    path = Path(target) if isinstance(target, (str, os.PathLike)) else None
    format = format or (output_format(path) if path else "PNG")
    if not 1 <= quality <= 100:
        raise UsageError("quality", f"quality {quality}; 1 to 100 is possible")
    if format == "WEBP" and max(picture.size) > _WEBP_MAX_SIDE:
        raise UsageError("output_format", f"WebP holds sides up to {_WEBP_MAX_SIDE} pixels; write PNG", file=path)
    image = _as_image(picture, format)
    options = _options(picture, format, quality)
    if path:
        write_with(path, lambda temporary: image.save(temporary, format=format, **options), most=picture.permissions)
    else:
        image.save(target, format=format, **options)


def _as_image(picture: Picture, format: str) -> Image.Image:
    image = Image.fromarray(picture.rgb[..., 0] if picture.grey else picture.rgb)
    if picture.alpha is None:
        return image
    alpha = Image.fromarray(picture.alpha)
    if format != "JPEG":
        image.putalpha(alpha)
        return image
    warn("alpha_flattened", "JPEG has no transparency: the picture was laid on white; write PNG or WebP to keep it")
    flat = Image.new(image.mode, image.size, "white")
    flat.paste(image, mask=alpha)
    return flat


def _profile(picture: Picture, format: str) -> bytes | None:
    """The colour profile; WebP has no grey, so that one of grey values would be wrong in it."""
    if picture.icc and picture.grey and format == "WEBP":
        warn("icc_dropped", "WebP has no grey pictures: the profile for grey values was dropped; write PNG to keep it")
        return None
    return picture.icc


def _options(picture: Picture, format: str, quality: int) -> dict[str, Any]:
    options = _metadata(picture, format)
    if profile := _profile(picture, format):
        options["icc_profile"] = profile
    if format == "PNG":
        return {**options, "pnginfo": _png_info(picture), "compress_level": 1, "compress_type": _Z_RLE}
    if changes_look(picture.colour, profile):
        names = ", ".join(kind.decode() for kind in picture.colour)
        message = f"{format} cannot hold {names}: the picture may be shown in other colours; write PNG to keep them"
        warn("colour_dropped", message)
    return {**options, "quality": quality, **({"subsampling": 0} if format == "JPEG" else {})}


def _metadata(picture: Picture, format: str) -> dict[str, Any]:
    """What was to be kept, as options of Pillow; the text and XMP of a PNG are in `_png_info`."""
    if picture.metadata is None:
        return {}
    exif = picture.metadata.exif_of(picture.size, resolution=format == "WEBP")  # which has no other place for it
    xmp = None if format == "PNG" else picture.metadata.xmp_of(picture.size)
    if format == "JPEG":
        exif, xmp = _fitting("EXIF", exif, _JPEG_EXIF), _fitting("XMP", xmp, _JPEG_XMP)
    given = {"exif": exif, "xmp": xmp, "dpi": picture.metadata.dpi}
    return {name: value for name, value in given.items() if value}


def _fitting(what: str, data: bytes | None, limit: int) -> bytes | None:
    if data and len(data) > limit:
        warn("metadata_dropped", f"JPEG holds {limit} bytes of {what}; these {len(data)} were dropped; PNG keeps them")
        return None
    return data


def _png_info(picture: Picture) -> PngInfo:
    info = PngInfo()
    for kind, body in picture.colour.items():
        info.add(kind, body)
    if picture.metadata:
        for key, value in picture.metadata.text.items():
            info.add_itxt(key, value)
        if xmp := picture.metadata.xmp_of(picture.size):
            info.add_itxt(XMP_KEY, xmp)
    return info
