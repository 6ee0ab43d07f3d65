"""Fixed sets of masks, for evaluation and calibration: the same arguments, the same masks, a digest to prove it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from cmgan.errors import PictureError, UsageError
from cmgan.files import atomic_folder, sha256
from cmgan.masks.draw import check_kind, draw_mask
from cmgan.masks.rng import sample_rng
from cmgan.masks.segments import AnnotatedPictures, Segments
from cmgan.masks.silhouettes import Silhouettes

SET_FILE = "masks.json"
_TRIES = 1000  # masks drawn for one of a given share of hole


@dataclass(frozen=True)
class MaskSet:
    """`count` masks; number i, bool (R, R), True = hole, is drawn whenever it is asked for and depends on i only.

    The set of more masks begins with those of the set of fewer. With `pictures` mask i belongs to the picture i modulo
    their number and spares its things; one without annotation raises `PictureError`.
    """

    kind: str
    count: int
    resolution: int
    seed: int
    bins: tuple[tuple[float, float], ...] = ()  # mask i has a share of hole in bin i modulo their number
    pictures: AnnotatedPictures | None = None
    silhouettes: Silhouettes | None = None

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(self.count))

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = sample_rng(self.seed, 0, index, "mask")
        segments = self._segments(index)
        low, high = self.bins[index % len(self.bins)] if self.bins else (0.0, 1.0)
        for _ in range(_TRIES):
            hole = draw_mask(rng, self.resolution, self.kind, segments, self.silhouettes)
            if low <= hole_ratio(hole) <= high:
                return hole
        raise UsageError("mask_bins", f"none of {_TRIES} masks of kind {self.kind} covers {low:g} to {high:g}")

    def name(self, index: int) -> str:
        """What mask `index` is called: six digits, or STEM_maskNNN after the picture that it belongs to."""
        if self.pictures is None:
            return f"{index:06d}"
        turn, picture = divmod(index, len(self.pictures))
        return f"{PurePosixPath(self.pictures.name(picture)).stem}_mask{turn:03d}"

    @property
    def digest(self) -> str:
        """SHA-256 of the whole set; draws every mask."""
        return set_digest(mask_digest(hole) for hole in self)

    def _segments(self, index: int) -> Segments | None:
        if self.pictures is None:
            return None
        picture = index % len(self.pictures)
        segments = self.pictures.segments(picture)
        if segments is None:
            raise PictureError("no_annotation", "has no annotation", file=self.pictures.name(picture))
        return segments.resized(self.resolution)


def evaluation_masks(
    kind: str,
    count: int,
    resolution: int,
    seed: int,
    *,
    bins: Iterable[tuple[float, float]] = (),
    pictures: AnnotatedPictures | None = None,
    silhouettes: Silhouettes | None = None,
) -> MaskSet:
    """The fixed set of these arguments, stratified by the share of hole where `bins` are given, as (0.05, 0.2).

    Raises:
        UsageError: mask_count, mask_bins (also when a mask is drawn and none of 1,000 fits); as `draw_mask`.
    """
    check_kind(kind, resolution)
    chosen = tuple(bins)
    if count < 1:
        raise UsageError("mask_count", f"{count} masks; at least 1 is needed")
    for low, high in chosen:
        if not 0 <= low < high <= 1:
            raise UsageError("mask_bins", f"bin {low:g} to {high:g}; 0 <= low < high <= 1 is needed")
    return MaskSet(kind, count, resolution, seed, chosen, pictures, silhouettes)


def write_masks(
    masks: MaskSet, folder: Path, *, overwrite: bool = False, progress: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """Write the set as a new folder, whole or not at all: a PNG a mask (white = hole), and masks.json.

    What that holds is returned: kind, seed, resolution and digest of the set; file, ratio and digest of each mask.

    Raises:
        UsageError: output_exists, output_folder; output_clash, two pictures have the same stem.
        SystemRefusal: as `atomic_folder`.
    """
    names = [f"{masks.name(i)}.png" for i in range(len(masks))]
    if len(set(names)) < len(names):
        clash = next(name for i, name in enumerate(names) if name in names[:i])
        raise UsageError("output_clash", f"two masks are called {clash}; annotations of one stem must stand apart")
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        rows: list[dict[str, Any]] = []
        for name, hole in zip(names, masks, strict=True):
            Image.fromarray(hole * np.uint8(255)).save(temporary / name)
            rows.append({"file": name, "ratio": hole_ratio(hole), "sha256": mask_digest(hole)})
            progress(name)
        about = {"schema": 1, "kind": masks.kind, "seed": masks.seed, "resolution": masks.resolution}
        document = {**about, "digest": set_digest(row["sha256"] for row in rows), "masks": rows}
        (temporary / SET_FILE).write_text(json.dumps(document, indent=2) + "\n")
    return document


def hole_ratio(hole: np.ndarray) -> float:
    """The share of the pixels that are hole."""
    return np.count_nonzero(hole) / hole.size


def mask_digest(hole: np.ndarray) -> str:
    """SHA-256 of the mask, bool (H, W), as the bytes of its picture: 255 in the hole, 0 elsewhere, row by row."""
    return sha256((hole * np.uint8(255)).tobytes())


def set_digest(digests: Iterable[str]) -> str:
    """SHA-256 of the digests of the masks of a set, one after the other."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()
