"""One request for a picture, in a worker thread: from the fields of a form to the bytes of the answer."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass

from cmgan.imaging.limits import Limits
from cmgan.imaging.mask import MaskOptions, parse_box
from cmgan.inpaint.inpainter import Inpainter, InpaintOptions
from cmgan.inpaint.job import Job, JobOptions, fill, write
from cmgan.runtime.engine import Engine
from cmgan.serve.body import picture_bytes
from cmgan.serve.form import InpaintForm

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True)
class Painted:
    """The encoded samples, and what there is to say about them.

    Attributes:
        hole: share of the picture that was painted.
        seconds: by stage: `read`, `engine`, `around` and `write`, of all samples.
        warnings: slugs.
    """

    files: list[bytes]
    seeds: list[int]
    media_type: str
    hole: float
    seconds: dict[str, float]
    warnings: list[str]


def paint(engine: Engine, form: InpaintForm, limits: Limits) -> Painted:
    """Fill the hole of the form's picture.

    Raises:
        CmganError: as `cmgan.inpaint.job.fill`; PictureError: base64.
    """
    options = InpaintOptions(form.strategy, form.crop_margin, form.overlap, form.dilate, form.feather)
    masking = MaskOptions(
        form.mask_threshold, form.mask_channel, form.invert_mask, form.resize_mask, form.allow_full_mask
    )
    job = Job(
        image=picture_bytes(form.image, "image"),
        mask=None if form.mask is None else picture_bytes(form.mask, "mask"),
        boxes=tuple(parse_box(text) for text in form.box.split(";")) if form.box else (),
        alpha=form.mask_from == "alpha",
        options=JobOptions(limits=limits, mask=masking, seed=form.first_seed(), samples=form.samples),
    )
    files, seeds, hole = [], [], 0.0
    seconds, warnings = Counter[str](), dict[str, None]()
    for filled in fill(Inpainter(engine, options), job):
        file = io.BytesIO()
        spent = write(filled, file, quality=form.quality, format=form.format.upper())
        seconds.update({**filled.seconds, "write": spent})
        warnings.update(dict.fromkeys(warning.partition(":")[0] for warning in filled.warnings))
        files.append(file.getvalue())
        seeds.append(filled.seed)
        hole = filled.hole
    return Painted(files, seeds, MEDIA_TYPES[form.format], hole, dict(seconds), list(warnings))
