"""One request for a picture, in a worker thread: from the fields to the bytes of the answer."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field

import numpy as np

from cmgan.errors import UsageError
from cmgan.imaging.limits import Limits
from cmgan.imaging.mask import MaskOptions, alpha_mask, box_mask, check_hole, load_mask, parse_box
from cmgan.imaging.picture import load_picture
from cmgan.imaging.save import save_picture
from cmgan.inpaint.inpainter import Inpainter, InpaintOptions
from cmgan.runtime.engine import Engine
from cmgan.serve.body import picture_bytes
from cmgan.serve.form import InpaintForm

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@dataclass
class Painted:
    """The encoded samples and the facts about them."""

    files: list[bytes]
    media_type: str
    seeds: list[int]
    hole: float  # share
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)  # slugs


def paint(engine: Engine, form: InpaintForm, limits: Limits) -> Painted:
    started = time.perf_counter()
    options = InpaintOptions(form.hd, form.crop_margin, form.overlap, form.dilate, form.feather)
    masking = MaskOptions(
        form.mask_threshold, form.mask_channel, form.invert_mask, form.resize_mask, form.allow_full_mask
    )
    if (form.mask is not None) + bool(form.box) + bool(form.mask_from) != 1:
        raise UsageError("mask_missing", "one mask is needed: the field mask, box or mask_from")
    picture = load_picture(picture_bytes(form.image, "image"), limits)
    if form.mask_from:
        hole = alpha_mask(picture, masking)
    elif form.box:
        hole = box_mask([parse_box(text) for text in form.box.split(";")], picture)
        check_hole(hole, masking, "box")
    else:
        hole = load_mask(picture_bytes(form.mask or b"", "mask"), picture, limits, masking)
    seed = form.first_seed()
    seeds = [seed + number for number in range(form.samples)]
    decoded = time.perf_counter()
    inpainter = Inpainter(engine, options)
    pictures = [inpainter.fill(picture, hole, seed) for seed in seeds]
    filled = time.perf_counter()
    files = []
    for after in pictures:
        file = io.BytesIO()
        save_picture(file, after, quality=form.quality, format=form.format.upper())
        files.append(file.getvalue())
    encoded = time.perf_counter()
    seconds = {"decode": decoded - started, "fill": filled - decoded, "encode": encoded - filled}
    return Painted(files, MEDIA_TYPES[form.format], seeds, float(np.mean(hole)), seconds)
