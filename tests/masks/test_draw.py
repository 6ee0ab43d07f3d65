"""The rules of object-aware masks: weights, shifts, redraws, the 50 % rule, what a sample depends on."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from cmgan.errors import UsageError
from cmgan.imaging.holes import hull
from cmgan.masks import KINDS, MaskConfig, Segments, draw_mask, hole_ratio, training_mask
from cmgan.masks.config import PUBLISHED, scaled
from cmgan.masks.draw import objects, spare_things
from cmgan.masks.rng import sample_rng


class Fixed:
    """A source of silhouettes that gives these in turn, then the last for ever, and counts."""

    def __init__(self, *masks):
        self.masks, self.drawn = masks, 0

    def draw(self, rng, resolution):
        self.drawn += 1
        return self.masks[min(self.drawn, len(self.masks)) - 1]


def _dot(size, *, row=10, column=20):
    mask = np.zeros((size, size), bool)
    mask[row, column] = True
    return mask


def _is_rectangle(hole):
    return bool(hole[hull(hole).slices].all())


def _within(count, trials, share):
    """Five standard deviations of a binomial count."""
    return abs(count - trials * share) <= 5 * math.sqrt(trials * share * (1 - share))


@pytest.mark.parametrize("kind", KINDS)
def test_masks_keep_their_rules(kind):
    low, high = (0, 0.5) if kind in ("thin", "medium", "thick") else (0.05, 0.99)
    for index in range(1000 if kind == "object-aware" else 150):
        hole = draw_mask(sample_rng(5, 0, index, "mask"), 64, kind)
        assert hole.dtype == bool and hole.shape == (64, 64)
        assert hole.any() and low <= hole_ratio(hole) <= high


def test_modes_have_their_weights():
    """Objects ask for a silhouette; without rectangles to draw from, that mode ends as one plain rectangle."""
    assert PUBLISHED.weights == (45, 45, 10)
    config = MaskConfig(small_rectangles=0, large_rectangles=0)
    counts = {"objects": 0, "free-form": 0, "rectangles": 0}
    for index in range(1000):
        source = Fixed(np.eye(32, dtype=bool))
        hole = training_mask(sample_rng(0, 0, index, "mask"), 32, None, source, config)
        mode = "objects" if source.drawn else "rectangles" if _is_rectangle(hole) else "free-form"
        counts[mode] += 1
    for mode, share in (("objects", 0.45), ("free-form", 0.45), ("rectangles", 0.1)):
        assert _within(counts[mode], 1000, share), counts


def test_a_sample_depends_on_its_place_only():
    def masks(order):
        return {i: training_mask(sample_rng(1, 2, i, "mask"), 64).tobytes() for i in order}

    forward = masks(range(30))
    assert masks(reversed(range(30))) == forward
    assert len(set(forward.values())) == 30


def test_objects_are_mirrored_and_shifted_with_wrap_around():
    size, most = 64, 24  # 192 at 512
    config = replace(PUBLISHED, dilation=0, second_silhouette=0)
    rng, seen = np.random.default_rng(0), []
    for _ in range(2000):
        hole = objects(rng, size, Fixed(_dot(size)), config)
        assert hole.sum() == 1
        seen.append(tuple(np.argwhere(hole)[0].tolist()))
    steps = range(-most, most + 1)
    assert {row for row, _ in seen} == {(10 + step) % size for step in steps}
    assert {column for _, column in seen} == {(c + step) % size for c in (20, 43) for step in steps}
    still = sum(place in ((10, 20), (10, 43)) for place in seen)
    assert _within(still, len(seen), 0.2 + 0.8 / len(steps) ** 2)


def test_one_or_two_silhouettes_share_their_shift_and_grow():
    size = 128
    pair = (_dot(size), _dot(size, row=70, column=90))
    rng, twice = np.random.default_rng(0), 0
    rows, columns = np.indices((size, size))
    for _ in range(300):
        hole = objects(rng, size, Fixed(*pair), replace(PUBLISHED, shifted=0))
        mirrored = not hole[10, 20]
        places = [(10, 20), (70, 90)]
        grown = [abs(rows - y) + abs(columns - (size - 1 - x if mirrored else x)) <= 5 for y, x in places]
        two = bool((hole & grown[1]).any())
        assert np.array_equal(hole, grown[0] | grown[1] if two else grown[0])
        twice += two
    assert _within(twice, 300, 0.5)


def test_small_holes_are_drawn_anew():
    large = np.zeros((64, 64), bool)
    large[20:40, 20:40] = True
    config = MaskConfig(free_form_weight=0, rectangle_weight=0, second_silhouette=0)
    source = Fixed(*[_dot(64)] * 50, large)
    hole = training_mask(np.random.default_rng(0), 64, None, source, config)
    assert source.drawn == 51 and hole.sum() > large.sum()
    source = Fixed(*[_dot(64)] * 51, large)
    for seed in range(60):
        source.drawn = 0
        hole = training_mask(np.random.default_rng(seed), 64, None, source, config)
        assert source.drawn == 51
        assert _is_rectangle(hole) and 1 / 16 <= hole_ratio(hole) <= 1 / 4


def test_a_hole_without_known_pixels_is_drawn_anew():
    config = MaskConfig(free_form_weight=0, rectangle_weight=0, second_silhouette=0)
    source = Fixed(np.ones((64, 64), bool), np.tri(64, dtype=bool))
    assert not training_mask(np.random.default_rng(0), 64, None, source, config).all()
    assert source.drawn == 2


def test_things_covered_by_more_than_half_leave_the_hole():
    size = 512
    ids = np.zeros((size, size), np.int32)
    ids[100:200, 100:200] = 7  # a thing, covered by 51 of 100 rows
    ids[100:200, 300:400] = 8  # a thing, covered by exactly half
    ids[300:400, 100:200] = 9  # stuff, covered whole
    hole = np.zeros((size, size), bool)
    hole[149:200, 100:200] = hole[150:200, 300:400] = hole[300:400, 100:200] = True
    segments = Segments(ids, frozenset({7, 8}))
    seen = set()
    for seed in range(40):
        spared = spare_things(np.random.default_rng(seed), hole, segments, PUBLISHED)
        left = spared[100:200, 100:200]
        margin = next(m for m in range(10) if not left[50:90, m].any())
        expected = hole[100:200, 100:200].copy()
        expected[margin : 100 - margin, margin : 100 - margin] = False  # what is left hides the thing's boundary
        assert np.array_equal(left, expected)
        spared[100:200, 100:200] = hole[100:200, 100:200]
        assert np.array_equal(spared, hole)
        seen.add(margin)
    assert seen == {2, 3, 4}


def test_things_far_inside_the_hole_are_spared_in_training_masks():
    """Nine things on stuff: of each, at most half is hole, but for its eroded pixels and the last resort."""
    ids = np.zeros((128, 128), np.int32)
    for number, (row, column) in enumerate(itertools.product((8, 48, 88), repeat=2), start=1):
        ids[row : row + 32, column : column + 32] = number
    segments = Segments(ids, frozenset(range(1, 10)))
    spared = 0
    for index in range(150):
        hole = training_mask(sample_rng(0, 0, index, "mask"), 128, segments)
        for thing in segments.things:
            pixels = ids == thing
            inner = np.zeros_like(pixels)
            inner[1:-1, 1:-1] = pixels[1:-1, 1:-1] & pixels[2:, 1:-1] & pixels[:-2, 1:-1]
            inner &= np.roll(pixels, 1, 1) & np.roll(pixels, -1, 1)  # eroded by 4 pixels of 512: by one of 128
            share = hole[inner].mean()
            assert share == 0 or (hole & pixels).sum() <= pixels.sum() / 2 or _is_rectangle(hole)
            spared += share == 0 and (hole & pixels).any()
    assert spared  # the rule was at work


def test_pixels_scale_with_the_resolution():
    assert [scaled(20, r) for r in (1024, 512, 256, 16)] == [40, 20, 10, 1]
    assert scaled(0, 512) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shifted": 1.5}, "masks.shifted is 1.5; a number of 0 to 1 is needed"),
        ({"dilation": -1}, "masks.dilation is -1; a number of at least 0 is needed"),
        ({"min_width": 50}, "masks.min_width is 50 and masks.max_width 48; the first must not be above the second"),
        ({"object_weight": 0, "free_form_weight": 0, "rectangle_weight": 0}, r"the three weights of \[masks\] are 0"),
    ],
)
def test_numbers_that_make_no_sense(change, words):
    with pytest.raises(UsageError, match=words):
        MaskConfig(**change)


def test_what_cannot_be_drawn():
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="'round' is no kind of mask; the kinds are object-aware, free-form"):
        draw_mask(rng, 64, "round")
    with pytest.raises(UsageError, match="resolution 8: 16 to 4096 is needed"):
        training_mask(rng, 8)
    with pytest.raises(UsageError, match="segments of 40x30 for a mask of 64x64"):
        training_mask(rng, 64, Segments(np.zeros((30, 40), np.int32), frozenset()))
