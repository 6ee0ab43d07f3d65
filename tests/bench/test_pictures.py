"""The figures around the engine, on the smallest network."""

import numpy as np
import pytest

from cmgan.bench.pictures import measure_pictures
from cmgan.bench.process import Subject
from cmgan.bench.rows import Setting
from cmgan.imaging.mask import load_mask
from cmgan.imaging.picture import Picture, load_picture
from cmgan.imaging.save import save_picture


@pytest.fixture
def files(tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    hole = np.zeros((90, 120, 3), np.uint8)
    hole[30:50, 40:60] = 255
    save_picture(tmp_path / "in.png", Picture(levels))
    save_picture(tmp_path / "mask.png", Picture(hole))
    return tmp_path / "in.png", tmp_path / "mask.png"


def test_fill_inpaints_the_file_and_splits_its_time(tiny_artefact, tmp_path, files):
    picture, mask = files
    subject = Subject()
    subject.open("onnx", Setting(tmp_path, tiny_artefact, "activation", 1, "cpu"))
    whole, engine = subject.fill(picture, mask, tmp_path / "out.png")
    assert whole > engine > 0
    before, after = load_picture(picture), load_picture(tmp_path / "out.png")
    hole = load_mask(mask, before)
    assert (before.rgb[~hole] == after.rgb[~hole]).all()
    assert (before.rgb[hole] != after.rgb[hole]).any()


@pytest.mark.check
def test_every_figure_has_a_value_a_unit_and_a_limit(tiny_artefact):
    figures = measure_pictures(tiny_artefact, 2)
    assert [figure.unit for figure in figures] == ["s", "s", "MB", "MB", "s", "s"]
    assert all(figure.value > 0 and figure.limit > 0 for figure in figures[:3])
