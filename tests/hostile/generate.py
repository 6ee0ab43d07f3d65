"""Picture files that go wrong, made when a test needs them: functions from arrays to the bytes of a file."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def photo(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Something like a photograph: smooth colours and a little noise; uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + rng.integers(-4, 5, smooth.shape, np.int16), 0, 255).astype(np.uint8)


def encoded(array: np.ndarray | Image.Image, format: str = "PNG", **options: object) -> bytes:
    """The bytes of a good file, by Pillow."""
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    stream = io.BytesIO()
    image.save(stream, format=format, **options)
    return stream.getvalue()


def cut(data: bytes, share: float) -> bytes:
    """The first `share` of a file."""
    return data[: int(len(data) * share)]


def damaged(data: bytes, count: int, seed: int, first: int = 0) -> bytes:
    """`count` bytes from position `first` on replaced by random ones."""
    rng = np.random.default_rng(seed)
    array = np.frombuffer(data, np.uint8).copy()
    array[rng.integers(first, len(array), count)] = rng.integers(0, 256, count)
    return array.tobytes()


def chunk(kind: bytes, body: bytes, *, flip_checksum: bool = False) -> bytes:
    """A PNG chunk (PNG specification, 5.3)."""
    checksum = zlib.crc32(kind + body) ^ (0xFF if flip_checksum else 0)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    """Signature and IHDR: a file that claims a size and has no pixels."""
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png(
    samples: np.ndarray, colour: int, *, extra: bytes = b"", interlaced: bool = False, bad_crc: bool = False
) -> bytes:
    """A PNG of uint8 or uint16 samples (H, W, C) of a colour type, written from the specification.

    `extra` are chunks to put before the pixels; `interlaced` uses Adam7.
    """
    height, width, _ = samples.shape
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    stored = samples.astype(">u2") if samples.dtype == np.uint16 else samples
    parts = [stored[y::dy, x::dx] for y, x, dy, dx in passes] if interlaced else [stored]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    header = png_header(width, height, 8 * stored.itemsize, colour, int(interlaced))
    pixels = chunk(b"IDAT", zlib.compress(rows), flip_checksum=bad_crc)
    return header + extra + pixels + chunk(b"IEND", b"")


def png_packed(values: np.ndarray, depth: int, extra: bytes = b"") -> bytes:
    """A grey PNG of 1, 2 or 4 bits a sample: values (H, W) below 2**depth; `extra` chunks before the pixels."""
    height, width = values.shape
    bits = np.unpackbits(values.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :].reshape(height, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return png_header(width, height, depth, 0) + extra + pixels + chunk(b"IEND", b"")


def text_bomb(size: int, keyword: bytes = b"Comment") -> bytes:
    """A zTXt chunk that unpacks to `size` bytes."""
    return chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(b"x" * size))


def exif_with(tags: dict[int, object]) -> bytes:
    """EXIF with these tags in its first directory; GPS (0x8825) as a dictionary of its own."""
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    return exif.tobytes()


def rgb_profile(size: int = 400, space: bytes = b"RGB ") -> bytes:
    """The header of an ICC profile of a colour space (ICC.1:2022, 7.2), filled up with zeros."""
    header = struct.pack(">I", size) + bytes(12) + space + bytes(16) + b"acsp"
    return header + bytes(size - len(header))
