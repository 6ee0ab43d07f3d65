"""From the bytes of a picture file to 8-bit samples, refusing from the header whatever can be refused there."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from cmgan.errors import PictureError, SystemRefusal
from cmgan.imaging.colour import checked_profile, colour_chunks
from cmgan.imaging.limits import MIN_SIDE, Limits
from cmgan.imaging.metadata import Metadata, read_metadata
from cmgan.imaging.png import SIGNATURE, png_chunks, samples_of_16_bits, transparent_colour
from cmgan.imaging.source import Source, read_source, source_name

_STARTS = {"png": SIGNATURE[:4], "jpeg": b"\xff\xd8\xff", "webp": b"RIFF"}


@dataclass(frozen=True)
class Decoded:
    """A decoded file: samples as stored (not yet turned), and what else it carried.

    `image` has mode L, LA, RGB or RGBA. `orientation` is EXIF's, 1 to 8. `colour` are the chunks of a PNG that say how
    its samples are to be shown.
    """

    image: Image.Image
    format: str
    orientation: int
    icc: bytes | None
    colour: dict[bytes, bytes]
    metadata: Metadata

    def upright(self, samples: np.ndarray) -> np.ndarray:
        """`samples` (H, W, ...) turned as a viewer shows them."""
        return upright(samples, self.orientation)


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (TIFF 6.0, tag 274): (H, W, ...) as stored -> as shown, contiguous."""
    if orientation in (3, 4, 6, 7):
        samples = samples[::-1]
    if orientation in (2, 3, 7, 8):
        samples = samples[:, ::-1]
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    return np.ascontiguousarray(samples)


def decode(source: Source, limits: Limits, *, shorter_side: int | None = None) -> Decoded:
    """Read, check and decode one picture.

    With `shorter_side` a JPEG is decoded, quicker, at the half, quarter or eighth that keeps so many pixels.

    Raises:
        PictureError: those of `read_source`; image_format, image_frames, image_too_large, image_too_small,
            image_too_narrow, image_metadata, image_truncated, image_corrupt.
        SystemRefusal: out_of_memory.
    """
    data = read_source(source, limits.max_file_bytes)
    name = source_name(source)
    try:
        image = _open(data, limits, name)
        _check_frames(image, name)
        _check_size(image.size, limits, name)
        chunks = png_chunks(data, name) if image.format == "PNG" else {}
        if shorter_side:
            image.draft(None, (shorter_side, shorter_side))
        samples = samples_of_16_bits(image, data) if chunks else None
        image.load()
        plain = _eight_bit(image, samples, transparent_colour(chunks), name)
        metadata, orientation = read_metadata(image, name)
        icc = checked_profile(image.info.get("icc_profile"), plain.mode, name)
        kind = "jpeg" if image.format == "MPO" else (image.format or "").lower()
        return Decoded(plain, kind, orientation, icc, colour_chunks(chunks), metadata)
    except (PictureError, SystemRefusal):
        raise
    except MemoryError:
        raise SystemRefusal("out_of_memory", "not enough memory to decode it", file=name) from None
    except Exception as error:  # a decoder fed with damaged data raises nearly anything
        raise _damage(error, name) from None


def _open(data: bytes, limits: Limits, name: str | None) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(data), formats=[f.upper() for f in limits.formats])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        message = f"far more pixels than the limit of {limits.max_pixels}; scale it down"
        raise PictureError("image_too_large", message, file=name) from None
    except UnidentifiedImageError:
        if any(data.startswith(start) for f, start in _STARTS.items() if f in limits.formats):
            raise PictureError("image_corrupt", "its header is damaged or cut; get a whole copy", file=name) from None
        accepted = ", ".join(limits.formats)
        message = f"not a picture in an accepted format ({accepted}); convert it, or see --formats"
        raise PictureError("image_format", message, file=name) from None


def _check_frames(image: Image.Image, name: str | None) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # of a JPEG with several pictures the first is meant
        raise PictureError("image_frames", f"{frames} frames; a still picture is needed: save one frame", file=name)


def _check_size(size: tuple[int, int], limits: Limits, name: str | None) -> None:
    width, height = size
    shape = f"{width}x{height}"
    if width * height > limits.max_pixels:
        message = f"{shape} is {width * height} pixels; the limit is {limits.max_pixels} (--max-pixels)"
        raise PictureError("image_too_large", message, file=name)
    if max(size) > limits.max_side:
        raise PictureError(
            "image_too_large", f"{shape}; the limit of a side is {limits.max_side} (--max-side)", file=name
        )
    if max(size) > limits.max_aspect * min(size):
        message = f"{shape}; the limit is {limits.max_aspect}:1 (--max-aspect); crop it"
        raise PictureError("image_too_narrow", message, file=name)
    if min(size) < MIN_SIDE:
        raise PictureError("image_too_small", f"{shape}; each side must have at least {MIN_SIDE} pixels", file=name)


def _damage(error: Exception, name: str | None) -> PictureError:
    text = str(error)
    if "text" in text.lower() and "large" in text.lower() or "Too much memory" in text:
        return PictureError("image_metadata", "its metadata unpacks to more than allowed; strip it", file=name)
    if isinstance(error, EOFError) or "truncated" in text.lower():
        return PictureError("image_truncated", "the file ends before the picture does; get a whole copy", file=name)
    return PictureError("image_corrupt", "its data is damaged; get an undamaged copy", file=name)


def _eight_bit(image: Image.Image, samples: np.ndarray | None, key: np.ndarray | None, name: str | None) -> Image.Image:
    """`image`, or its 16-bit `samples`, in mode L, LA, RGB or RGBA; pixels of the colour `key` are transparent."""
    if samples is None and image.mode.startswith("I;16"):
        samples = np.asarray(image)[..., None]
    if samples is None:
        plain = _plain(image, name)
        return plain if key is None else _with_alpha(plain, np.asarray(plain), key)
    # v / 257, rounded: exact for every 16-bit v
    scaled = ((samples.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)
    plain = Image.fromarray(scaled[..., 0] if scaled.shape[2] == 1 else scaled)
    return plain if key is None else _with_alpha(plain, samples, key)


def _plain(image: Image.Image, name: str | None) -> Image.Image:
    if image.mode in ("I", "F"):
        raise PictureError("image_format", f"samples of kind {image.mode}; save it with 8 bits a sample", file=name)
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image
    if image.mode in ("PA", "La", "RGBa") or (image.mode == "P" and "transparency" in image.info):
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def _with_alpha(image: Image.Image, samples: np.ndarray, key: np.ndarray) -> Image.Image:
    """`image` with an alpha channel: 0 where `samples` (H, W) or (H, W, C) are `key`, else 255."""
    same = (samples.reshape(*samples.shape[:2], -1) == key).all(axis=2)
    result = image.copy()
    result.putalpha(Image.fromarray(np.where(same, np.uint8(0), np.uint8(255))))
    return result
