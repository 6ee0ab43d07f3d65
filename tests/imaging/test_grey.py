"""What is painted into a picture without colour."""

import numpy as np

from cmgan.imaging.grey import without_colour
from tests.hostile.generate import photo

HOLE = np.zeros((30, 40), bool)
HOLE[5:15, 8:20] = True
PAINTED = photo(40, 30, seed=1)


def decoloured(image, hole=HOLE):
    canvas = np.where(hole[..., None], PAINTED, image)
    without_colour(canvas, image, hole)
    return canvas


def test_the_luminance_of_bt_601_stays():
    grey = photo(40, 30)[..., :1].repeat(3, axis=2)
    result = decoloured(grey)
    luma = np.rint(PAINTED.astype(np.float64) @ (0.299, 0.587, 0.114))
    assert (result[HOLE] == luma[HOLE][:, None]).all() and (result[~HOLE] == grey[~HOLE]).all()


def test_one_known_pixel_with_colour_is_enough():
    image = np.full((600, 40, 3), 90, np.uint8)
    hole = np.zeros((600, 40), bool)
    hole[300] = True
    for row, kept in ((300, False), (599, True)):  # in the hole: a mark that is to be removed
        marked = image.copy()
        marked[row, 3] = 200, 10, 10
        canvas = marked.copy()
        canvas[300] = 10, 20, 30
        without_colour(canvas, marked, hole)
        assert (canvas[300] == ((10, 20, 30) if kept else (18, 18, 18))).all()


def test_where_nothing_is_known_the_whole_picture_decides():
    everything = np.ones_like(HOLE)
    assert (decoloured(photo(40, 30), everything) == PAINTED).all()
    result = decoloured(np.zeros_like(PAINTED), everything)
    assert (result == result[..., :1]).all()
