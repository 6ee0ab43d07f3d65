"""What a file says about its picture: EXIF, XMP, dots per inch and text. It is kept only on request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from cmgan.errors import PictureError

_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 0x0112, 0x011A, 0x011B, 0x0128  # EXIF tags
_INCH, _CENTIMETRE = 2, 3  # units of a resolution
_WIDTHS = {0x0100: 0, 0x0101: 1}  # tag of the first directory -> width or height
_EXIF_IFD, _PIXELS = 0x8769, {0xA002: 0, 0xA003: 1}
_MAX_TEXT = 4 * 2**20  # characters
XMP_KEY = "XML:com.adobe.xmp"
_ELSEWHERE = (XMP_KEY, "Raw profile type exif", "Raw profile type APP1")  # text that Pillow reads as XMP and EXIF
_XMP_SIZES = (rb"tiff:ImageWidth|exif:PixelXDimension", rb"tiff:ImageLength|exif:PixelYDimension")
_XMP_THUMBNAILS = re.compile(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", re.DOTALL)


@dataclass(frozen=True)
class Metadata:
    """Upright like its picture: no orientation, widths and heights changed over where the picture was turned.

    Attributes:
        exif: in its usual form, without a thumbnail.
        xmp: an XMP packet, without thumbnails.
        dpi: dots per inch across and down.
        text: of a PNG, by keyword.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = field(default_factory=dict)

    def exif_of(self, size: tuple[int, int], *, resolution: bool = False) -> bytes | None:
        """EXIF that says, where it says one, that the picture has `size` (width, height); with `resolution`, it says
        the dots per inch, too."""
        exif = Image.Exif()
        exif.load(self.exif or b"")
        if resolution and self.dpi and _X_RESOLUTION not in exif:
            exif[_X_RESOLUTION], exif[_Y_RESOLUTION] = self.dpi
            exif[_UNIT] = _INCH
        for directory, tags in ((exif, _WIDTHS), (exif.get_ifd(_EXIF_IFD), _PIXELS)):
            for tag in tags.keys() & directory.keys():
                directory[tag] = size[tags[tag]]
        return exif.tobytes() if len(exif) else None

    def xmp_of(self, size: tuple[int, int]) -> bytes | None:
        """XMP that says, where it says one, that the picture has `size` (width, height)."""
        xmp = self.xmp
        for names, pixels in zip(_XMP_SIZES, size, strict=True):
            xmp = xmp and _with_number(xmp, names, pixels)
        return xmp


def read_metadata(image: Image.Image, name: str | None) -> tuple[Metadata, int]:
    """The metadata of an opened file and its EXIF orientation, 1 to 8.

    Raises:
        PictureError: image_metadata.
    """
    text = {key: str(value) for key, value in getattr(image, "text", {}).items()}
    if sum(map(len, text.values())) > _MAX_TEXT:
        raise PictureError("image_metadata", f"more than {_MAX_TEXT} characters of text; strip it", file=name)
    exif = _exif(image)
    orientation = exif.pop(_ORIENTATION, 1)
    orientation = orientation if orientation in range(1, 9) else 1
    xmp = image.info.get("xmp")
    metadata = Metadata(
        exif=_exif_bytes(exif, turned=orientation >= 5),
        xmp=_upright_xmp(xmp) if isinstance(xmp, bytes) else None,
        dpi=_dpi(image.info, exif, turned=orientation >= 5),
        text={key: value for key, value in text.items() if key not in _ELSEWHERE},
    )
    return metadata, orientation


def _exif(image: Image.Image) -> Image.Exif:
    try:
        exif = image.getexif()
        dict(exif)  # the values are read only now
        return exif
    except Exception:  # unreadable EXIF: the picture is taken as upright
        return Image.Exif()


def _exif_bytes(exif: Image.Exif, *, turned: bool) -> bytes | None:
    try:
        if turned and {_X_RESOLUTION, _Y_RESOLUTION} <= exif.keys():
            exif[_X_RESOLUTION], exif[_Y_RESOLUTION] = exif[_Y_RESOLUTION], exif[_X_RESOLUTION]
        return exif.tobytes() if len(exif) else None
    except Exception:  # tags that cannot be written again
        return None


def _dpi(info: Mapping[Any, Any], exif: Image.Exif, *, turned: bool) -> tuple[float, float] | None:
    """By the file's own header, or by EXIF, whose directory is upright already."""
    try:
        if "dpi" in info:
            x, y = map(float, info["dpi"])
            x, y = (y, x) if turned else (x, y)
        else:
            scale = 2.54 if exif.get(_UNIT) == _CENTIMETRE else 1.0
            x, y = (scale * float(exif[tag]) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 65536 and 0 < y < 65536 else None


def _upright_xmp(xmp: bytes) -> bytes:
    """Without an orientation of its own, and without thumbnails, which show what the hole held."""
    return _with_number(_XMP_THUMBNAILS.sub(b"", xmp), rb"tiff:Orientation", 1)


def _with_number(xmp: bytes, names: bytes, number: int) -> bytes:
    """`xmp` with the number of these properties, attributes or elements, replaced."""
    return re.sub(rb"((?:" + names + rb")(?:\s*=\s*[\"']|>)\s*)\d+", rb"\g<1>%d" % number, xmp)
