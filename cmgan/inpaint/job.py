"""One request: a picture and its mask in, the filled picture and what there is to say about it out.

Commands, folders, benches and servers all come through here; none of them reads, fills or writes pictures itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cmgan.errors import UsageError, collected_warnings
from cmgan.imaging.given import Given, given_hole, given_picture
from cmgan.imaging.limits import Limits
from cmgan.imaging.mask import MaskOptions, alpha_mask, box_mask, check_hole
from cmgan.imaging.picture import Picture
from cmgan.imaging.save import save_picture
from cmgan.imaging.source import source_name
from cmgan.inpaint.inpainter import Inpainter, check_seed
from cmgan.runtime.engine import Engine

Box = tuple[int, int, int, int]  # x, y, width, height, pixels


@dataclass(frozen=True)
class JobOptions:
    """How a request is read and what is wanted of it; `UsageError` for a value out of range.

    `samples` pictures are made, of the seeds `seed`, `seed + 1` and so on; with `concat` each shows before and after
    side by side.
    """

    limits: Limits = field(default_factory=Limits)
    mask: MaskOptions = field(default_factory=MaskOptions)
    keep_metadata: bool = False
    seed: int = 0
    samples: int = 1
    concat: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not 1 <= self.samples <= 100:
            raise UsageError("samples", f"samples is {self.samples}; 1 to 100 is possible")
        check_seed(self.seed + self.samples - 1)


@dataclass(frozen=True, eq=False)
class Job:
    """One picture and where its hole is: exactly one of `mask`, `boxes` and `alpha`.

    Attributes:
        image: a path, `-` for standard input, a file's bytes or stream, a PIL image, or uint8 (H, W, 3) RGB.
        mask: the same kinds; as an array bool (H, W), True in the hole, or uint8 (H, W), hole = value >= 128.
        boxes: holes as rectangles (x, y, width, height) in pixels.
        alpha: the hole is where the picture is transparent.
    """

    image: Given
    mask: Given | None = None
    boxes: tuple[Box, ...] = ()
    alpha: bool = False
    options: JobOptions = field(default_factory=JobOptions)

    def __post_init__(self) -> None:
        given = (self.mask is not None) + bool(self.boxes) + self.alpha
        if given != 1:
            message = "one mask is needed: a file, --box x,y,w,h (repeatable) or --mask alpha"
            raise UsageError("mask_twice" if given else "mask_missing", message)
        for one, other in ((self.image, self.mask), (self.mask, self.image)):
            if _name(one) == "stdin" == _name(other):
                raise UsageError("same_file", "picture and mask are both standard input; give one of them as a file")
        _refuse_same_file(self.image, self.mask)


@dataclass(frozen=True, eq=False)
class Filled:
    """A finished picture.

    Attributes:
        hole: share of the picture that was painted, after `dilate`.
        seconds: by stage: `read` (picture and mask), `engine`, `around` (cutting, scaling, pasting). The first of
            several samples carries the reading.
        warnings: what was said on the way, as `slug: message`.
    """

    picture: Picture
    seed: int
    hole: float
    seconds: dict[str, float]
    warnings: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """All but the picture, for JSON."""
        width, height = self.picture.size
        seconds = {stage: round(value, 4) for stage, value in self.seconds.items()}
        size = {"width": width, "height": height}
        return {**size, "hole": self.hole, "seed": self.seed, "seconds": seconds, "warnings": list(self.warnings)}


def fill(inpainter: Inpainter, job: Job) -> Iterator[Filled]:
    """Fill the hole of one picture: one `Filled` for each sample, made when it is asked for.

    Pixels outside the hole stay bit-identical; the engine is not touched where there is no hole.

    Raises:
        PictureError: picture or mask cannot be used. UsageError: an option does not fit them.
        ModelError, MissingError: the engine cannot be opened. NumbersError: it gave non-finite numbers.
    """
    options, engine = job.options, _Timed(inpainter.engine)
    timed = Inpainter(engine, inpainter.options)
    with collected_warnings() as warnings:
        with _clock() as read:
            picture = _picture(job)
            hole = timed.grown(_hole(job, picture))
            check_hole(hole, options.mask, _name(job.mask) or _name(job.image) or "mask")
        share = float(np.count_nonzero(hole) / hole.size)
    for number in range(options.samples):
        last = number + 1 == options.samples
        with collected_warnings() as more, _clock() as whole:
            filled = _painted(timed, picture, hole, options.seed + number, concat=options.concat)
            if last:
                del picture  # a large one need not stay in memory while the result is written
        seconds = {"read": read[0], "engine": engine.seconds, "around": whole[0] - engine.seconds}
        yield Filled(filled, options.seed + number, share, seconds, (*warnings, *more))
        del filled
        read, engine.seconds = [0.0], 0.0


def write(filled: Filled, target: Path | BinaryIO, *, quality: int = 95, format: str | None = None) -> float:
    """Write the picture (see `save_picture`); the seconds that it took."""
    with _clock() as seconds:
        save_picture(target, filled.picture, quality=quality, format=format)
    return seconds[0]


def _picture(job: Job) -> Picture:
    return given_picture(job.image, job.options.limits, keep_metadata=job.options.keep_metadata)


def _hole(job: Job, picture: Picture) -> np.ndarray:
    """bool (H, W), before it grows."""
    options = job.options
    if job.alpha:
        return alpha_mask(picture, options.mask, _name(job.image) or "picture")
    if job.boxes:
        return box_mask(job.boxes, picture)
    assert job.mask is not None
    return given_hole(job.mask, picture, options.limits, options.mask)


def _painted(inpainter: Inpainter, picture: Picture, hole: np.ndarray, seed: int, *, concat: bool) -> Picture:
    after = picture.filled(inpainter.paint(picture.rgb, hole, seed), hole)
    if not concat:
        return after
    alphas = [p.alpha for p in (picture, after) if p.alpha is not None]
    alpha = np.concatenate(alphas, 1) if alphas else None
    return replace(after, rgb=np.concatenate([picture.rgb, after.rgb], 1), alpha=alpha)


def _name(source: Given | None) -> str | None:
    return source_name(source) if isinstance(source, (str, os.PathLike)) else None


def _refuse_same_file(image: Given, mask: Given | None) -> None:
    names = _name(image), _name(mask)
    if None in names or "stdin" in names:
        return
    paths = [Path(str(name)) for name in names]
    if all(path.exists() for path in paths) and paths[0].samefile(paths[1]):
        raise UsageError("same_file", "picture and mask are the same file; --mask alpha?", file=paths[0])


@contextmanager
def _clock() -> Iterator[list[float]]:
    """A list that holds the seconds of the block once it is over."""
    seconds = [0.0]
    start = time.perf_counter()
    try:
        yield seconds
    finally:
        seconds[0] = time.perf_counter() - start


class _Timed:
    """An engine that adds up the seconds spent in it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seconds = 0.0

    @property
    def info(self) -> Any:
        return self._engine.info

    def __call__(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        try:
            return self._engine(image, mask, z)
        finally:
            self.seconds += time.perf_counter() - start

    def close(self) -> None:
        self._engine.close()
