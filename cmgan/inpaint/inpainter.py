"""Pictures of any size through an engine of one size."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from cmgan.errors import UsageError, warn
from cmgan.imaging.given import Given, given_hole, given_picture
from cmgan.imaging.grey import without_colour
from cmgan.imaging.morphology import dilated, feather
from cmgan.inpaint.strategies import STRATEGIES, plan
from cmgan.inpaint.tiles import paste_row, plan_tiles
from cmgan.inpaint.windows import Window, cut, paste
from cmgan.runtime.engine import Engine, EngineInfo
from cmgan.runtime.open import open_engine

_MAX_REACH = 1024  # pixels, of dilate and feather
_OVERLAP = 64  # pixels


@dataclass(frozen=True)
class InpaintOptions:
    """How pictures become calls of the engine; `UsageError` for a value out of range."""

    strategy: str = "crop"  # crop, resize, original, tile
    crop_margin: int = 128  # pixels around a hole that the network sees
    overlap: int | None = None  # pixels that neighbouring tiles share; None: 64, or half of R where that is less
    dilate: int = 0  # pixels that the hole grows by before anything else
    feather: int = 0  # pixels inside the hole over which the old picture fades into the new one
    batch: int = 4  # windows in one call of the engine

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise UsageError("strategy", f"strategy {self.strategy!r}; known are {', '.join(STRATEGIES)}")
        for name, low, high in (
            ("crop_margin", 0, 1 << 16),
            ("overlap", 0, 1 << 16),
            ("dilate", 0, _MAX_REACH),
            ("feather", 0, _MAX_REACH),
            ("batch", 1, 1 << 10),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError("option", f"{name} is {value}; {low} to {high} is possible")


class LazyEngine:
    """An engine that is opened by the first call that needs it; the opening is done once, whatever the thread."""

    def __init__(self, opener: Callable[[], Engine]) -> None:
        self._opener = opener
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def opened(self) -> bool:
        """Whether a call has needed it."""
        return self._engine is not None

    @property
    def info(self) -> EngineInfo:
        return self._opened().info

    def __call__(self, image: np.ndarray, mask: np.ndarray, z: np.ndarray) -> np.ndarray:
        return self._opened()(image, mask, z)

    def close(self) -> None:
        """Close the engine, if it was opened; the next call opens it again."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _opened(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = self._opener()
            return self._engine


class Inpainter:
    """Fills the holes of pictures of any size, with a model named as `open_engine` takes it, or an engine.

    It holds no state between calls: threads may share one as far as its engine may be shared. The engine is not
    touched (a `LazyEngine` not opened) while there is no hole to fill.
    """

    def __init__(self, model: str | os.PathLike[str] | Engine, options: InpaintOptions | None = None) -> None:
        if isinstance(model, (str, os.PathLike)):
            model = open_engine(os.fspath(model))
        if not callable(model):
            kinds = "the name of a model, a path or an engine"
            raise UsageError("model_type", f"model is a {type(model).__name__}; {kinds} is needed")
        self.engine: Engine = model
        self.options = options or InpaintOptions()

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def __enter__(self) -> Inpainter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __call__(self, image: Given, mask: Given, seed: int = 0) -> np.ndarray:
        """Fill the hole of one picture.

        Args:
            image: uint8 (H, W, 3), RGB; or a PIL image, a path, or the bytes or stream of a file.
            mask: bool (H, W), True in the hole; or uint8 (H, W), hole = value >= 128; or as `image`.
            seed: 0 to 2**63 - 1. The same seed gives the same bytes; another one another picture.

        Returns:
            uint8 (H, W, 3), a new array. Outside the hole (after `dilate`) the input's own bytes; inside without
            colour if nothing known has any. `Image.fromarray` makes a PIL image of it.

        Raises:
            UsageError: array (shapes or dtypes), image_type, mask_type, seed, overlap (too large for the engine).
            PictureError: a file cannot be used.
        """
        picture = given_picture(image)
        return self.paint(picture.rgb, self.grown(given_hole(mask, picture)), seed)

    def grown(self, hole: np.ndarray) -> np.ndarray:
        """The hole that is painted: `hole`, bool (H, W), after `dilate`."""
        return dilated(hole, self.options.dilate)

    def paint(self, image: np.ndarray, hole: np.ndarray, seed: int = 0) -> np.ndarray:
        """Like a call, for uint8 (H, W, 3) and the hole as it is to be painted: bool (H, W)."""
        check_seed(seed)
        if not hole.any():
            warn("mask_empty", "the mask has no hole: the picture stays as it is (a hole has values of 128 or more)")
            return image.copy()
        # One z for all windows of a picture: they show parts of one scene.
        z = np.random.Generator(np.random.PCG64(seed)).standard_normal((1, self.engine.info.z_dim), np.float32)
        canvas = self._tiled(image, hole, z) if self.options.strategy == "tile" else self._planned(image, hole, z)
        feather(canvas, image, hole, self.options.feather)
        without_colour(canvas, image, hole)  # last: what the feather takes from the hole's old content may have colour
        return canvas

    def _planned(self, image: np.ndarray, hole: np.ndarray, z: np.ndarray) -> np.ndarray:
        canvas = image.copy()
        windows = plan(self.options.strategy, hole, self.engine.info.resolution, self.options.crop_margin)
        for window, pixels in self._painted(windows, image, hole, z):
            paste(canvas, hole, window, pixels)
        return canvas

    def _tiled(self, image: np.ndarray, hole: np.ndarray, z: np.ndarray) -> np.ndarray:
        resolution = self.engine.info.resolution
        most = resolution // 2
        overlap = min(_OVERLAP, most) if self.options.overlap is None else self.options.overlap
        if overlap > most:
            raise UsageError("overlap", f"overlap {overlap}; at most half the engine's {resolution} is possible")
        rows = plan_tiles(hole, resolution, overlap)
        # A single tile holds the whole hole and needs no coarse picture around it.
        canvas = image.copy() if [len(row) for row in rows] == [1] else self._planned(image, hole, z)
        for row in rows:
            paste_row(canvas, hole, self._painted(row, canvas, hole, z), overlap)
        return canvas

    def _painted(
        self, windows: list[Window], image: np.ndarray, hole: np.ndarray, z: np.ndarray
    ) -> Iterator[tuple[Window, np.ndarray]]:
        """Each window with the engine's answer, uint8 (R, R, 3); `batch` of them in one call."""
        for start in range(0, len(windows), self.options.batch):
            group = windows[start : start + self.options.batch]
            cuts = [cut(image, hole, window, self.engine.info.resolution) for window in group]
            images, masks = (np.stack(arrays) for arrays in zip(*cuts, strict=True))
            yield from zip(group, self.engine(images, masks, np.repeat(z, len(group), axis=0)), strict=True)


def check_seed(seed: object) -> None:
    """Raise `UsageError` unless `seed` is a whole number from 0 to 2**63 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise UsageError("seed", f"seed {str(seed)[:40]}; a whole number from 0 to 2**63 - 1 is needed")
