"""Drawn pictures, where there are no photographs: for trying out a training run and for its tests."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from cmgan.imaging.limits import Limits

if TYPE_CHECKING:
    from cmgan.masks.segments import Segments

SIDE = 96  # pixels
_SHAPES = 6


@dataclass
class ProceduralPictures:
    """`count` pictures of ellipses and boxes on a colour gradient; number i depends on i only."""

    count: int
    limits: Limits = field(default_factory=Limits)

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"procedural-{index}"

    def read(self, index: int) -> bytes:
        """The picture as a PNG file."""
        rng = np.random.default_rng(index)
        corners = rng.uniform(0, 255, (2, 2, 3)).astype(np.uint8)
        picture = Image.fromarray(corners).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        draw = ImageDraw.Draw(picture)
        for _ in range(_SHAPES):
            x, y, width, height = (rng.uniform(0, 1, 4) * SIDE / (1, 1, 2, 2)).tolist()
            shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
            shape(
                (x - width / 2, y - height / 2, x + width / 2, y + height / 2), tuple(rng.integers(0, 256, 3).tolist())
            )
        file = io.BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()

    def segments(self, index: int) -> Segments | None:
        return None

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"procedural {self.count} {SIDE} {_SHAPES}".encode()).hexdigest()
