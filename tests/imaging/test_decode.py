"""Files that are refused, each with its own word, and files that only look bad."""

import io
import os
import socket
import time

import numpy as np
import pytest
from PIL import Image

from cmgan.errors import PictureError
from cmgan.imaging.limits import Limits
from cmgan.imaging.picture import load_picture
from tests.hostile import generate as g

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
SMALL = g.photo(40, 30)


def refusal(source, limits=None):
    with pytest.raises(PictureError) as caught:
        load_picture(source, limits)
    assert caught.value.line().isascii() and "\n" not in caught.value.line()
    return caught.value


class TestSources:
    def test_missing(self, tmp_path):
        error = refusal(tmp_path / "none.png")
        assert error.slug == "not_found" and error.file == tmp_path / "none.png"

    def test_folder(self, tmp_path):
        assert refusal(tmp_path).slug == "not_a_file"

    def test_fifo_without_a_writer_is_not_opened(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        assert refusal(tmp_path / "pipe.png").slug == "not_a_file"

    def test_device_and_socket(self, tmp_path, monkeypatch):
        assert refusal("/dev/zero").slug == "not_a_file"
        monkeypatch.chdir(tmp_path)  # the name of a socket may be 107 bytes long at most
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s.png")
            assert refusal("s.png").slug == "not_a_file"

    def test_symbolic_links(self, tmp_path):
        (tmp_path / "a.png").write_bytes(g.encoded(SMALL))
        (tmp_path / "good.png").symlink_to(tmp_path / "a.png")
        (tmp_path / "dangling.png").symlink_to(tmp_path / "none")
        (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
        assert (load_picture(tmp_path / "good.png").rgb == SMALL).all()
        assert refusal(tmp_path / "dangling.png").slug == "not_found"
        assert refusal(tmp_path / "loop.png").slug == "unreadable"

    def test_no_permission(self, tmp_path):
        path = tmp_path / "closed.png"
        path.write_bytes(g.encoded(SMALL))
        path.chmod(0)
        user = os.geteuid()
        if user == 0:  # root may read everything: be somebody else for a moment
            os.seteuid(65534)
        try:
            assert refusal(path).slug == "unreadable"
        finally:
            os.seteuid(user)

    def test_standard_input(self, monkeypatch):
        class Stdin:
            def __init__(self, data):
                self.buffer = io.BytesIO(data)

        monkeypatch.setattr("sys.stdin", Stdin(g.encoded(SMALL)))
        assert (load_picture("-").rgb == SMALL).all()
        monkeypatch.setattr("sys.stdin", Stdin(b""))
        error = refusal("-")
        assert error.slug == "empty" and error.file == "stdin"

    def test_endless_stream(self):
        with open("/dev/zero", "rb") as stream:
            assert refusal(stream, Limits(max_file_bytes=10_000)).slug == "file_too_large"

    def test_bytes_and_streams(self):
        assert (load_picture(g.encoded(SMALL)).rgb == SMALL).all()
        assert (load_picture(io.BytesIO(g.encoded(SMALL))).rgb == SMALL).all()

    def test_one_byte_over_the_limit(self, tmp_path):
        data = g.encoded(SMALL)
        (tmp_path / "a.png").write_bytes(data)
        assert load_picture(tmp_path / "a.png", Limits(max_file_bytes=len(data))).size == (40, 30)
        error = refusal(tmp_path / "a.png", Limits(max_file_bytes=len(data) - 1))
        assert error.slug == "file_too_large"
        assert f"{len(data)} bytes; the limit is {len(data) - 1}" in error.message

    @pytest.mark.parametrize(
        "name", ["new\nline.png", "esc\x1b[31m.png", "a" * 251 + ".png", "\u202egnp.png", "-x.png"]
    )
    def test_names_are_shown_escaped(self, tmp_path, name):
        path = tmp_path / name
        path.write_bytes(b"nothing of the kind")
        line = refusal(path).line()
        assert line.isprintable() and len(line) <= 300

    def test_name_that_is_no_utf8(self, tmp_path):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png")
        with open(path, "wb") as file:
            file.write(g.encoded(SMALL))
        assert (load_picture(path).rgb == SMALL).all()
        assert refusal(path + "x").line().isascii()


class TestFormats:
    def test_content_decides_not_the_name(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(g.encoded(SMALL))
        assert load_picture(tmp_path / "a.jpg").format == "png"

    def test_text(self, tmp_path):
        (tmp_path / "a.jpg").write_text("I am a picture.")
        error = refusal(tmp_path / "a.jpg")
        assert error.slug == "image_format" and "png, jpeg, webp" in error.message

    @pytest.mark.parametrize("format", ["bmp", "tiff", "avif"])
    def test_formats_on_request(self, format):
        data = g.encoded(SMALL, format.upper())
        error = refusal(data)
        assert error.slug == "image_format" and "png, jpeg, webp" in error.message
        assert load_picture(data, Limits(formats=("png", format))).size == (40, 30)

    @pytest.mark.parametrize("start", [b"%PDF-1.7\n", b"8BPS\0\1", b"GIF89a", b"\0\0\0\x20ftypisom"])
    def test_other_formats(self, start):
        assert refusal(start + bytes(500)).slug == "image_format"

    def test_a_jpeg_of_several_pictures_is_its_first(self):
        first, second = Image.fromarray(SMALL), Image.fromarray(255 - SMALL)
        data = g.encoded(first, "MPO", save_all=True, append_images=[second], quality=95)
        assert load_picture(data).format == "jpeg"
        assert abs(load_picture(data).rgb.mean() - SMALL.mean()) < abs(
            load_picture(data).rgb.mean() - 255 + SMALL.mean()
        )

    @pytest.mark.parametrize("format", ["PNG", "WEBP"])
    def test_several_frames(self, format):
        frames = [Image.fromarray(g.photo(40, 30, seed)) for seed in range(3)]
        error = refusal(g.encoded(frames[0], format, save_all=True, append_images=frames[1:]))
        assert error.slug == "image_frames" and "3 frames" in error.message


class TestSizes:
    """All from the header: these files have no pixels at all."""

    @pytest.mark.parametrize(
        ("size", "slug"),
        [
            ((9000, 9000), "image_too_large"),
            ((10_000, 10_000), "image_too_large"),  # here Pillow warns, which is an error in these tests
            ((60_000, 60_000), "image_too_large"),  # and here it raises
            ((16_385, 600), "image_too_large"),
            ((3300, 100), "image_too_narrow"),
            ((100, 3201), "image_too_narrow"),
            ((15, 40), "image_too_small"),
        ],
    )
    def test_refused(self, size, slug):
        error = refusal(g.png_header(*size) + g.chunk(b"IDAT", b""))
        assert error.slug == slug
        assert slug == "image_too_large" or f"{size[0]}x{size[1]}" in error.message

    def test_exact_limits_pass(self):
        assert load_picture(g.encoded(g.photo(16, 16))).size == (16, 16)
        assert load_picture(g.encoded(g.photo(640, 20))).size == (640, 20)
        picture = g.encoded(SMALL)
        assert load_picture(picture, Limits(max_pixels=1200, max_side=40)).size == (40, 30)
        assert refusal(picture, Limits(max_pixels=1199)).slug == "image_too_large"
        assert refusal(picture, Limits(max_side=39)).slug == "image_too_large"


class TestDamage:
    def test_wrong_checksum_in_the_pixels(self):
        assert refusal(g.png(SMALL, 2, bad_crc=True)).slug == "image_corrupt"

    @pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
    def test_cut_png(self, share):
        assert refusal(g.cut(g.encoded(SMALL), share)).slug == "image_truncated"

    @pytest.mark.parametrize("share", [0.4, 0.7, 0.9])
    def test_cut_jpeg(self, share):
        assert refusal(g.cut(g.encoded(g.photo(200, 150), "JPEG"), share)).slug == "image_truncated"

    @pytest.mark.parametrize("share", [0.3, 0.9])
    def test_cut_webp(self, share):
        data = g.cut(g.encoded(g.photo(200, 150), "WEBP"), share)
        assert refusal(data).slug in ("image_truncated", "image_corrupt")

    @pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
    def test_cut_in_the_header(self, format):
        for length in range(4, 30):
            assert refusal(g.encoded(SMALL, format)[:length]).slug in ("image_truncated", "image_corrupt")

    def test_pixels_that_do_not_unpack(self):
        data = g.png_header(40, 30) + g.chunk(b"IDAT", b"no stream of zlib") + g.chunk(b"IEND", b"")
        assert refusal(data).slug == "image_corrupt"

    def test_text_bombs(self):
        assert refusal(g.png(SMALL, 2, extra=g.text_bomb(2**24))).slug == "image_metadata"
        many = b"".join(g.text_bomb(2**19, b"Key%d" % i) for i in range(10))
        assert refusal(g.png(SMALL, 2, extra=many)).slug == "image_metadata"

    def test_trailing_bytes_are_harmless(self):
        for format in ("PNG", "JPEG"):
            data = g.encoded(SMALL, format)
            assert (load_picture(data + b"PK\3\4 and more").rgb == load_picture(data).rgb).all()

    def test_a_damaged_scan_loads_as_pillow_loads_it_or_not_at_all(self):
        data = g.encoded(g.photo(300, 200), "JPEG")
        damaged = g.damaged(data, 64, seed=1, first=data.index(b"\xff\xda") + 20)
        try:
            picture = load_picture(damaged)
        except PictureError:
            return
        assert (picture.rgb == np.asarray(Image.open(io.BytesIO(damaged)))).all()

    @pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
    def test_mutated_files_load_or_are_refused(self, format):
        data = g.encoded(g.photo(120, 90), format)
        loaded = 0
        for seed in range(70):
            count = max(1, int(len(data) * np.geomspace(1e-4, 4e-2, 70)[seed]))
            started = time.monotonic()
            try:
                picture = load_picture(g.damaged(data, count, seed))
                assert picture.rgb.dtype == np.uint8 and picture.rgb.shape == (*picture.size[::-1], 3)
                loaded += 1
            except PictureError as error:
                assert error.slug.startswith("image_")
            assert time.monotonic() - started < 5  # no decoder may hang on damage
        assert loaded < 70
