"""Pictures on disk: bit-exact, whole, and never half over an old one."""

import io
import os
import resource
import stat

import numpy as np
import pytest
from PIL import Image

from cmgan.errors import SystemRefusal, UsageError
from cmgan.imaging.picture import Picture, load_picture
from cmgan.imaging.save import output_format, save_picture
from tests.hostile import generate as g

SMALL = g.photo(40, 30)
ALPHA = np.linspace(0, 255, 1200).astype(np.uint8).reshape(30, 40)


def saved(picture, format, **options):
    stream = io.BytesIO()
    save_picture(stream, picture, format=format, **options)
    return Image.open(stream)


def test_png_is_exact(tmp_path):
    for array in (SMALL, np.zeros_like(SMALL), np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)):
        save_picture(tmp_path / "a.png", Picture(array))
        assert (np.asarray(Image.open(io.BytesIO((tmp_path / "a.png").read_bytes()))) == array).all()


@pytest.mark.parametrize(
    ("name", "format"), [("a.PNG", "PNG"), ("a.jpg", "JPEG"), ("a.jpeg", "JPEG"), ("a.webp", "WEBP")]
)
def test_extension_decides(tmp_path, name, format):
    save_picture(tmp_path / name, Picture(SMALL))
    assert load_picture(tmp_path / name).format == format.lower() == output_format(tmp_path / name).lower()


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt"])
def test_unknown_extension(tmp_path, name):
    with pytest.raises(UsageError, match=r"\.png, \.jpg, \.jpeg, \.webp") as caught:
        save_picture(tmp_path / name, Picture(SMALL))
    assert caught.value.slug == "output_format" and not list(tmp_path.iterdir())


def test_jpeg_keeps_full_colour_resolution():
    image = saved(Picture(SMALL), "JPEG")
    assert {component[1:3] for component in image.layer} == {(1, 1)}  # no subsampling


def test_quality():
    sizes = [len(saved(Picture(g.photo(200, 200)), "JPEG", quality=q).fp.getvalue()) for q in (20, 60, 95)]
    assert sizes == sorted(sizes)
    for quality in (0, 101):
        with pytest.raises(UsageError, match=f"quality {quality}"):
            saved(Picture(SMALL), "JPEG", quality=quality)


def test_too_long_for_webp():
    with pytest.raises(UsageError, match="16383"):
        saved(Picture(np.zeros((16, 16_384, 3), np.uint8)), "WEBP")


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_alpha_is_kept(format):
    image = saved(Picture(SMALL, ALPHA), format)
    assert image.mode == "RGBA" and (np.asarray(image)[..., 3] == ALPHA).all()


def test_jpeg_is_laid_on_white(caplog):
    image = saved(Picture(np.zeros_like(SMALL), np.where(ALPHA > 127, 255, 0).astype(np.uint8)), "JPEG")
    assert [record.slug for record in caplog.records] == ["alpha_flattened"]
    rgb = np.asarray(image)
    assert (rgb[2:8] > 200).all() and (rgb[22:28] < 50).all()


@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_grey_files_stay_grey(alpha):
    grey = SMALL[..., :1].repeat(3, axis=2)
    profile = g.rgb_profile(space=b"GRAY")
    data = io.BytesIO()
    save_picture(data, Picture(grey, alpha, grey=True, icc=profile))
    image = Image.open(data)
    assert image.mode == ("L" if alpha is None else "LA") and image.info["icc_profile"] == profile
    again = load_picture(data.getvalue())
    assert again.grey and (again.rgb == grey).all() and again.icc == profile
    assert alpha is None or (again.alpha == alpha).all()


def test_grey_in_other_formats(caplog):
    grey = Picture(SMALL[..., :1].repeat(3, axis=2), grey=True, icc=g.rgb_profile(space=b"GRAY"))
    assert saved(grey, "JPEG").mode == "L" and saved(grey, "JPEG").info["icc_profile"] == grey.icc
    assert not caplog.records
    assert "icc_profile" not in saved(grey, "WEBP").info  # which is RGB
    assert [record.slug for record in caplog.records] == ["icc_dropped"]


def test_filled_is_opaque_in_the_hole_only():
    hole = ALPHA < 90
    picture = Picture(SMALL, ALPHA, icc=b"profile").filled(255 - SMALL, hole)
    assert (picture.alpha[hole] == 255).all() and (picture.alpha[~hole] == ALPHA[~hole]).all()
    assert (picture.rgb == 255 - SMALL).all() and picture.icc == b"profile"


def test_profile_is_written():
    for format in ("PNG", "JPEG", "WEBP"):
        assert saved(Picture(SMALL, icc=g.rgb_profile()), format).info["icc_profile"] == g.rgb_profile()


def test_a_failed_write_leaves_the_old_picture(tmp_path):
    target = tmp_path / "a.png"
    save_picture(target, Picture(SMALL))
    before = target.read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, allowed[1]))
    try:
        with pytest.raises(SystemRefusal) as caught:
            save_picture(target, Picture(noise))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert caught.value.slug == "file_limit"
    assert target.read_bytes() == before and list(tmp_path.iterdir()) == [target]


def test_written_pictures_load(tmp_path):
    save_picture(tmp_path / "a.png", Picture(SMALL, ALPHA, icc=g.rgb_profile()))
    again = load_picture(tmp_path / "a.png")
    assert (again.rgb == SMALL).all() and (again.alpha == ALPHA).all() and again.icc == g.rgb_profile()


def test_a_result_is_not_more_open_than_its_picture(tmp_path):
    private = tmp_path / "private.png"
    private.write_bytes(g.encoded(SMALL))
    for given, expected in ((0o600, 0o600), (0o640, 0o640), (0o444, 0o644), (0o666, 0o644)):
        private.chmod(given)
        target = tmp_path / f"{given:o}.png"
        before = os.umask(0o022)
        try:
            save_picture(target, load_picture(private).filled(SMALL, ALPHA > 0))
        finally:
            os.umask(before)
        assert stat.S_IMODE(target.stat().st_mode) == expected
