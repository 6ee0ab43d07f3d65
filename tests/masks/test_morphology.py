"""Growing and shrinking against their definition: one step of a cross after the other, distances pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from cmgan.masks.morphology import dilated_by_cross, eroded_by_cross


def _one_step(mask):
    """A pixel, or one of its four neighbours inside the picture."""
    grown = mask.copy()
    for y, x in np.argwhere(mask):
        for row, column in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
                grown[row, column] = True
    return grown


def _masks():
    rng = np.random.default_rng(0)
    yield np.zeros((9, 9), bool)
    yield np.ones((9, 9), bool)
    corner = np.zeros((7, 23), bool)  # narrower than most reaches
    corner[0, 0] = True
    yield corner
    for share in (0.003, 0.02, 0.3):
        yield rng.random((31, 40)) < share


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 20])
def test_dilation_is_as_many_steps_of_a_cross(steps):
    for mask in _masks():
        expected = mask
        for _ in range(steps):
            expected = _one_step(expected)
        assert np.array_equal(dilated_by_cross(mask, steps), expected)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_erosion_keeps_what_is_farther_from_every_pixel_outside(steps):
    blob = np.zeros((31, 40), bool)
    blob[5:20, :17] = True  # at the border of the picture, which is no edge
    blob[12, 9] = False
    for mask in (*_masks(), blob):
        outside = np.argwhere(~mask)
        expected = mask.copy()
        for y, x in np.argwhere(mask):
            expected[y, x] = not any(abs(y - row) + abs(x - column) <= steps for row, column in outside)
        assert np.array_equal(eroded_by_cross(mask, steps), expected)
