"""Fixed sets: the same masks for ever, in any order, in their bins."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from cmgan.errors import PictureError, UsageError
from cmgan.masks import KINDS, Segments, evaluation_masks, hole_ratio
from tests.masks.test_silhouettes import Listed


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_its_arguments(kind):
    masks = evaluation_masks(kind, 6, 64, 9)
    assert len(masks) == 6
    holes = list(masks)
    assert all(np.array_equal(masks[i], holes[i]) for i in (5, 0, 3))
    assert all(np.array_equal(a, b) for a, b in zip(evaluation_masks(kind, 3, 64, 9), holes, strict=False))
    literal = "".join(hashlib.sha256(np.where(h, 255, 0).astype(np.uint8).tobytes()).hexdigest() for h in holes)
    assert masks.digest == hashlib.sha256(literal.encode()).hexdigest()
    assert evaluation_masks(kind, 6, 64, 10).digest != masks.digest


@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        ("object-aware", "d8558b1c6813ad4e"),
        ("free-form", "37cc0b17e9e272f3"),
        ("rectangles", "b20422cabe537d5e"),
        ("thin", "54bc250077edd886"),
        ("medium", "6cb8b73554d07a9f"),
        ("thick", "48d33075df17d8c7"),
    ],
)
def test_sets_stay_what_they_were(kind, digest):
    """Figures that were measured on a set hold only as long as the set is the same; a change here ends them all."""
    assert evaluation_masks(kind, 12, 64, 0).digest.startswith(digest)


def test_shares_of_hole_are_stratified():
    bins = [(0.05, 0.2), (0.2, 0.4), (0.4, 0.6)]
    for index, hole in enumerate(evaluation_masks("object-aware", 12, 64, 0, bins=bins)):
        low, high = bins[index % 3]
        assert low <= hole_ratio(hole) <= high


def test_masks_of_annotated_pictures():
    """Each is called after its picture, and spares the thing that nearly fills it."""
    ids = np.zeros((32, 32), np.int32)
    ids[2:30, 2:30] = 5
    pictures = Listed(Segments(np.zeros((64, 64), np.int32), frozenset()), Segments(ids, frozenset({5})))
    masks = evaluation_masks("object-aware", 24, 64, 0, pictures=pictures)
    assert [masks.name(i) for i in range(5)] == ["0_mask000", "1_mask000", "0_mask001", "1_mask001", "0_mask002"]
    inner = np.zeros((64, 64), bool)
    inner[5:59, 5:59] = True  # eroded by one pixel
    covered = [hole[inner].mean() for hole in list(masks)[1::2]]
    assert all(share <= 0.5 for share in covered)
    assert any(hole[inner].mean() > 0.5 for hole in list(masks)[::2])


def test_what_makes_no_set():
    with pytest.raises(UsageError, match="0 masks; at least 1 is needed"):
        evaluation_masks("thin", 0, 64, 0)
    with pytest.raises(UsageError, match="'round' is no kind of mask"):
        evaluation_masks("round", 1, 64, 0)
    with pytest.raises(UsageError, match="bin 0.4 to 0.2; 0 <= low < high <= 1 is needed"):
        evaluation_masks("thin", 1, 64, 0, bins=[(0.4, 0.2)])
    with pytest.raises(UsageError, match="none of 1000 masks of kind thick covers 0.6 to 0.9"):
        evaluation_masks("thick", 1, 16, 0, bins=[(0.6, 0.9)])[0]
    with pytest.raises(PictureError, match=r"0\.jpg: has no annotation"):
        evaluation_masks("thick", 1, 16, 0, pictures=Listed(None))[0]
    with pytest.raises(IndexError):
        evaluation_masks("thin", 1, 64, 0)[1]
