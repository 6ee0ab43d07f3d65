"""One request: every kind of picture and mask in, the picture and its facts out."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from cmgan.errors import PictureError, UsageError
from cmgan.imaging.mask import MaskOptions
from cmgan.imaging.picture import load_picture
from cmgan.inpaint.inpainter import Inpainter, InpaintOptions
from cmgan.inpaint.job import Job, JobOptions, fill, write
from tests.hostile.generate import encoded, photo
from tests.inpaint.test_inpainter import FlatEngine, MeanEngine, box_hole

IMAGE, HOLE = photo(50, 40), box_hole((40, 50), (10, 10, 8, 8))
INPAINTER = Inpainter(FlatEngine())
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def only(job, inpainter=INPAINTER):
    (filled,) = fill(inpainter, job)
    return filled


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(IMAGE))
    (tmp_path / "m.png").write_bytes(encoded(HOLE * np.uint8(255)))
    return tmp_path / "a.png", tmp_path / "m.png"


def test_a_path_bytes_a_stream_and_an_array_give_the_same_picture(files):
    picture, mask = files
    pictures = picture, str(picture), picture.read_bytes(), io.BytesIO(picture.read_bytes()), IMAGE
    masks = mask, str(mask), mask.read_bytes(), HOLE, HOLE * np.uint8(255)
    outputs = [only(Job(p, m)).picture.rgb for p, m in zip(pictures, masks, strict=True)]
    expected = np.where(HOLE[..., None], np.uint8(200), IMAGE)
    assert all((output == expected).all() for output in outputs)


def test_boxes_and_transparency():
    assert (only(Job(IMAGE, boxes=((10, 10, 8, 8),))).picture.rgb == only(Job(IMAGE, HOLE)).picture.rgb).all()
    cutout = io.BytesIO()
    alpha = np.where(HOLE, 0, 255).astype(np.uint8)
    Image.fromarray(np.dstack([IMAGE, alpha])).save(cutout, "PNG")
    filled = only(Job(cutout.getvalue(), alpha=True))
    assert (filled.picture.rgb == only(Job(IMAGE, HOLE)).picture.rgb).all()
    assert (filled.picture.alpha == 255).all()


def test_the_picture_keeps_what_it_carries_and_is_opaque_where_it_was_painted():
    alpha = np.arange(2000).reshape(40, 50).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.dstack([IMAGE // 2, alpha])).save(file, "PNG", icc_profile=PROFILE)
    filled = only(Job(file.getvalue(), HOLE), Inpainter(FlatEngine(), InpaintOptions(dilate=2)))
    wide = box_hole((40, 50), (8, 8, 12, 12))
    assert ((filled.picture.rgb == 200).all(axis=-1) == wide).all()
    assert (filled.picture.alpha == np.where(wide, 255, alpha)).all() and filled.picture.icc == PROFILE


def test_the_share_of_hole_and_the_rule_about_it_are_of_the_grown_hole(caplog):
    grown = Inpainter(FlatEngine(), InpaintOptions(dilate=2))
    assert only(Job(IMAGE, HOLE), grown).hole == 12 * 12 / 2000
    with pytest.raises(PictureError) as caught:
        only(Job(IMAGE, HOLE), Inpainter(FlatEngine(), InpaintOptions(dilate=60)))
    assert caught.value.slug == "mask_full"
    allowed = JobOptions(mask=MaskOptions(allow_full=True))
    filled = only(Job(IMAGE, HOLE, options=allowed), Inpainter(FlatEngine(), InpaintOptions(dilate=60)))
    assert filled.hole == 1 and (filled.picture.rgb == 200).all()
    assert [w.partition(":")[0] for w in filled.warnings] == ["mask_large"]


def test_facts_say_what_was_done(files):
    facts = only(Job(*files, options=JobOptions(seed=5)), Inpainter(MeanEngine())).facts()
    assert (facts["width"], facts["height"], facts["seed"], facts["warnings"]) == (50, 40, 5, [])
    assert facts["hole"] == 64 / 2000
    assert set(facts["seconds"]) == {"read", "engine", "around"} and min(facts["seconds"].values()) >= 0


def test_warnings_belong_to_their_request():
    assert [w.partition(":")[0] for w in only(Job(IMAGE, HOLE & False)).warnings] == ["mask_empty"]
    assert only(Job(IMAGE, HOLE)).warnings == ()


def test_before_and_after_side_by_side():
    both = only(Job(IMAGE, HOLE, options=JobOptions(concat=True))).picture.rgb
    assert (both[:, :50] == IMAGE).all() and (both[:, 50:] == only(Job(IMAGE, HOLE)).picture.rgb).all()


def test_written_files_hold_the_picture(tmp_path):
    filled = only(Job(IMAGE, HOLE))
    assert write(filled, tmp_path / "out.png") > 0
    assert (load_picture(tmp_path / "out.png").rgb == filled.picture.rgb).all()


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [
        ({}, "mask_missing"),
        ({"mask": HOLE, "alpha": True}, "mask_twice"),
        ({"mask": HOLE, "boxes": ((0, 0, 1, 1),)}, "mask_twice"),
    ],
)
def test_exactly_one_mask(arguments, slug):
    with pytest.raises(UsageError) as caught:
        Job(IMAGE, **arguments)
    assert caught.value.slug == slug


def test_picture_and_mask_that_are_one(files):
    for image, mask in ((files[0], files[0]), ("-", "-")):
        with pytest.raises(UsageError) as caught:
            Job(image, mask)
        assert caught.value.slug == "same_file"


@pytest.mark.parametrize("options", [{"seed": -1}, {"seed": 2**63 - 1, "samples": 2}, {"samples": 0}, {"samples": 101}])
def test_options_out_of_range(options):
    with pytest.raises(UsageError, match="is needed|is possible"):
        JobOptions(**options)


# Loads, inpaints and saves a picture given by its sides with an engine that costs nothing; prints the peak in MB.
_PEAK = """
import re, sys
from pathlib import Path
from cmgan.inpaint.inpainter import Inpainter
from cmgan.inpaint.job import Job, fill, write
from tests.inpaint.test_inpainter import FlatEngine
for filled in fill(Inpainter(FlatEngine(512)), Job(sys.argv[1], boxes=((200, 200, 100, 100),))):
    write(filled, Path(sys.argv[2]))
print(int(re.search(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.check
def test_a_large_picture_costs_300_mb_more_than_a_small_one(tmp_path):
    peaks = []
    for size in ((512, 512), (6000, 4000)):
        Image.fromarray(photo(*size)).save(tmp_path / "a.jpg")
        command = [sys.executable, "-c", _PEAK, tmp_path / "a.jpg", tmp_path / "b.png"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": "."}
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] <= 300
