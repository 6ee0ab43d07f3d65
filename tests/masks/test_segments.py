"""Panoptic annotations: ids as grey values and as COCO's colours, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cmgan.errors import PictureError
from cmgan.masks.segments import Segments, read_json, read_segments

_IDS = np.array([[0, 3, 3, 7]] * 5, np.int32)
_INFO = [{"id": 3, "isthing": True, "category_id": 1}, {"id": 7, "isthing": 0}, {"id": 9, "isthing": 1}]


def _png(values, mode=None):
    stream = io.BytesIO()
    Image.fromarray(values, mode).save(stream, "PNG")
    return stream.getvalue()


def _colours(ids):
    return np.stack((ids % 256, ids // 256 % 256, ids // 65536), axis=-1).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_values_are_ids(dtype):
    segments = read_segments(_png(_IDS.astype(dtype)), _INFO)
    assert segments.ids.dtype == np.int32 and np.array_equal(segments.ids, _IDS)
    assert segments.things == {3, 9}


def test_palette_indices_are_ids():
    image = Image.fromarray(_IDS.astype(np.uint8)).convert("P")
    image.putdata(_IDS.ravel().tolist())
    image.putpalette([200, 10, 10] * 256)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    assert np.array_equal(read_segments(stream.getvalue(), _INFO).ids, _IDS)


def test_colours_are_ids_as_in_coco():
    ids = np.array([[0, 255, 256], [65535, 65536, 2**24 - 1]], np.int32)
    info = [{"id": i, "isthing": i > 65535} for i in (255, 256, 65535, 65536, 2**24 - 1)]
    segments = read_segments(_png(_colours(ids)), info)
    assert np.array_equal(segments.ids, ids)
    assert segments.things == {65536, 2**24 - 1}


def test_resizing_takes_the_nearest_pixel():
    segments = Segments(np.array([[1, 2], [3, 70000]], np.int32), frozenset({2})).resized(4)
    assert np.array_equal(segments.ids, np.kron([[1, 2], [3, 70000]], np.ones((2, 2), int)))
    assert segments.things == {2}


_GREY = _png(_IDS.astype(np.uint8))


@pytest.mark.parametrize(
    ("png", "info", "slug", "words"),
    [
        (_GREY, _INFO[:1], "annotation_id", "have the id 7, which its JSON does not list"),
        (_GREY, _INFO * 2, "annotation_json", "lists the id 3 twice"),
        (_GREY, {"segments": []}, "annotation_json", "a list of objects with id and isthing"),
        (_GREY, [{"id": 3}], "annotation_json", "a list of objects with id and isthing"),
        (_GREY, [{"id": "3", "isthing": 1}], "annotation_json", "a list of objects with id and isthing"),
        (_GREY, [3], "annotation_json", "a list of objects with id and isthing"),
        (_png(np.zeros((4, 4, 4), np.uint8)), [], "annotation_image", "a PNG of mode RGBA; ids are grey values"),
        (_GREY[:45], _INFO, "annotation_image", "is no PNG or a damaged one"),
        (b"GIF89a", _INFO, "annotation_image", "is no PNG or a damaged one"),
        (b"", _INFO, "empty", "0 bytes"),
    ],
    ids=lambda value: "png" if isinstance(value, bytes) else None,
)
def test_what_is_no_annotation(png, info, slug, words):
    with pytest.raises(PictureError, match=words) as refusal:
        read_segments(png, info)
    assert refusal.value.slug == slug


def test_an_annotation_over_the_limit(monkeypatch):
    monkeypatch.setenv("CMGAN_MAX_PIXELS", "19")
    with pytest.raises(PictureError, match=r"4x5; the limit is 19 pixels \(CMGAN_MAX_PIXELS\)"):
        read_segments(_GREY, _INFO)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json(text):
    with pytest.raises(PictureError, match="is no valid JSON"):
        read_json(text)
