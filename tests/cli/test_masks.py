"""`cmgan masks`: seeded sets on disk."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from PIL import Image


def _bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def panoptic(tmp_path):
    """Two annotated pictures, one of them all one thing but for its border."""
    folder = tmp_path / "panoptic"
    folder.mkdir()
    for name, margin in (("cat", 2), ("sea", 20)):
        ids = np.ones((64, 48), np.uint8)
        ids[margin : 64 - margin, margin : 48 - margin] = 2
        Image.fromarray(ids).save(folder / f"{name}.png")
        info = [{"id": 1, "isthing": False}, {"id": 2, "isthing": True}]
        (folder / f"{name}.json").write_text(json.dumps(info))
    return folder


def test_the_same_command_writes_the_same_bytes(call, tmp_path):
    for name in ("a", "b"):
        ending = call("masks", "-o", tmp_path / name, "--count", 7, "--res", 64, "--seed", 3)
        assert ending.code == 0, ending
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")
    document = json.loads((tmp_path / "a/masks.json").read_text())
    assert (document["kind"], document["seed"], document["resolution"]) == ("object-aware", 3, 64)
    assert document["digest"] in ending.out
    assert [row["file"] for row in document["masks"]] == [f"{i:06d}.png" for i in range(7)]
    for row in document["masks"]:
        with Image.open(tmp_path / "a" / row["file"]) as image:
            assert image.mode == "L" and image.size == (64, 64)
            pixels = np.asarray(image)
        assert set(np.unique(pixels)) == {0, 255}
        assert row["ratio"] == np.mean(pixels == 255)
        assert row["sha256"] == hashlib.sha256(pixels.tobytes()).hexdigest()


def test_another_seed_and_another_kind_are_other_masks(call, tmp_path):
    for number, more in enumerate((["--seed", 0], ["--seed", 1], ["--kind", "thin"])):
        assert call("masks", "-o", tmp_path / str(number), "--count", 3, "--res", 32, *more).code == 0
    digests = {json.loads((tmp_path / name / "masks.json").read_text())["digest"] for name in "012"}
    assert len(digests) == 3


def test_masks_of_annotated_pictures(call, tmp_path, panoptic):
    out = tmp_path / "out"
    assert call("masks", "-o", out, "--count", 4, "--res", 64, "--annotations", panoptic).code == 0
    names = [row["file"] for row in json.loads((out / "masks.json").read_text())["masks"]]
    assert names == ["cat_mask000.png", "sea_mask000.png", "cat_mask001.png", "sea_mask001.png"]
    for name in ("cat_mask000.png", "cat_mask001.png"):
        hole = np.asarray(Image.open(out / name)) == 255
        assert hole[5:-5, 5:-5].mean() <= 0.5


def test_objects_shaped_like_the_masks_of_a_folder(call, tmp_path):
    """The square of the folder, grown by 2 pixels (20 of 512) and shifted: rows and columns of one length."""
    shapes = tmp_path / "shapes"
    shapes.mkdir()
    square = np.zeros((64, 64), np.uint8)
    square[24:44, 24:44] = 255
    Image.fromarray(square).save(shapes / "square.png")
    sides = set()
    for silhouettes in ([], ["--silhouettes", shapes]):
        arguments = ["--count", 12, "--res", 64, "--overwrite", *silhouettes]
        assert call("masks", "-o", tmp_path / "out", *arguments).code == 0
        masks = [np.asarray(Image.open(path)) == 255 for path in sorted((tmp_path / "out").glob("*.png"))]
        sides = [tuple(sorted({hole.any(axis=a).sum() for a in (0, 1)})) for hole in masks]
        assert ((24,) in sides) == bool(silhouettes)


def test_what_is_refused(refused, tmp_path, panoptic):
    masks = ("masks", "-o", tmp_path / "out", "--count", 2, "--res", 32)
    assert "'object-aware', 'free-form'" in refused(2, *masks, "--kind", "round").err
    assert refused(2, *masks, "--count", 0).slug == "usage"
    assert refused(2, *masks, "--res", 8).slug == "usage"
    assert refused(2, *masks, "--seed", -1).slug == "usage"
    assert refused(2, *masks, "--seed", 2**64).slug == "seed"
    assert refused(2, "masks", "-o", panoptic, "--count", 1).slug == "output_exists"
    assert refused(2, "masks", "-o", tmp_path / "no/out", "--count", 1).slug == "output_folder"
    assert refused(2, *masks, "--silhouettes", tmp_path / "none").slug == "not_a_folder"
    assert refused(3, *masks, "--annotations", tmp_path / "none").slug == "not_found"


def test_damaged_annotations_are_refused(refused, tmp_path, panoptic):
    masks = ("masks", "-o", tmp_path / "out", "--count", 2, "--res", 32, "--annotations", panoptic)
    (panoptic / "sea.json").write_text('[{"id": 1, "isthing": false}]')
    ending = refused(3, *masks)
    assert ending.slug == "annotation_id" and "sea.png" in ending.err
    (panoptic / "sea.json").unlink()
    assert refused(3, *masks).slug == "no_annotation"
    (panoptic / "more").mkdir()
    for suffix in ("png", "json"):
        (panoptic / f"more/cat.{suffix}").write_bytes((panoptic / f"cat.{suffix}").read_bytes())
    assert refused(2, *masks).slug == "output_clash"
