"""The sources of silhouettes, in their order."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cmgan.errors import PictureError, UsageError
from cmgan.masks.config import MaskConfig
from cmgan.masks.segments import Segments
from cmgan.masks.silhouettes import (
    MaskFolder,
    Shapes,
    Things,
    silhouettes_from,
    smoothed_polygon,
    superellipse,
)


class Listed:
    """Pictures with these annotations."""

    def __init__(self, *segments):
        self._segments = segments

    def __len__(self):
        return len(self._segments)

    def name(self, index):
        return f"{index}.jpg"

    def segments(self, index):
        return self._segments[index]


@pytest.fixture
def folder(tmp_path):
    """Two masks, one of another size, grey values around the threshold; and files that do not count."""
    Image.fromarray(np.kron([[127, 128], [0, 0]], np.ones((16, 16))).astype(np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.kron([[0, 0], [0, 255]], np.ones((40, 20))).astype(np.uint8)).save(tmp_path / "b.PNG")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "readme.txt").write_text("no mask")
    return tmp_path


def test_the_first_source_that_there_is(folder):
    pictures = Listed(None)
    assert isinstance(silhouettes_from(folder, pictures), MaskFolder)
    assert isinstance(silhouettes_from(None, pictures), Things)
    assert isinstance(silhouettes_from(), Shapes)


def test_masks_of_a_folder(folder):
    source, rng = MaskFolder(folder), np.random.default_rng(0)
    drawn = {source.draw(rng, 32).tobytes() for _ in range(20)}
    expected = [np.kron(m, np.ones((16, 16))).astype(bool) for m in ([[0, 1], [0, 0]], [[0, 0], [0, 1]])]
    assert drawn == {e.tobytes() for e in expected}


def test_folders_without_masks(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        MaskFolder(tmp_path / "none")
    with pytest.raises(UsageError, match="no picture in it"):
        MaskFolder(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(PictureError, match="header is damaged"):
        MaskFolder(tmp_path).draw(np.random.default_rng(0), 32)


def test_things_of_annotated_pictures():
    """Neither stuff nor what is smaller than a hundredth of its picture."""
    ids = np.zeros((40, 40), np.int32)
    ids[:20] = 1  # stuff
    ids[20:30, :20] = 2
    ids[30:, 20:] = 3
    ids[39, :15] = 4  # 15 of 1,600 pixels
    source, rng = Things(Listed(Segments(ids, frozenset({2, 3, 4}))), MaskConfig()), np.random.default_rng(0)
    drawn = {source.draw(rng, 40).tobytes() for _ in range(60)}
    assert drawn == {(ids == 2).tobytes(), (ids == 3).tobytes()}


def test_without_things_there_are_shapes():
    source = Things(Listed(None, Segments(np.zeros((8, 8), np.int32), frozenset())), MaskConfig())
    shape = source.draw(np.random.default_rng(0), 64)
    assert shape.shape == (64, 64) and shape.any()


def test_shapes_are_seeded_and_hang_together():
    """But for the few that the border of the picture cuts in two."""
    sizes, whole = [], 0
    for seed in range(100):
        shape = Shapes().draw(np.random.default_rng(seed), 128)
        assert np.array_equal(shape, Shapes().draw(np.random.default_rng(seed), 128))
        assert shape.shape == (128, 128) and shape.dtype == bool and not shape.all()
        sizes.append(shape.mean())
        whole += _hangs_together(shape)
    assert len(set(sizes)) > 90
    assert whole > 80


def _hangs_together(shape):
    """Whether a flood fill from one pixel reaches all others."""
    filled, before = np.zeros_like(shape), -1
    filled.flat[shape.argmax()] = True
    while filled.sum() > before:
        before = filled.sum()
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            around = np.roll(filled, step, axis)
            np.moveaxis(around, axis, 0)[0 if step == 1 else -1] = False  # no wrap-around
            filled |= around & shape
    return np.array_equal(filled, shape)


def test_outlines_are_what_they_are_called():
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = abs(superellipse(rng)[1:16]).T  # of the first quarter, without the axes
        exponents = [_exponent(a, b) for a, b in zip(x, y, strict=True)]
        assert max(exponents) - min(exponents) <= 1 / 1024 and 1 - 1 / 1024 <= exponents[0] <= 6
        polygon = smoothed_polygon(rng)
        assert len(polygon) % 8 == 0 and 5 <= len(polygon) // 8 <= 12
        assert np.hypot(*polygon.T).max() <= 1


def _exponent(x, y):
    """The p of x^p + y^p = 1 by bisection, to 1 / 2048."""
    low, high = 0.5, 8.0
    while high - low > 1 / 2048:
        middle = (low + high) / 2
        low, high = (middle, high) if x**middle + y**middle > 1 else (low, middle)
    return low
