"""A picture in memory, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from cmgan.imaging.decode import decode
from cmgan.imaging.limits import Limits
from cmgan.imaging.metadata import Metadata
from cmgan.imaging.source import Source, source_name, source_permissions


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as a viewer shows it: any EXIF turn has been applied.

    Attributes:
        rgb: uint8 (H, W, 3); never converted between colour spaces.
        grey: whether the file holds grey values only: it will be written so.
        alpha: uint8 (H, W), or None where the file has none.
        icc: the colour profile, or None.
        format: png, jpeg, ...: what the content is, whatever the name says.
        turned: whether width and height as stored are the other way round.
        colour: the chunks of a PNG that say how its samples are to be shown, by their kind.
        metadata: EXIF and the like; None unless it was to be kept.
        name: what messages call it.
        permissions: of its file: a new one that is made of it is not more open.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    icc: bytes | None = None
    format: str = "png"
    turned: bool = False
    colour: Mapping[bytes, bytes] = field(default_factory=dict)
    metadata: Metadata | None = None
    name: str | None = None
    permissions: int = 0o666

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]

    def filled(self, rgb: np.ndarray, hole: np.ndarray) -> Picture:
        """This picture with new colours, and opaque inside `hole` (bool (H, W))."""
        alpha = None if self.alpha is None else np.where(hole, np.uint8(255), self.alpha)
        return replace(self, rgb=rgb, alpha=alpha)


def load_picture(source: Source, limits: Limits | None = None, *, keep_metadata: bool = False) -> Picture:
    """Load one picture from a path, `-` (standard input), a binary stream or bytes; without limits, the defaults.

    Raises:
        PictureError, SystemRefusal: as `decode`.
    """
    decoded = decode(source, limits or Limits())
    image = decoded.image
    rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    alpha = decoded.upright(np.asarray(image.getchannel("A"))) if "A" in image.mode else None
    return Picture(
        rgb=decoded.upright(rgb),
        alpha=alpha,
        grey=image.mode in ("L", "LA"),
        icc=decoded.icc,
        format=decoded.format,
        turned=decoded.orientation >= 5,
        colour=decoded.colour,
        metadata=decoded.metadata if keep_metadata else None,
        name=source_name(source),
        permissions=source_permissions(source),
    )
