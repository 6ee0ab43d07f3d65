"""What a picture becomes in memory: upright, 8 bits, RGB; and what it carries."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from cmgan.errors import PictureError
from cmgan.imaging.decode import upright
from cmgan.imaging.limits import Limits
from cmgan.imaging.mask import alpha_mask
from cmgan.imaging.picture import load_picture
from cmgan.imaging.save import save_picture
from tests.hostile import generate as g

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

SMALL = g.photo(40, 30)
ORIENTATION, GPS = 0x0112, 0x8825

# TIFF 6.0, tag 274: the six pixels 1 2 3 / 4 5 6 as stored, and as they are to be shown
SHOWN = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}


class TestOrientation:
    @pytest.mark.parametrize("value", SHOWN)
    def test_table(self, value):
        turned = upright(np.array(SHOWN[1]), value)
        assert turned.tolist() == SHOWN[value] and turned.flags.c_contiguous

    @pytest.mark.parametrize("value", SHOWN)
    @pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
    def test_in_files(self, format, value):
        data = g.encoded(SMALL, format, exif=g.exif_with({ORIENTATION: value}))
        picture = load_picture(data)
        assert (picture.rgb == upright(np.asarray(Image.open(io.BytesIO(data))), value)).all()
        assert picture.size == ((30, 40) if value >= 5 else (40, 30))
        assert picture.turned == (value >= 5)

    @pytest.mark.parametrize("value", [0, 9, 65535])
    def test_values_out_of_range_mean_upright(self, value):
        picture = load_picture(g.encoded(SMALL, exif=g.exif_with({ORIENTATION: value})))
        assert (picture.rgb == SMALL).all() and not picture.turned

    def test_alpha_turns_with_the_colours(self):
        rgba = np.dstack([SMALL, SMALL[..., 0]])
        picture = load_picture(g.encoded(rgba, exif=g.exif_with({ORIENTATION: 6})))
        assert (picture.alpha == picture.rgb[..., 0]).all() and picture.size == (30, 40)

    def test_unreadable_exif_means_upright(self):
        broken = b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(20)
        assert (load_picture(g.encoded(SMALL, exif=broken)).rgb == SMALL).all()

    def test_tiff_is_turned_once(self):
        data = g.encoded(SMALL, "TIFF", exif=g.exif_with({ORIENTATION: 6}))
        picture = load_picture(data, Limits(formats=("tiff",)))
        assert (picture.rgb == upright(SMALL, 6)).all()


class TestSamples:
    def test_every_16_bit_grey_value(self):
        values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
        expected = np.rint(values.astype(np.float64) / 257).repeat(3, axis=2)
        assert (load_picture(g.png(values, 0)).rgb == expected).all()

    @pytest.mark.parametrize("interlaced", [False, True])
    @pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
    def test_16_bits(self, colour, channels, interlaced):
        values = np.random.default_rng(0).integers(0, 65536, (30, 40, channels), dtype=np.uint16)
        picture = load_picture(g.png(values, colour, interlaced=interlaced))
        expected = np.rint(values.astype(np.float64) / 257)
        assert (picture.rgb == (expected[..., :3] if colour in (2, 6) else expected[..., :1])).all()
        assert picture.alpha is None if colour in (0, 2) else (picture.alpha == expected[..., -1]).all()

    @pytest.mark.parametrize("depth", [1, 2, 4])
    def test_few_bits(self, depth):
        values = np.random.default_rng(0).integers(0, 2**depth, (30, 40))
        expected = values * 255 // (2**depth - 1)
        assert (load_picture(g.png_packed(values, depth)).rgb == expected[..., None]).all()

    def test_palette_with_and_without_transparency(self):
        flat = Image.fromarray(SMALL).quantize(16)
        picture = load_picture(g.encoded(flat))
        assert (picture.rgb == np.asarray(flat.convert("RGB"))).all() and picture.alpha is None
        hidden = int(np.asarray(flat)[0, 0])
        picture = load_picture(g.encoded(flat, transparency=hidden))
        assert (picture.alpha == np.where(np.asarray(flat) == hidden, 0, 255)).all()

    def test_colour_key(self):
        key = tuple(int(v) for v in SMALL[3, 3])
        picture = load_picture(g.encoded(SMALL, transparency=key))
        assert (picture.alpha == np.where((SMALL == key).all(axis=2), 0, 255)).all()

    @pytest.mark.parametrize("interlaced", [False, True])
    @pytest.mark.parametrize("colour", [0, 2])
    def test_colour_key_of_16_bits(self, colour, interlaced):
        """Its low byte counts: neighbours that become the same 8-bit colour stay opaque."""
        values = np.full((30, 40, 3 if colour else 1), 0x1234, np.uint16)
        values[:, 20:] += 1
        key = g.chunk(b"tRNS", values[0, 0].astype(">u2").tobytes())
        picture = load_picture(g.png(values, colour, extra=key, interlaced=interlaced))
        assert (picture.rgb == 0x12).all()
        assert (picture.alpha[:, :20] == 0).all() and (picture.alpha[:, 20:] == 255).all()
        hole = alpha_mask(picture)
        assert hole[:, :20].all() and not hole[:, 20:].any()

    @pytest.mark.parametrize("depth", [1, 2, 4, 8])
    def test_colour_key_of_few_bits(self, depth):
        """The bits above the depth do not count (PNG specification, 11.3.1.1)."""
        values = np.random.default_rng(0).integers(0, 2**depth, (30, 40))
        key = g.chunk(b"tRNS", (0xFF00 + 1).to_bytes(2, "big"))
        data = (
            g.png(values[..., None].astype(np.uint8), 0, extra=key) if depth == 8 else g.png_packed(values, depth, key)
        )
        picture = load_picture(data)
        assert (picture.alpha == np.where(values == 1, 0, 255)).all()
        assert (picture.rgb[..., 0] == values * 255 // (2**depth - 1)).all()

    @pytest.mark.parametrize("format", ["PNG", "JPEG"])
    def test_grey(self, format):
        data = g.encoded(SMALL[..., 1], format)
        picture = load_picture(data)
        assert (picture.rgb == np.asarray(Image.open(io.BytesIO(data)))[..., None]).all()
        assert picture.rgb.shape == (30, 40, 3) and picture.grey

    def test_grey_with_alpha(self):
        grey = Image.fromarray(SMALL[..., :2].copy(), "LA")
        picture = load_picture(g.encoded(grey))
        assert (picture.rgb == SMALL[..., :1]).all() and (picture.alpha == SMALL[..., 1]).all()

    def test_cmyk_has_the_right_colours(self):
        inks = {(0, 255, 255, 0): (255, 0, 0), (255, 0, 255, 0): (0, 255, 0), (0, 0, 0, 255): (0, 0, 0)}
        for ink, colour in inks.items():
            rgb = load_picture(g.encoded(Image.new("CMYK", (32, 32), ink), "JPEG", quality=100)).rgb
            assert ((rgb > 127) == (np.array(colour) > 127)).all()

    def test_interlaced_twin(self):
        straight, interlaced = (g.png(SMALL, 2, interlaced=i) for i in (False, True))
        assert straight != interlaced
        assert (load_picture(straight).rgb == load_picture(interlaced).rgb).all()
        assert (load_picture(straight).rgb == SMALL).all()

    def test_floating_point_is_refused(self):
        data = g.encoded(Image.new("F", (32, 32)), "TIFF")
        with pytest.raises(PictureError, match="kind F"):
            load_picture(data, Limits(formats=("tiff",)))


class TestBaggage:
    def test_profile_travels_and_pixels_stay(self):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        picture = load_picture(g.encoded(SMALL, icc_profile=profile))
        assert picture.icc == profile and (picture.rgb == SMALL).all()

    @pytest.mark.parametrize(
        "profile",
        [
            b"no profile at all",
            g.rgb_profile()[:-1],
            g.rgb_profile(space=b"CMYK"),
            g.rgb_profile(space=b"GRAY"),
            g.rgb_profile(2**20 + 1),
        ],
    )
    def test_bad_profiles_are_dropped(self, profile, caplog):
        picture = load_picture(g.encoded(SMALL, "JPEG", icc_profile=profile))
        assert picture.icc is None
        assert [record.slug for record in caplog.records] == ["icc_dropped"]

    def test_position_and_comments_stay_behind_unless_asked(self):
        gps = {1: "N", 2: (50.0, 0.0, 0.0)}
        exif = g.exif_with({ORIENTATION: 6, 0x010F: "Maker", GPS: gps})
        data = g.encoded(SMALL, "JPEG", exif=exif)
        for keep in (False, True):
            picture = load_picture(data, keep_metadata=keep)
            for format in ("PNG", "JPEG", "WEBP"):
                stream = io.BytesIO()
                save_picture(stream, picture, format=format)
                kept = Image.open(stream).getexif()
                assert ORIENTATION not in kept
                assert kept.get(0x010F) == ("Maker" if keep else None)
                assert dict(kept.get_ifd(GPS)) == (gps if keep else {})

    def test_png_text(self):
        data = g.png(SMALL, 2, extra=g.chunk(b"tEXt", b"Title\0A title"))
        for keep in (False, True):
            stream = io.BytesIO()
            save_picture(stream, load_picture(data, keep_metadata=keep))
            assert Image.open(stream).text == ({"Title": "A title"} if keep else {})
