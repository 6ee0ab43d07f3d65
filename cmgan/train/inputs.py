"""The training samples that a configuration asks for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

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
    annotations = Path(config.data.annotations) if config.data.annotations else None
    pictures = _pictures("path", config.data.path, annotations, config.data.suffix)
    return _samples(config, pictures, annotated=annotations is not None), pictures.fingerprint


def open_validation(config: TrainConfig) -> TrainingSet:
    """The samples to judge by, of `data.validation`; their masks are made as those of training, without annotations.

    Raises:
        As `open_inputs`.
    """
    return _samples(config, _pictures("validation", config.data.validation, None, config.data.suffix), annotated=False)


def _samples(config: TrainConfig, pictures: Pictures | ProceduralPictures, *, annotated: bool) -> TrainingSet:
    data, resolution, seed = config.data, config.generator.resolution, config.loop.seed
    folder = Path(data.silhouettes) if data.silhouettes else None
    shapes = silhouettes_from(folder, pictures if annotated else None, config.masks)
    mask = partial(_mask, kind=data.masks, silhouettes=shapes, numbers=config.masks)
    return TrainingSet(pictures, resolution, seed, mask, smallest_crop=data.smallest_crop, bad=data.bad_pictures)


def _pictures(field: str, path: str, annotations: Path | None, suffix: str) -> Pictures | ProceduralPictures:
    if not path.startswith(_PROCEDURAL):
        return open_pictures(Path(path), annotations, suffix=suffix)
    count = path.removeprefix(_PROCEDURAL)
    if not count.isdecimal() or not int(count):
        raise UsageError("config", f"data.{field} is {path}; procedural: and a number of pictures is needed")
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
