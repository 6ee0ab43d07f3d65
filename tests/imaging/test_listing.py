"""Picture files of a folder: by suffix, sorted, nothing hidden; everything that reads them keeps to the same limits."""

import numpy as np
import pytest
from PIL import Image

from cmgan.errors import PictureError, UsageError
from cmgan.evaluate.pictures import load_hole, load_square
from cmgan.export.precision.calibration import calibration_set
from cmgan.imaging.listing import pictures_in, suffixes
from cmgan.masks.silhouettes import MaskFolder
from cmgan.train.data.pictures import open_pictures


@pytest.fixture
def folder(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.bmp", ".hidden.png", "notes.txt", "deep/d.webp", "deep/.e/f.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(paths, folder):
    return [str(path.relative_to(folder)) for path in paths]


def test_what_is_a_picture(folder):
    assert names(pictures_in(folder), folder) == ["a.jpg", "b.PNG"]
    assert names(pictures_in(folder, ("bmp",)), folder) == ["c.bmp"]
    assert names(pictures_in(folder, recursive=True), folder) == ["a.jpg", "b.PNG", "deep/d.webp"]
    assert names(pictures_in(folder, recursive=True, without=[folder / "deep"]), folder) == ["a.jpg", "b.PNG"]


def test_nothing_to_list(folder):
    with pytest.raises(UsageError, match=r"no picture in it \(.avif\)"):
        pictures_in(folder, ("avif",))
    with pytest.raises(UsageError, match="no such folder"):
        pictures_in(folder / "none")


def test_suffixes_are_those_of_the_formats():
    assert suffixes(("jpeg", "tiff")) == (".jpg", ".jpeg", ".tif", ".tiff")


def test_limits_of_the_environment_hold_wherever_pictures_are_read(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setenv("CMGAN_MAX_SIDE", "30")
    readers = (
        lambda: load_square(tmp_path / "a.png", 16),
        lambda: load_hole(tmp_path / "a.png", 16),
        lambda: MaskFolder(tmp_path).draw(np.random.default_rng(0), 16),
    )
    for read in readers:
        with pytest.raises(PictureError, match="30"):
            read()
    assert open_pictures(tmp_path).limits.max_side == 30
    with pytest.raises(UsageError, match="none of its pictures"):
        calibration_set(tmp_path, 16, 4)
