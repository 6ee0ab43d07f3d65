"""Arrays, PIL images, paths and bytes are the same picture."""

import io

import numpy as np
import pytest
from PIL import Image

from cmgan.errors import UsageError
from cmgan.imaging.given import given_hole, given_picture
from tests.hostile import generate as g

SMALL = g.photo(40, 30)
HOLE = np.zeros((30, 40), bool)
HOLE[5:15, 8:20] = True


@pytest.fixture
def given(tmp_path):
    """Every way to give an array of a picture or mask."""

    def kinds(array):
        (tmp_path / "a.png").write_bytes(g.encoded(array))
        image = Image.fromarray(array)
        path = tmp_path / "a.png"
        return [image, path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())]

    return kinds


def test_pictures(given):
    for image in [SMALL, *given(SMALL)]:
        assert (given_picture(image).rgb == SMALL).all()


def test_holes(given):
    values = HOLE.astype(np.uint8) * 255
    for mask in [HOLE, values, Image.fromarray(HOLE), *given(values)]:
        hole = given_hole(mask, given_picture(SMALL))
        assert hole.dtype == bool and (hole == HOLE).all()


def test_pil_images_of_other_modes():
    rgba = np.dstack([SMALL, SMALL[..., :1]])
    assert (given_picture(Image.fromarray(rgba)).alpha == SMALL[..., 0]).all()
    grey = given_picture(Image.fromarray(SMALL[..., 0]))
    assert grey.grey and (grey.rgb == SMALL[..., :1]).all()
    palette = Image.fromarray(SMALL).quantize(16)
    assert (given_picture(palette).rgb == np.asarray(palette.convert("RGB"))).all()


@pytest.mark.parametrize("wrong", [None, 3, [1, 2], {"a": 1}])
def test_other_types_are_refused_in_a_sentence(wrong):
    for function, what in ((given_picture, "image"), (lambda m: given_hole(m, given_picture(SMALL)), "mask")):
        with pytest.raises(UsageError, match=f"{what} is a {type(wrong).__name__}; an array, a PIL image") as caught:
            function(wrong)
        assert caught.value.slug == f"{what}_type"


def test_a_pil_image_of_16_bits_is_refused():
    with pytest.raises(UsageError, match="mode I;16"):
        given_picture(Image.fromarray(np.zeros((30, 40), np.uint16)))
