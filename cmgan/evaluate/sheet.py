"""A picture sheet: what each method made of the same holes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP = 4  # pixels
_HEAD = 18  # pixels, of the line of titles
_SIDE = 192  # pixels of a cell


def draw_sheet(titles: Sequence[str], rows: Sequence[Sequence[np.ndarray]]) -> Image.Image:
    """Rows of pictures, uint8 (R, R, 3), below their titles, each scaled to one size."""
    pitch = _SIDE + _GAP
    sheet = Image.new("RGB", (len(titles) * pitch + _GAP, _HEAD + len(rows) * pitch + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((column * pitch + _GAP, _GAP), title, fill="black", font=ImageFont.load_default())
    for i, row in enumerate(rows):
        for column, picture in enumerate(row):
            cell = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BOX)
            sheet.paste(cell, (column * pitch + _GAP, _HEAD + i * pitch + _GAP))
    return sheet
