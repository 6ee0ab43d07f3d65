"""Fixed sets of masks, for evaluation and calibration: the same arguments, the same masks, and a digest to prove it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from cmgan.errors import UsageError
from cmgan.files import sha256
from cmgan.train.masks.annotations import Annotations
from cmgan.train.masks.draw import draw_mask
from cmgan.train.masks.silhouettes import Silhouettes
from cmgan.train.rng import sample_rng

_TRIES = 1000  # masks drawn for one of a given share of hole


@dataclass(frozen=True)
class MaskSet:
    """`count` masks; number i, bool (R, R), True = hole, is drawn whenever it is asked for and depends on i only.

    The set of more masks begins with those of the set of fewer. With `annotations` mask i belongs to the picture
    i modulo their number and spares its things.
    """

    kind: str
    count: int
    resolution: int
    seed: int
    bins: tuple[tuple[float, float], ...] = ()  # mask i has a share of hole in bin i modulo their number
    annotations: Annotations | None = None
    silhouettes: Silhouettes | None = None

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(self.count))

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = sample_rng(self.seed, 0, index, "mask")
        segments = None
        if self.annotations is not None:
            segments = self.annotations[index % len(self.annotations)].resized(self.resolution)
        low, high = self.bins[index % len(self.bins)] if self.bins else (0.0, 1.0)
        for _ in range(_TRIES):
            hole = draw_mask(rng, self.resolution, self.kind, segments, self.silhouettes)
            if low <= hole_ratio(hole) <= high:
                return hole
        raise UsageError("mask_bins", f"none of {_TRIES} masks of kind {self.kind} covers {low:g} to {high:g}")

    def name(self, index: int) -> str:
        """What mask `index` is called: six digits, or STEM_maskNNN after the picture that it belongs to."""
        if self.annotations is None:
            return f"{index:06d}"
        turn, picture = divmod(index, len(self.annotations))
        return f"{self.annotations.stems[picture]}_mask{turn:03d}"

    @property
    def digest(self) -> str:
        """SHA-256 of the whole set; draws every mask."""
        return set_digest(mask_digest(hole) for hole in self)


def evaluation_masks(
    kind: str,
    count: int,
    resolution: int,
    seed: int,
    *,
    bins: Iterable[tuple[float, float]] = (),
    annotations: Annotations | None = None,
    silhouettes: Silhouettes | None = None,
) -> MaskSet:
    """The fixed set of these arguments, stratified by the share of hole where `bins` are given, as (0.05, 0.2).

    Raises:
        UsageError: mask_count, mask_bins (also when a mask is drawn and none of 1,000 fits); as `draw_mask`.
    """
    chosen = tuple(bins)
    if count < 1:
        raise UsageError("mask_count", f"{count} masks; at least 1 is needed")
    for low, high in chosen:
        if not 0 <= low < high <= 1:
            raise UsageError("mask_bins", f"bin {low:g} to {high:g}; 0 <= low < high <= 1 is needed")
    return MaskSet(kind, count, resolution, seed, chosen, annotations, silhouettes)


def hole_ratio(hole: np.ndarray) -> float:
    """The share of the pixels that are hole."""
    return np.count_nonzero(hole) / hole.size


def mask_digest(hole: np.ndarray) -> str:
    """SHA-256 of the mask, bool (H, W), as the bytes of its picture: 255 in the hole, 0 elsewhere, row by row."""
    return sha256((hole * np.uint8(255)).tobytes())


def set_digest(digests: Iterable[str]) -> str:
    """SHA-256 of the digests of the masks of a set, one after the other."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()
