"""What a picture becomes in memory: upright, 8 bits, RGB; and what it carries."""

import io
import struct
import zlib
from dataclasses import replace

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


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" tiff:ImageWidth="40"'
    b' tiff:ImageLength="30" dc:title="A title"><exif:PixelXDimension>40</exif:PixelXDimension>'
    b"<xmp:Thumbnails>what the hole held</xmp:Thumbnails></rdf:Description></x:xmpmeta>"
)
XMP_UPRIGHT = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="1" tiff:ImageWidth="30"'
    b' tiff:ImageLength="40" dc:title="A title"><exif:PixelXDimension>30</exif:PixelXDimension>'
    b"</rdf:Description></x:xmpmeta>"
)


def rewritten(data, format, *, keep):
    """The file `data` after loading and saving, opened."""
    stream = io.BytesIO()
    save_picture(stream, load_picture(data, keep_metadata=keep), format=format)
    return Image.open(stream)


class TestKeptMetadata:
    """Of a picture that lies on its side: 40 x 30 as stored, 30 x 40 as shown."""

    def stored(self, format):
        sizes = {0x0100: 40, 0x0101: 30, 0x011A: 300.0, 0x011B: 150.0, 0x0128: 2}
        exif = g.exif_with({ORIENTATION: 6, **sizes, 0x8769: {0xA002: 40, 0xA003: 30, 0x9003: "2020:01:02 03:04:05"}})
        if format == "PNG":
            text = g.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
            pixels = struct.pack(">IIB", round(300 / 0.0254), round(150 / 0.0254), 1)
            return g.png(SMALL, 2, extra=text + g.chunk(b"pHYs", pixels) + g.chunk(b"eXIf", exif[6:]))
        return g.encoded(SMALL, format, exif=exif, xmp=XMP, dpi=(300, 150))

    @pytest.mark.parametrize("before", ["PNG", "JPEG", "WEBP"])
    @pytest.mark.parametrize("after", ["PNG", "JPEG", "WEBP"])
    def test_is_that_of_the_result(self, before, after):
        image = rewritten(self.stored(before), after, keep=True)
        exif, ifd = image.getexif(), image.getexif().get_ifd(0x8769)
        assert image.size == (30, 40) and exif.get(ORIENTATION, 1) == 1
        assert (exif[0x0100], exif[0x0101], ifd[0xA002], ifd[0xA003]) == (30, 40, 30, 40)
        assert ifd[0x9003] == "2020:01:02 03:04:05"
        assert (exif[0x011A], exif[0x011B]) == (150, 300)
        assert after == "WEBP" or tuple(map(round, image.info["dpi"])) == (150, 300)
        assert image.info["xmp"] == XMP_UPRIGHT

    @pytest.mark.parametrize("before", ["PNG", "JPEG", "WEBP"])
    def test_is_dropped_unless_asked(self, before):
        image = rewritten(self.stored(before), "PNG", keep=False)
        assert not {"dpi", "xmp", "exif"} & image.info.keys()

    def test_dots_per_inch_without_exif(self):
        data = g.encoded(SMALL, dpi=(240, 120))
        for format in ("PNG", "JPEG"):
            assert tuple(map(round, rewritten(data, format, keep=True).info["dpi"])) == (240, 120)
        exif = rewritten(data, "WEBP", keep=True).getexif()
        assert (round(exif[0x011A]), round(exif[0x011B]), exif[0x0128]) == (240, 120, 2)

    def test_size_is_that_of_what_is_written(self):
        """As of two pictures side by side."""
        picture = load_picture(self.stored("JPEG"), keep_metadata=True)
        stream = io.BytesIO()
        save_picture(stream, replace(picture, rgb=np.concatenate([picture.rgb] * 2, 1)))
        assert Image.open(stream).getexif()[0x0100] == 60

    def test_what_a_jpeg_cannot_hold_is_named(self, caplog):
        long = XMP + b" " * 70_000
        picture = load_picture(g.encoded(SMALL, "WEBP", xmp=long), keep_metadata=True)
        stream = io.BytesIO()
        save_picture(stream, picture, format="JPEG")
        assert "xmp" not in Image.open(stream).info
        assert [record.slug for record in caplog.records] == ["metadata_dropped"]


ROMM = b"".join(v.to_bytes(4, "big") for v in (34570, 35850, 73470, 26530, 15960, 84040, 3660, 10))
CHUNKS = {
    b"gAMA": (55556).to_bytes(4, "big"),
    b"cHRM": ROMM,
    b"sRGB": b"\0",
    b"cICP": bytes((9, 16, 0, 1)),
}


def chunks_of(data):
    found, position = {}, 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        found[kind] = data[position + 8 : position + 8 + length]
        position += 12 + length
    return found


class TestHowSamplesAreShown:
    @pytest.mark.parametrize("kind", CHUNKS)
    @pytest.mark.parametrize("colour", [0, 2, 6])
    def test_chunks_travel(self, kind, colour):
        channels = {0: 1, 2: 3, 6: 4}[colour]
        data = g.png(np.zeros((30, 40, channels), np.uint8), colour, extra=g.chunk(kind, CHUNKS[kind]))
        after = chunks_of(rewritten(data, "PNG", keep=False).fp.getvalue())
        assert {kind: after[kind] for kind in CHUNKS.keys() & after.keys()} == {kind: CHUNKS[kind]}
        assert list(after).index(kind) < list(after).index(b"IDAT")

    @pytest.mark.parametrize("format", ["JPEG", "WEBP"])
    @pytest.mark.parametrize("kind", CHUNKS)
    def test_a_format_without_them_warns(self, kind, format, caplog):
        rewritten(g.png(SMALL, 2, extra=g.chunk(kind, CHUNKS[kind])), format, keep=False)
        slugs = [record.slug for record in caplog.records]
        assert slugs == ([] if kind == b"sRGB" else ["colour_dropped"])  # what says nothing is shown as sRGB
        assert kind == b"sRGB" or kind.decode() in caplog.text

    def test_what_says_srgb_needs_no_warning(self, caplog):
        gamma = g.chunk(b"gAMA", (45455).to_bytes(4, "big"))
        rewritten(g.png(SMALL, 2, extra=gamma), "JPEG", keep=False)
        rewritten(g.png(SMALL, 2, extra=g.chunk(b"cICP", bytes((1, 13, 0, 1)))), "JPEG", keep=False)
        assert not caplog.records

    def test_a_profile_says_it_for_gamma(self, caplog):
        extra = g.chunk(b"iCCP", b"p\0\0" + zlib.compress(g.rgb_profile())) + g.chunk(b"gAMA", CHUNKS[b"gAMA"])
        assert rewritten(g.png(SMALL, 2, extra=extra), "JPEG", keep=False).info["icc_profile"] == g.rgb_profile()
        assert not caplog.records

    def test_a_chunk_of_a_wrong_length_stays_behind(self):
        data = g.png(SMALL, 2, extra=g.chunk(b"cICP", bytes(5)))
        assert b"cICP" not in chunks_of(rewritten(data, "PNG", keep=False).fp.getvalue())
