"""Fillings without a network against their definitions, written out pixel by pixel, and what they do on known cases."""

import sys
from itertools import product

import numpy as np
import pytest
from PIL import Image

from cmgan.errors import MissingError
from cmgan.evaluate.fillings import FILLINGS, harmonic, push_pull
from tests.tolerances import tolerance

SIDE = 32


@pytest.fixture
def picture():
    coarse = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


@pytest.fixture
def holes():
    """In the middle, at a corner, in two parts of which one is a row at the border, and all but one pixel."""
    result = np.zeros((4, SIDE, SIDE), bool)
    result[0, 9:14, 11:15] = True
    result[1, 20:, 18:] = True
    result[2, 0], result[2, 10:20, 3:29] = True, True
    result[3] = True
    result[3, 7, 5] = False
    return result


@pytest.mark.parametrize("name", FILLINGS)
def test_fills_the_hole_only_and_alike_again(name, picture, holes):
    for hole in holes[:3]:
        filled = FILLINGS[name](picture, hole)
        assert filled.dtype == np.uint8
        np.testing.assert_array_equal(filled[~hole], picture[~hole])
        assert (filled[hole] != picture[hole]).any()
        np.testing.assert_array_equal(filled, FILLINGS[name](picture, hole))


@pytest.mark.parametrize("name", FILLINGS)
def test_what_lies_in_the_hole_is_not_seen(name, picture, holes):
    for hole in holes[:3]:
        other = np.where(hole[..., None], 255 - picture, picture)
        np.testing.assert_array_equal(FILLINGS[name](picture, hole), FILLINGS[name](other, hole))


@pytest.mark.parametrize("name", [name for name in FILLINGS if name != "telea"])  # which cuts off instead of rounding
def test_a_picture_of_one_colour_is_filled_with_it(name, holes):
    flat = np.full((SIDE, SIDE, 3), (10, 120, 240), np.uint8)
    np.testing.assert_array_equal(FILLINGS[name](flat, holes[1]), flat)


def test_mean_is_that_of_the_known_pixels(picture, holes):
    filled = FILLINGS["mean"](picture, holes[0])
    np.testing.assert_array_equal(filled[10, 12], picture[~holes[0]].mean(axis=0).round())


def test_harmonic_is_where_averaging_neighbours_ends(picture, holes):
    """Gauss-Seidel until nothing moves; a pixel at the border has fewer neighbours."""
    part = picture[:9, :8]
    for hole in (holes[0, 6:15, 8:16], holes[2, :9, :8], holes[3, :9, :8]):
        values = np.where(hole[..., None], 128.0, part)
        for _ in range(1500):
            for y, x in np.argwhere(hole):
                around = [(y + a, x + b) for a, b in ((-1, 0), (1, 0), (0, -1), (0, 1))]
                values[y, x] = sum(inside := [values[p] for p in around if 0 <= p[0] < 9 and 0 <= p[1] < 8]) / len(
                    inside
                )
        assert np.abs(harmonic(part, hole) - values).max() <= tolerance("rounded_level")


def test_push_pull_by_its_definition(picture, holes):
    """A cell is the mean of those of its four that are known; the others are interpolated between cells above."""

    for hole, channel in product(holes, range(3)):
        filled = push_pull(picture, hole)[..., channel]
        assert np.abs(filled - _cells(picture[..., channel], hole)).max() <= tolerance("rounded_level")


def _cells(values, hole):
    """The definition for one channel of a side that is a power of two; NaN is what nothing is known of."""
    level = np.where(hole, np.nan, values)
    if len(level) > 1:
        above = np.full((len(level) // 2, len(level) // 2), np.nan)
        for y, x in product(range(len(above)), repeat=2):
            known = [v for v in level[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].flat if not np.isnan(v)]
            above[y, x] = np.mean(known) if known else np.nan
        above = _cells(above, np.isnan(above))
        for y, x in np.argwhere(hole):
            level[y, x] = _between(above, (y - 0.5) / 2, (x - 0.5) / 2)
    return level


def _between(level, y, x):
    """Bilinear, the border continued; coordinates of cell centres."""
    last = len(level) - 1
    top, left = int(np.floor(y)), int(np.floor(x))
    rows, columns = np.clip([top, top + 1], 0, last), np.clip([left, left + 1], 0, last)
    down, along = y - top, x - left
    return np.array([1 - down, down]) @ level[np.ix_(rows, columns)] @ np.array([1 - along, along])


def test_push_pull_of_an_odd_side(picture):
    part, hole = picture[:21, :13], np.zeros((21, 13), bool)
    hole[5:, 4:] = True
    filled = push_pull(part, hole)
    assert filled.shape == part.shape
    assert filled[hole].min() >= part[~hole].min() and filled[hole].max() <= part[~hole].max()


@pytest.mark.parametrize(("name", "package"), [("telea", "cv2"), ("patchmatch", "patchmatch"), ("harmonic", "scipy")])
def test_a_missing_package_is_named(name, package, picture, holes, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)  # Python's own way to say that there is none
    with pytest.raises(MissingError, match=rf"baseline {name} needs {package}.*cmgan\[eval\]"):
        FILLINGS[name](picture, holes[0])
