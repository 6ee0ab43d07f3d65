"""The training samples that a configuration asks for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cmgan.config import PRESETS
from cmgan.errors import UsageError
from cmgan.masks.config import MaskConfig
from cmgan.masks.draw import draw_mask
from cmgan.masks.segments import Segments
from cmgan.masks.silhouettes import Silhouettes, silhouettes_from
from cmgan.train.config import TrainConfig
from cmgan.train.data.pictures import Pictures, open_pictures
from cmgan.train.data.samples import TrainingSet
from cmgan.train.procedural import ProceduralPictures

_PROCEDURAL = "procedural:"


def open_inputs(config: TrainConfig) -> tuple[TrainingSet, str]:
    """The samples, and a fingerprint of the pictures that they come from.

    Raises:
        UsageError, PictureError: those of `open_pictures` and `silhouettes_from`; procedural:COUNT without a count.
    """
    data, resolution = config.data, PRESETS[config.model.preset].resolution
    pictures = _pictures(config)
    folder = Path(data.silhouettes) if data.silhouettes else None
    shapes = silhouettes_from(folder, pictures if data.annotations else None, config.masks)
    mask = partial(_mask, kind=data.masks, silhouettes=shapes, numbers=config.masks)
    seed = config.loop.seed
    samples = TrainingSet(pictures, resolution, seed, mask, smallest_crop=data.smallest_crop, bad=data.bad_pictures)
    return samples, pictures.fingerprint


def _pictures(config: TrainConfig) -> Pictures | ProceduralPictures:
    data = config.data
    if not data.path.startswith(_PROCEDURAL):
        annotations = Path(data.annotations) if data.annotations else None
        return open_pictures(Path(data.path), annotations, validation=data.validation, suffix=data.suffix)
    count = data.path.removeprefix(_PROCEDURAL)
    if not count.isdecimal() or not int(count):
        raise UsageError("config", f"data.path is {data.path}; procedural: and a number of pictures is needed")
    return ProceduralPictures(int(count))


def _mask(
    rng: np.random.Generator,
    resolution: int,
    segments: Segments | None,
    *,
    kind: str,
    silhouettes: Silhouettes,
    numbers: MaskConfig,
) -> np.ndarray:
    return draw_mask(rng, resolution, kind, segments, silhouettes, numbers)
