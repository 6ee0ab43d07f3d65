"""Windows: what the network sees, and where its answer goes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cmgan.imaging.holes import Box, find_holes
from cmgan.inpaint.strategies import plan
from cmgan.inpaint.tiles import paste_row, plan_tiles
from cmgan.inpaint.windows import Window, cut, paste, placed

R = 32
sizes = st.tuples(st.integers(1, 150), st.integers(1, 150))


def picture(shape, seed, share=0.1):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*shape, 3), dtype=np.uint8), rng.random(shape) < share


@st.composite
def windows(draw):
    """A picture's (height, width) and a square window with at least one pixel in it."""
    height, width = draw(sizes)
    side = draw(st.one_of(st.just(R), st.integers(1, 200)))
    return (height, width), Window(
        draw(st.integers(1 - side, width - 1)), draw(st.integers(1 - side, height - 1)), side
    )


class TestCut:
    def test_unscaled_inside_is_a_slice(self):
        image, hole = picture((90, 80), 0)
        seen, mask = cut(image, hole, Window(11, 40, R), R)
        assert (seen == image[40:72, 11:43]).all()
        assert (mask == hole[40:72, 11:43] * np.uint8(255)).all() and mask.dtype == np.uint8

    @pytest.mark.parametrize("shape", [(17, 100), (5, 7), (20, 20)])
    def test_beyond_the_picture_it_is_mirrored(self, shape):
        image, hole = picture(shape, 0)
        y, x = -9, -6
        seen, mask = cut(image, hole, Window(x, y, R), R)
        after = ((-y, max(y + R - shape[0], 0)), (-x, max(x + R - shape[1], 0)))
        mirrored = np.pad(image, (*after, (0, 0)), mode="reflect")[:R, :R]
        assert (seen == mirrored).all()
        assert (mask == np.pad(hole, after, mode="reflect")[:R, :R] * np.uint8(255)).all()

    @given(windows(), st.integers(0, 100))
    def test_what_the_hole_holds_never_shows_in_known_pixels(self, case, seed):
        shape, window = case
        image, hole = picture(shape, seed)
        other = np.where(hole[..., None], 255 - image, image)
        (seen, mask), (seen_other, mask_other) = cut(image, hole, window, R), cut(other, hole, window, R)
        assert seen.shape == (R, R, 3) and mask.shape == (R, R) and set(np.unique(mask)) <= {0, 255}
        assert (mask == mask_other).all()
        assert (seen == seen_other)[mask == 0].all()

    @settings(max_examples=15)
    @given(st.integers(1, 100), st.integers(0, 100))
    def test_hole_is_where_any_covered_pixel_is(self, side, seed):
        _, hole = picture((side, side), seed, share=0.02)
        _, mask = cut(np.zeros((side, side, 3), np.uint8), hole, Window(0, 0, side), R)
        expected = np.zeros((R, R), bool)
        for i in range(R):
            rows = [y for y in range(side) if y * R < (i + 1) * side and (y + 1) * R > i * side]
            for j in range(R):
                columns = [x for x in range(side) if x * R < (j + 1) * side and (x + 1) * R > j * side]
                expected[i, j] = hole[np.ix_(rows, columns)].any()
        assert (mask == expected * 255).all()

    def test_without_a_hole_scaling_is_pillows(self):
        image, _ = picture((96, 96), 0)
        seen, _ = cut(image, np.zeros((96, 96), bool), Window(0, 0, 96), R)
        assert (seen == np.asarray(Image.fromarray(image).resize((R, R), Image.Resampling.HAMMING))).all()

    def test_rim_is_known(self):
        image, _ = picture((90, 80), 0)
        _, mask = cut(image, np.ones((90, 80), bool), Window(11, 40, R, rim=(1, 2, 3, 4)), R)
        expected = np.zeros((R, R), np.uint8)
        expected[2 : R - 4, 1 : R - 3] = 255
        assert (mask == expected).all()


class TestPaste:
    @given(windows(), st.integers(0, 100))
    def test_only_the_hole_inside_the_window_changes(self, case, seed):
        shape, window = case
        image, hole = picture(shape, seed)
        canvas = image // 2
        before = canvas.copy()
        paste(canvas, hole, window, np.full((R, R, 3), 200, np.uint8))
        inside = np.zeros(shape, bool)
        inside[window.inside(shape).slices] = True
        assert (canvas[hole & inside] == 200).all()
        assert (canvas[~(hole & inside)] == before[~(hole & inside)]).all()

    @given(windows(), st.integers(0, 100))
    def test_answers_come_back_to_their_place(self, case, seed):
        """What is cut and not painted is what is put back: exactly if unscaled."""
        shape, window = case
        image, _ = picture(shape, seed)
        seen, _ = cut(image, np.zeros(shape, bool), window, R)
        box, part = placed(seen, window, shape)
        assert part.shape == image[box.slices].shape
        if window.side == R:
            assert (part == image[box.slices]).all()

    @pytest.mark.parametrize("side", [20, 64, 100])
    def test_scaled_answers_are_not_shifted(self, side):
        ramp = np.linspace(20, 230, side).astype(np.uint8)[None, :, None].repeat(side, 0).repeat(3, 2)
        for image in (ramp, ramp.swapaxes(0, 1)):
            seen, _ = cut(image, np.zeros((side, side), bool), Window(0, 0, side), R)
            _, part = placed(seen, Window(0, 0, side), image.shape)
            error = part.astype(int) - image
            assert np.abs(error.mean()) < 1  # half a pixel of shift would be 1.6 to 5 levels
            assert np.abs(error).max() <= np.diff(ramp[0, :, 0].astype(int)).max() * side / R


def covered(windows, shape):
    count = np.zeros(shape, int)
    for window in windows:
        count[window.inside(shape).slices] += 1
    return count


def scattered(shape, seed):
    """A few rectangles of hole."""
    rng = np.random.default_rng(seed)
    hole = np.zeros(shape, bool)
    for _ in range(rng.integers(1, 5)):
        y, x, h, w = (rng.integers(0, n) for n in (*shape, 40, 40))
        hole[y : y + h + 1, x : x + w + 1] = True
    return hole


large = st.tuples(st.integers(1, 700), st.integers(1, 700))


class TestPlans:
    @settings(max_examples=60)
    @given(large, st.integers(0, 10**6), st.sampled_from(["crop", "resize", "original"]), st.integers(0, 60))
    def test_every_hole_pixel_is_in_a_window(self, shape, seed, strategy, margin):
        hole = scattered(shape, seed)
        assert covered(plan(strategy, hole, R, margin), shape)[hole].all()

    @settings(max_examples=60)
    @given(large, st.integers(0, 10**6), st.integers(0, 60))
    def test_crops_are_apart_and_hold_each_hole_with_its_margin(self, shape, seed, margin):
        hole = scattered(shape, seed)
        windows = plan("crop", hole, R, margin)
        assert covered(windows, shape).max() == 1
        for box in find_holes(hole):
            wide = box.grown(margin, shape)
            assert any(within(wide, window.inside(shape)) for window in windows)
        for window in windows:
            assert window.side >= R
            for start, length in ((window.x, shape[1]), (window.y, shape[0])):  # inside wherever it can be
                assert 0 <= start <= length - window.side or window.side >= length

    def test_a_small_hole_is_seen_unscaled_and_centred(self):
        hole = np.zeros((300, 400), bool)
        hole[100:104, 200:204] = True
        assert plan("crop", hole, R, 8) == [Window(186, 86, R)]

    def test_near_holes_share_a_crop_and_far_ones_do_not(self):
        hole = np.zeros((600, 1300), bool)
        hole[300:310, 300:310] = hole[300:310, 500:510] = hole[300:310, 1000:1010] = True
        assert plan("crop", hole, R, 128) == [Window(172, 72, 466), Window(872, 172, 266)]
        assert len(plan("crop", hole, R, 20)) == 3

    @settings(max_examples=60)
    @given(large, st.integers(0, 10**6))
    def test_original_never_scales(self, shape, seed):
        assert {w.side for w in plan("original", scattered(shape, seed), R, 0)} == {R}

    @given(large)
    def test_resize_is_the_whole_picture_once(self, shape):
        (window,) = plan("resize", np.ones(shape, bool), R, 0)
        assert window.side == max(shape) and window.inside(shape) == Box(0, 0, shape[1], shape[0])


def within(inner, outer):
    return (
        outer.left <= inner.left
        and outer.top <= inner.top
        and inner.right <= outer.right
        and inner.bottom <= outer.bottom
    )


class TestTiles:
    @settings(max_examples=60)
    @given(large, st.integers(0, 10**6), st.integers(0, R // 2))
    def test_every_hole_pixel_is_inside_the_rim_of_a_tile(self, shape, seed, overlap):
        hole = scattered(shape, seed)
        sure = np.zeros(shape, bool)
        for row in plan_tiles(hole, R, overlap):
            for tile in row:
                _, mask = cut(np.zeros((*shape, 3), np.uint8), hole, tile, R)
                box, part = placed(mask[..., None].repeat(3, 2), tile, shape)
                sure[box.slices] |= part[..., 0] > 0
        assert (sure == hole).all()

    @settings(max_examples=30)
    @given(large, st.integers(0, 10**6), st.integers(0, R // 2))
    def test_nothing_of_a_rim_is_painted(self, shape, seed, overlap):
        """Tiles that answer 200 inside and leave their rim black: no black may come through."""
        hole = scattered(shape, seed)
        canvas = np.full((*shape, 3), 7, np.uint8)
        for row in plan_tiles(hole, R, overlap):
            answers = []
            for tile in row:
                _, mask = cut(canvas, np.ones(shape, bool), tile, R)
                answers.append((tile, np.where(mask[..., None] > 0, np.uint8(200), np.zeros((R, R, 3), np.uint8))))
            paste_row(canvas, hole, answers, overlap)
        reach = canvas[hole]
        assert (reach == 200).all() and (canvas[~hole] == 7).all()

    def test_joins_are_ramps(self):
        """Two tiles of different grey: the join climbs evenly between the rims."""
        hole = np.ones((R, 56), bool)
        canvas = np.zeros((R, 56, 3), np.uint8)
        ((left, right),) = plan_tiles(hole, R, 8)
        assert (left.x, left.rim, right.x, right.rim) == (0, (0, 0, 2, 0), 24, (2, 0, 0, 0))
        grey = [(left, np.full((R, R, 3), 0, np.uint8)), (right, np.full((R, R, 3), 250, np.uint8))]
        paste_row(canvas, hole, grey, 8)
        assert canvas[5, 24:32, 0].tolist() == [0, 0, 50, 100, 150, 200, 250, 250]
        assert (canvas == canvas[5]).all()
