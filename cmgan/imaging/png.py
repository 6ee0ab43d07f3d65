"""What Pillow does not tell of a PNG: damage, the low bytes of 16-bit samples, the colour that means transparent."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageFile

from cmgan.errors import PictureError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _COLOUR = 0, 2  # colour types of the header


def png_chunks(data: bytes, name: str | None) -> dict[bytes, bytes]:
    """The small chunks that may occur once, by their kind.

    Every chunk must be whole and every critical one have the right checksum, of which Pillow skips those of the pixels.

    Raises:
        PictureError: image_truncated, image_corrupt.
    """
    chunks: dict[bytes, bytes] = {}
    position, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position) if position + 8 <= len(data) else (len(data), b"")
        end = position + 8 + length
        if end + 4 > len(data):
            message = f"the file ends before the picture does ({len(data)} bytes); get a whole copy"
            raise PictureError("image_truncated", message, file=name)
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(memoryview(data)[position + 4 : end]) != int.from_bytes(data[end : end + 4]):
            message = f"wrong checksum in the chunk at byte {position}; get an undamaged copy"
            raise PictureError("image_corrupt", message, file=name)
        if length <= 64:
            chunks.setdefault(kind, data[position + 8 : end])
        position = end + 4
    return chunks


def samples_of_16_bits(image: ImageFile.ImageFile, data: bytes) -> np.ndarray | None:
    """uint16 (H, W, C) of a PNG with 16-bit samples, of whose colours Pillow keeps only the high bytes; else None.

    Its unpackers for the other byte order keep the low bytes of the same stream, so that two passes give all.
    """
    layout = image.tile[0][3] if image.tile else None
    if layout == "I;16B":
        return np.asarray(image)[..., None]
    if layout == "LA;16B":  # four bytes a pixel: high and low of grey, high and low of alpha
        return np.ascontiguousarray(_unpacked(data, "RGBA")).view(">u2")
    if layout in ("RGB;16B", "RGBA;16B"):
        high = _unpacked(data, layout).astype(np.uint16)
        return (high << 8) | _unpacked(data, layout.replace("16B", "16L"))
    return None


def _unpacked(data: bytes, layout: str) -> np.ndarray:
    image = Image.open(io.BytesIO(data), formats=["PNG"])
    codec, extents, offset, _ = image.tile[0]
    image.tile = [type(image.tile[0])(codec, extents, offset, layout)]
    return np.asarray(image)


def transparent_colour(chunks: dict[bytes, bytes]) -> np.ndarray | None:
    """The grey (1,) or RGB (3,) value whose pixels are transparent (PNG specification, 11.3.1.1); None without one.

    On the scale of the decoded samples: 0 to 65535 where the file has 16 bits, else 0 to 255.
    """
    depth, colour = chunks.get(b"IHDR", bytes(13))[8:10]
    channels = {_GREY: 1, _COLOUR: 3}.get(colour)
    key = chunks.get(b"tRNS", b"")
    if channels is None or len(key) != 2 * channels:
        return None
    value = np.frombuffer(key, ">u2").astype(np.uint32) & (2**depth - 1)  # the bits above the depth do not count
    return value * 255 // (2**depth - 1) if depth < 8 else value
