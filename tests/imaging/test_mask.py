"""Masks: which pixels are hole, what is refused, what is warned of."""

import io

import numpy as np
import pytest
from PIL import Image

from cmgan.errors import PictureError, UsageError
from cmgan.imaging.mask import MaskOptions, alpha_mask, box_mask, check_hole, load_mask, parse_box
from cmgan.imaging.picture import Picture, load_picture
from tests.hostile import generate as g

PICTURE = Picture(g.photo(40, 30))
SHAPE = np.zeros((30, 40), bool)
SHAPE[5:15, 8:20] = True


def mask(array, options=None, picture=PICTURE):
    data = array if isinstance(array, bytes) else g.encoded(np.asarray(array))
    return load_mask(data, picture, options=options)


def white(where):
    return where.astype(np.uint8) * 255


def slugs(caplog):
    return [record.slug for record in caplog.records if hasattr(record, "slug")]


def rgba(colour, alpha):
    return np.dstack([colour, colour, colour, alpha]).astype(np.uint8)


class TestThreshold:
    def test_every_value(self):
        values = np.arange(1200).reshape(30, 40).astype(np.uint8)
        assert (mask(values) == (values >= 128)).all()
        assert (mask(values, MaskOptions(threshold=200)) == (values >= 200)).all()
        assert (mask(values, MaskOptions(threshold=1, invert=True)) == (values == 0)).all()

    def test_one_bit_file(self):
        assert (mask(g.png_packed(SHAPE, 1)) == SHAPE).all()

    def test_saved_as_0_and_1(self, caplog):
        assert not mask(SHAPE.astype(np.uint8)).any()
        assert slugs(caplog) == ["mask_levels"] and "saved as 0/1? --mask-threshold 1" in caplog.text
        assert (mask(SHAPE.astype(np.uint8), MaskOptions(threshold=1)) == SHAPE).all()

    @pytest.mark.parametrize("threshold", [0, 256, -1])
    def test_out_of_range(self, threshold):
        with pytest.raises(UsageError, match=f"threshold {threshold}"):
            MaskOptions(threshold=threshold)

    @pytest.mark.parametrize(
        "index",
        [(7, 9), (slice(None), 9), (0, slice(None)), (-1, slice(None)), (slice(None), 0), (slice(None), -1), (0, 0)],
    )
    def test_thin_and_at_the_border(self, index):
        hole = np.zeros_like(SHAPE)
        hole[index] = True
        assert (mask(white(hole)) == hole).all()


def checked(hole, options=None):
    check_hole(hole, options or MaskOptions(), "mask")
    return hole


class TestShare:
    def test_empty_is_no_matter_here(self, caplog):
        assert not mask(white(np.zeros_like(SHAPE))).any()
        assert slugs(caplog) == []  # the Inpainter warns

    def test_full(self):
        with pytest.raises(PictureError, match="--allow-full-mask") as caught:
            checked(mask(white(np.ones_like(SHAPE))))
        assert caught.value.slug == "mask_full" and "--invert-mask" in caught.value.message
        assert checked(mask(white(np.ones_like(SHAPE))), MaskOptions(allow_full=True)).all()
        with pytest.raises(PictureError, match="hole"):
            checked(mask(white(np.zeros_like(SHAPE)), MaskOptions(invert=True)))

    def test_inverted_by_mistake(self, caplog):
        assert checked(mask(white(~SHAPE))).mean() == 0.9
        assert slugs(caplog) == ["mask_large"] and "90% of the picture" in caplog.text
        assert "--invert-mask" in caplog.text

    def test_no_warning_up_to_60_percent(self, caplog):
        hole = np.zeros_like(SHAPE)
        hole[:18] = True
        checked(mask(white(hole)))
        assert slugs(caplog) == []


class TestChannel:
    @pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255), (200, 0, 100)])
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
    def test_dark_colours_are_taken_where_luminance_marks_nothing(self, colour, mode, caplog):
        strokes = np.zeros((30, 40, 3), np.uint8)
        strokes[SHAPE] = colour
        data = g.encoded(Image.fromarray(strokes).convert(mode))
        assert (mask(data) == SHAPE).all()
        assert slugs(caplog) == ["mask_colour"] and "--mask-channel" in caplog.text
        assert (mask(data, MaskOptions(invert=True)) == ~SHAPE).all()

    def test_red_strokes_are_no_hole_by_luminance_alone(self, caplog):
        strokes = np.zeros((30, 40, 3), np.uint8)
        strokes[SHAPE, 0] = 255
        assert not mask(strokes, MaskOptions(channel="luma")).any()
        assert slugs(caplog) == ["mask_red"] and "luminance (76)" in caplog.text and "--mask-channel red" in caplog.text
        assert (mask(strokes, MaskOptions(channel="red")) == SHAPE).all()

    def test_the_hint_is_about_the_channel_that_was_read(self, caplog):
        red = np.dstack([np.full((30, 40), 255), np.zeros((30, 40, 2)), np.full((30, 40), 9)]).astype(np.uint8)
        assert not mask(red, MaskOptions(channel="alpha")).any()
        assert slugs(caplog) == []

    def test_luminance_is_that_of_bt_601(self):
        colours = g.photo(40, 30, seed=3)
        luma = np.rint(colours @ np.array([299, 587, 114]) / 1000)
        # off by rounding at most: values beside the threshold are left out
        clear = np.abs(luma - 128) > 1
        assert (mask(colours)[clear] == (luma >= 128)[clear]).all()

    @pytest.mark.parametrize("colour", [0, 255])
    def test_auto_takes_alpha_where_the_colours_say_nothing(self, colour):
        assert (mask(rgba(np.full((30, 40), colour), white(SHAPE))) == SHAPE).all()

    def test_auto_takes_the_colours_where_they_carry_the_shape(self):
        alpha = np.full((30, 40), 255)
        assert (mask(rgba(white(SHAPE), alpha)) == SHAPE).all()
        alpha[:2] = 0  # a transparent edge changes nothing, and what it hides is no hole
        colour = white(SHAPE)
        colour[:2] = 255
        assert (mask(rgba(colour, alpha)) == SHAPE).all()

    def test_the_choice_is_reported(self, caplog):
        with caplog.at_level("INFO", logger="cmgan"):
            mask(rgba(np.full((30, 40), 255), white(SHAPE)))
        assert "taken from its alpha" in caplog.text

    @pytest.mark.parametrize("colour", [0, 255])
    def test_wholly_transparent_is_empty(self, colour):
        assert not mask(rgba(np.full((30, 40), colour), np.zeros((30, 40)))).any()

    def test_explicit(self):
        both = rgba(white(SHAPE), white(SHAPE.T.reshape(30, 40)))
        assert (mask(both, MaskOptions(channel="alpha")) == SHAPE.T.reshape(30, 40)).all()
        assert (mask(both, MaskOptions(channel="luma")) == SHAPE).all()

    def test_no_alpha_to_take(self):
        with pytest.raises(PictureError, match="no alpha") as caught:
            mask(white(SHAPE), MaskOptions(channel="alpha"))
        assert caught.value.slug == "mask_channel"

    def test_unknown(self):
        with pytest.raises(UsageError, match="auto, luma, alpha, red"):
            MaskOptions(channel="green")


class TestSize:
    def test_both_sizes_are_named(self):
        with pytest.raises(PictureError, match="mask is 40x30, the picture 80x60 as shown; --resize-mask") as caught:
            mask(white(SHAPE), picture=Picture(g.photo(80, 60)))
        assert caught.value.slug == "mask_size"

    def test_resize_is_nearest(self):
        values = np.arange(1200).reshape(30, 40).astype(np.uint8)
        expected = values.repeat(2, axis=0).repeat(2, axis=1) >= 128
        assert (mask(values, MaskOptions(resize=True), Picture(g.photo(80, 60))) == expected).all()

    def test_mask_of_the_unturned_picture(self):
        picture = load_picture(g.encoded(g.photo(40, 30), exif=g.exif_with({0x0112: 6})))
        assert picture.size == (30, 40)
        with pytest.raises(PictureError, match="before its EXIF turn"):
            mask(white(SHAPE), picture=picture)
        assert (mask(white(SHAPE.T), picture=picture) == SHAPE.T).all()

    def test_mask_with_a_turn_of_its_own(self):
        turned = g.encoded(white(SHAPE), exif=g.exif_with({0x0112: 3}))
        assert (mask(turned) == SHAPE[::-1, ::-1]).all()


class TestPhotograph:
    def test_both_files_are_named(self, tmp_path, caplog):
        """The usual cause: the arguments are the other way round."""
        (tmp_path / "photo.png").write_bytes(g.encoded(g.photo(40, 30)))
        (tmp_path / "mask.png").write_bytes(g.encoded(white(SHAPE)))
        load_mask(tmp_path / "photo.png", load_picture(tmp_path / "mask.png"))
        assert "mask_photograph" in slugs(caplog)
        assert "photo.png: " in caplog.text and "mask.png?" in caplog.text

    @pytest.mark.parametrize(("share", "warned"), [(0.4, False), (0.6, True)])
    @pytest.mark.parametrize("value", [16, 127, 240])
    def test_what_counts_is_most_of_the_values(self, share, warned, value, caplog):
        values = np.zeros((30, 40), np.uint8)
        values[: int(30 * share)] = value
        mask(values)
        assert ("mask_photograph" in slugs(caplog)) == warned

    @pytest.mark.parametrize("value", [15, 241])
    def test_blurred_black_and_white_are_no_photograph(self, value, caplog):
        mask(np.full((30, 40), value, np.uint8), MaskOptions(allow_full=True))
        assert "mask_photograph" not in slugs(caplog)


class TestFiles:
    @pytest.mark.parametrize("content", [b"not a picture", b"\0\0\0\x18ftypmp42" + bytes(100)])
    def test_the_mask_is_named(self, tmp_path, content):
        (tmp_path / "mask.png").write_bytes(content)
        with pytest.raises(PictureError) as caught:
            load_mask(tmp_path / "mask.png", PICTURE)
        assert caught.value.slug == "image_format" and "mask.png" in str(caught.value)

    def test_several_frames(self):
        frames = [Image.fromarray(white(np.roll(SHAPE, i))) for i in range(2)]
        with pytest.raises(PictureError, match="2 frames"):
            mask(g.encoded(frames[0], save_all=True, append_images=frames[1:]))

    def test_stream(self):
        assert (load_mask(io.BytesIO(g.encoded(white(SHAPE))), PICTURE) == SHAPE).all()


class TestAlphaOfThePicture:
    def test_transparent_is_hole(self):
        picture = Picture(PICTURE.rgb, white(~SHAPE))
        assert (alpha_mask(picture) == SHAPE).all()
        assert (alpha_mask(picture, MaskOptions(invert=True)) == ~SHAPE).all()

    def test_without_alpha(self):
        with pytest.raises(PictureError, match="no transparency") as caught:
            alpha_mask(PICTURE, name="a.png")
        assert caught.value.file == "a.png"

    def test_wholly_transparent(self):
        with pytest.raises(PictureError, match="whole picture is hole"):
            checked(alpha_mask(Picture(PICTURE.rgb, np.zeros((30, 40), np.uint8))))


class TestBoxes:
    def test_union(self):
        hole = box_mask([parse_box("8,5,12,10"), parse_box(" 0, 0, 1, 30")], PICTURE)
        expected = SHAPE.copy()
        expected[:, 0] = True
        assert (hole == expected).all()

    @pytest.mark.parametrize(
        "text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,-3,4", "1,2,0,4", "1,2,3,0", "1.5,2,3,4"]
    )
    def test_bad_text(self, text):
        with pytest.raises(UsageError) as caught:
            parse_box(text)
        assert caught.value.slug == "box"

    def test_leaving_the_picture(self):
        with pytest.raises(UsageError, match="box 30,5,11,10 leaves the picture, which is 40x30"):
            box_mask([(30, 5, 11, 10)], PICTURE)
