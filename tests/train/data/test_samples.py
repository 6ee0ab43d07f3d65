import os

import numpy as np
import pytest
from PIL import Image

from cmgan.errors import PictureError, UsageError
from cmgan.imaging.limits import Limits
from cmgan.masks.segments import Segments
from cmgan.train.data.pictures import open_pictures
from cmgan.train.data.samples import TrainingSet
from tests.hostile.generate import cut, encoded, exif_with, photo
from tests.train.data.archives import folder_of, jpegs, tar_of

FILES = jpegs(8)


def no_hole(rng, resolution, segments):
    return np.zeros((resolution, resolution), bool)


class Made:
    """Pictures in memory: PNG files of the arrays, and their annotations."""

    limits = Limits()

    def __init__(self, *arrays, segments=None, **options):
        self.files = [encoded(array, **options) for array in arrays]
        self._segments = segments

    def __len__(self):
        return len(self.files)

    def name(self, index):
        return f"picture {index}"

    def read(self, index):
        return self.files[index]

    def segments(self, index):
        return self._segments


def ramps(width, height):
    """Red grows by one level a pixel to the right, green downwards: where a crop lies can be read off it."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack((x, y, np.zeros_like(x)), axis=2).astype(np.uint8)


def test_a_sample_depends_on_seed_epoch_and_index_only(tmp_path):
    one = TrainingSet(open_pictures(folder_of(tmp_path / "f", FILES)), 32, seed=1)
    other = TrainingSet(open_pictures(tar_of(tmp_path / "f.tar", FILES)), 32, seed=1)
    for epoch, index in ((3, 5), (0, 0), (3, 4)):
        a, b = one.item(epoch, index), other.item(epoch, index)
        assert (a["image"] == b["image"]).all() and (a["hole"] == b["hole"]).all()
    assert a["image"].shape == (32, 32, 3) and a["image"].dtype == np.uint8
    assert a["hole"].shape == (32, 32) and a["hole"].dtype == bool
    reseeded = TrainingSet(one.pictures, 32, seed=2)
    for c in (one.item(4, 4), one.item(3, 5), reseeded.item(3, 4)):
        assert (a["image"] != c["image"]).any() and (a["hole"] != c["hole"]).any()


@pytest.fixture(scope="module")
def squares():
    """Where 200 crops of a 240 x 160 picture at R = 40 have their columns, then rows, 5 and 34: (200, 4) pixels."""
    samples = TrainingSet(Made(ramps(240, 160)), 40, 0, no_hole)
    images = [samples.item(epoch, 0)["image"].astype(float) for epoch in range(200)]
    return np.array([(i[20, 5, 0], i[20, 34, 0], i[5, 20, 1], i[34, 20, 1]) for i in images])


class TestCrop:
    """On ramps the levels at the borders of a sample say where the square lies; LANCZOS keeps a ramp a ramp."""

    def test_is_a_square_not_stretched(self, squares):
        x0, x1, y0, y1 = squares.T
        assert (np.abs(np.abs(x1 - x0) - (y1 - y0)) <= 2).all()  # levels are whole numbers

    def test_has_sides_from_half_to_the_whole_shorter_side(self, squares):
        side = np.abs(squares[:, 3] - squares[:, 2]) / 29 * 40
        assert side.min() < 90 and side.max() > 150
        assert side.min() > 77 and side.max() < 163

    def test_lies_everywhere_within_the_picture(self, squares):
        centre = squares[:, :2].mean(axis=1)
        assert centre.min() < 70 and centre.max() > 170

    def test_mirrors_half_of_the_pictures_and_turns_none_over(self, squares):
        mirrored = np.mean(squares[:, 1] < squares[:, 0])
        assert 0.35 < mirrored < 0.65  # four standard deviations of 200 draws
        assert (squares[:, 3] > squares[:, 2]).all()

    def test_of_a_picture_smaller_than_the_network_is_its_whole_shorter_side(self):
        samples = TrainingSet(Made(ramps(60, 24)), 64, 0, no_hole)
        for epoch in range(5):
            image = samples.item(epoch, 0)["image"]
            assert image.shape == (64, 64, 3)
            assert image[0, 0, 1] <= 1 and image[-1, 0, 1] >= 22

    def test_never_enlarges_a_picture_that_is_large_enough(self):
        """The smallest crop would have 20 pixels."""
        samples = TrainingSet(Made(ramps(80, 40)), 32, 0, no_hole)
        for epoch in range(20):
            column = samples.item(epoch, 0)["image"][:, 16, 1].astype(int)
            assert column[26] - column[5] >= 20

    def test_of_one_size_only_where_the_smallest_is_the_whole(self):
        samples = TrainingSet(Made(ramps(100, 100)), 50, 0, no_hole, smallest_crop=1.0)
        first, second = samples.item(0, 0)["image"], samples.item(1, 0)["image"]
        assert (first == second).all() or (first == second[:, ::-1]).all()


def test_fine_stripes_become_grey_and_no_moire():
    """A resize without a low-pass filter would show stripes of another period."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    image = TrainingSet(Made(stripes), 48, 0, no_hole, smallest_crop=1.0).item(0, 0)["image"]
    assert np.abs(image[4:-4, 4:-4].astype(int) - 128).max() <= 2


class TestSegments:
    def test_follow_the_crop_and_the_mirror(self):
        """The picture is red where the annotation says 1."""
        picture = photo(200, 150, seed=3)
        ids = (picture[..., 0] > np.median(picture[..., 0])).astype(np.int32)
        picture[..., 0] = ids * 255

        def hole_of(rng, resolution, segments):
            assert segments.things == {1} and segments.ids.shape == (resolution, resolution)
            return segments.ids == 1

        samples = TrainingSet(Made(picture, segments=Segments(ids, frozenset({1}))), 64, 0, hole_of)
        for epoch in range(8):
            sample = samples.item(epoch, 0)
            same = (sample["image"][..., 0] > 127) == sample["hole"]
            assert same.mean() > 0.9  # they differ along outlines, where one is filtered and the other is not
            assert ((sample["image"][:, ::-1, 0] > 127) == sample["hole"]).mean() < 0.9

    def test_may_be_of_another_size_but_not_of_other_proportions(self):
        def hole_of(rng, resolution, segments):
            return segments.ids == 1

        halves = np.repeat(np.arange(2, dtype=np.int32), 50)[None].repeat(75, 0)  # 100 x 75 for a picture of 200 x 150
        picture = np.zeros((150, 200, 3), np.uint8)
        picture[:, 100:] = 255
        samples = TrainingSet(Made(picture, segments=Segments(halves, frozenset())), 64, 0, hole_of)
        sample = samples.item(0, 0)
        assert ((sample["image"][..., 0] > 127) == sample["hole"]).mean() > 0.97
        wrong = TrainingSet(Made(picture, segments=Segments(halves[:50], frozenset())), 64, 0, hole_of)
        with pytest.raises(PictureError, match="proportions"):
            wrong.item(0, 0)


class TestKinds:
    @pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "RGBA", "LA"])
    def test_become_rgb(self, mode):
        image = Image.fromarray(photo(80, 60)).convert(mode)
        samples = TrainingSet(Made(image, format="TIFF" if mode == "CMYK" else "PNG"), 32, 0)
        samples.pictures.limits = Limits(formats=("png", "tiff"))
        assert samples.item(0, 0)["image"].shape == (32, 32, 3)

    def test_are_turned_upright(self):
        """Orientation 6: stored lying on its left side."""
        data = ramps(80, 80)
        samples = TrainingSet(Made(np.rot90(data).copy(), exif=exif_with({0x0112: 6})), 40, 0, no_hole)
        plain = TrainingSet(Made(data), 40, 0, no_hole)
        assert (samples.item(0, 0)["image"] == plain.item(0, 0)["image"]).all()

    def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(self):
        """libjpeg's own scaling comes before ours: the same picture but for rounding and filters."""
        coarse = Image.fromarray(photo(8, 8)).resize((512, 512), Image.Resampling.BICUBIC)
        jpeg = TrainingSet(Made(coarse, format="JPEG", quality=95, subsampling=0), 48, 0, no_hole).item(0, 0)["image"]
        png = TrainingSet(Made(coarse), 48, 0, no_hole).item(0, 0)["image"]
        assert np.abs(jpeg.astype(int) - png).mean() < 2


class TestBadPictures:
    @pytest.fixture
    def folder(self, tmp_path):
        folder = folder_of(tmp_path / "folder", FILES)
        names = sorted(FILES)
        (folder / names[2]).write_bytes(b"no picture")
        (folder / names[3]).write_bytes(cut(FILES[names[3]], 0.5))
        return folder

    def test_end_training_by_name(self, folder):
        samples = TrainingSet(open_pictures(folder), 32, 0)
        samples.item(0, 1)
        for index in (2, 3):
            with pytest.raises(PictureError) as caught:
                samples.item(0, index)
            assert sorted(FILES)[index] in str(caught.value)

    def test_are_passed_over_with_a_warning_and_counted(self, folder, caplog):
        samples = TrainingSet(open_pictures(folder), 32, 0, bad="skip")
        assert [samples.item(0, index)["skipped"] for index in range(5)] == [0, 0, 2, 1, 0]
        assert [record.slug for record in caplog.records] == ["picture_skipped"] * 3
        assert sorted(FILES)[2] in caplog.text

    def test_the_next_good_one_stands_in_with_the_sample_s_own_chance(self, folder, tmp_path):
        names = sorted(FILES)
        mended = folder_of(tmp_path / "mended", {**FILES, names[3]: FILES[names[4]]})
        stand_in = TrainingSet(open_pictures(folder), 32, 0, bad="skip").item(5, 3)
        expected = TrainingSet(open_pictures(mended), 32, 0).item(5, 3)
        assert (stand_in["image"] == expected["image"]).all() and (stand_in["hole"] == expected["hole"]).all()

    def test_the_first_stands_in_for_the_last(self, folder):
        (folder / max(FILES)).unlink()
        pictures = open_pictures(folder)
        (folder / sorted(FILES)[-2]).unlink()  # gone since
        assert TrainingSet(pictures, 32, 0, bad="skip").item(0, len(pictures) - 1)["skipped"] == 1

    @pytest.mark.parametrize("bad", ["fail", "skip"])
    def test_one_cut_or_gone_since_the_start_is_a_bad_one(self, bad, tmp_path):
        folder = folder_of(tmp_path / "folder", FILES)
        samples = TrainingSet(open_pictures(folder), 32, 0, bad=bad)
        os.truncate(folder / sorted(FILES)[0], 300)
        if bad == "skip":
            assert samples.item(0, 0)["skipped"] == 1
        else:
            with pytest.raises(PictureError):
                samples.item(0, 0)

    def test_only_bad_ones_end_training(self, tmp_path):
        pictures = open_pictures(folder_of(tmp_path / "folder", dict.fromkeys(FILES, b"x")))
        with pytest.raises(PictureError, match="8 pictures in a row"):
            TrainingSet(pictures, 32, 0, bad="skip").item(0, 0)

    def test_limits_hold(self, tmp_path):
        path = folder_of(tmp_path / "folder", FILES)
        samples = TrainingSet(open_pictures(path, limits=Limits(max_pixels=96 * 72 - 1)), 32, 0)
        with pytest.raises(PictureError, match="6911"):
            samples.item(0, 0)


@pytest.mark.parametrize("wrong", [{"bad": "ignore"}, {"smallest_crop": 0.0}, {"smallest_crop": 1.5}])
def test_rules_that_are_none_are_refused(wrong):
    with pytest.raises(UsageError):
        TrainingSet(Made(photo(40, 40)), 32, 0, **wrong)
