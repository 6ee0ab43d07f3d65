"""Folders: pairing, shards, resuming, and what happens to items that fail."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from cmgan.errors import BatchError, PictureError, SystemRefusal, UsageError
from cmgan.imaging.picture import load_picture
from cmgan.inpaint.folder import FolderOptions, check_results, inpaint_items, pair, parse_shard, shard
from cmgan.inpaint.inpainter import Inpainter
from tests.hostile.generate import encoded, photo
from tests.inpaint.test_inpainter import FlatEngine

FORMATS = ("png", "jpeg", "webp")
MASK = np.zeros((30, 40), np.uint8)
MASK[10:20, 10:20] = 255


def put(folder, *names, mask=False):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(MASK if mask else photo(40, 30)))
    return folder


def pairs(images, masks, output=Path("out"), recursive=False):
    items = pair(images, masks, output, recursive=recursive, formats=FORMATS)
    return [(str(i.image.relative_to(images)), i.mask.name, str(i.output.relative_to(output))) for i in items]


def run(items, overwrite=False, **options):
    return list(inpaint_items(Inpainter(FlatEngine(32)), items, FolderOptions(**options), overwrite=overwrite))


class TestPairing:
    def test_same_stem(self, tmp_path):
        images, masks = put(tmp_path / "i", "a.png", "b.jpg"), put(tmp_path / "m", "b.png", "a.webp", mask=True)
        assert pairs(images, masks) == [("a.png", "a.webp", "a.png"), ("b.jpg", "b.png", "b.png")]

    def test_one_mask_for_all(self, tmp_path):
        images, masks = put(tmp_path / "i", "a.png", "b.jpg"), put(tmp_path, "m.png", mask=True)
        assert pairs(images, masks / "m.png") == [("a.png", "m.png", "a.png"), ("b.jpg", "m.png", "b.png")]

    def test_masks_beside_the_pictures(self, tmp_path):
        put(tmp_path, "a.jpg", "a_mask.png", "b.jpg", "b_mask000.png", "b_mask001.png")
        assert pairs(tmp_path, tmp_path) == [
            ("a.jpg", "a_mask.png", "a.png"),
            ("b.jpg", "b_mask000.png", "b_mask000.png"),
            ("b.jpg", "b_mask001.png", "b_mask001.png"),
        ]

    def test_the_same_stem_comes_first(self, tmp_path):
        images = put(tmp_path / "i", "a.png", "a_masked.png")
        masks = put(tmp_path / "m", "a_mask1.png", "a_masked.png", mask=True)
        assert pairs(images, masks) == [
            ("a.png", "a_mask1.png", "a.png"),
            ("a_masked.png", "a_masked.png", "a_masked.png"),
        ]

    def test_sub_folders_are_kept(self, tmp_path):
        images = put(tmp_path / "i", "a.png", "x/a.png", "x/y/b.png")
        masks = put(tmp_path / "m", "a.png", "x/a.png", "x/y/b.png", mask=True)
        assert [p[0] for p in pairs(images, masks)[:1]] == ["a.png"]
        found = pairs(images, masks, recursive=True)
        assert [output for _, _, output in found] == ["a.png", "x/a.png", "x/y/b.png"]

    def test_what_is_no_picture_is_ignored(self, tmp_path, caplog):
        images, masks = (
            put(tmp_path / "i", "a.png", "._a.png", ".hidden/b.png"),
            put(tmp_path / "m", "a.png", mask=True),
        )
        put(masks, "._x.png", ".DS_Store", "Thumbs.db", mask=True)
        with caplog.at_level("INFO", logger="cmgan"):
            assert len(pairs(images, masks, recursive=True)) == 1
        assert "3 files of other kinds ignored" in caplog.text

    def test_results_and_masks_inside_are_no_pictures(self, tmp_path):
        images = put(tmp_path, "a.png", "out/a.png", "masks/a.png")
        assert [p[0] for p in pairs(images, images / "masks", images / "out", recursive=True)] == ["a.png"]

    @pytest.mark.parametrize("missing", [0, 5, 9])
    def test_a_picture_without_a_mask(self, tmp_path, missing):
        images = put(tmp_path / "i", *(f"{i}.png" for i in range(10)))
        masks = put(tmp_path / "m", *(f"{i}.png" for i in range(10) if i != missing), mask=True)
        with pytest.raises(UsageError, match="picture without a mask") as caught:
            pairs(images, masks)
        assert caught.value.slug == "unpaired" and caught.value.file == images / f"{missing}.png"

    def test_a_mask_without_a_picture(self, tmp_path):
        images, masks = put(tmp_path / "i", "a.png"), put(tmp_path / "m", "a.png", "b.png", "c.png", mask=True)
        with pytest.raises(UsageError, match=r"mask without a picture \(1 pairs, 0 pict.* 2 masks ") as caught:
            pairs(images, masks)
        assert caught.value.file == masks / "b.png"

    def test_names_are_compared_after_normalisation(self, tmp_path):
        """Composed on one side, decomposed on the other, as macOS and its archives have them."""
        composed, decomposed = (unicodedata.normalize(form, "caf\u00e9/\u00c5rhus") for form in ("NFC", "NFD"))
        images = put(tmp_path / "i", f"{composed}.png", "b.png")
        masks = put(tmp_path / "m", f"{decomposed}_mask1.png", f"{decomposed}_mask2.png", "b.png", mask=True)
        found = pairs(images, masks, recursive=True)
        assert [(image, Path(output).name) for image, _, output in found] == [
            ("b.png", "b.png"),
            *((f"{composed}.png", f"{Path(decomposed).name}_mask{i}.png") for i in (1, 2)),
        ]
        beside = put(tmp_path / "both", f"{composed}.png")
        put(beside, f"{decomposed}_mask.png", mask=True)
        assert [image for image, _, _ in pairs(beside, beside, recursive=True)] == [f"{composed}.png"]

    def test_names_that_become_one_are_refused(self, tmp_path):
        names = [unicodedata.normalize(form, "\u00e9.png") for form in ("NFC", "NFD")]
        images = put(tmp_path / "i", *names)
        with pytest.raises(UsageError) as caught:
            pairs(images, put(tmp_path, "m.png", mask=True) / "m.png")
        assert caught.value.slug == "output_clash"

    def test_counts_are_of_pairs(self, tmp_path):
        images = put(tmp_path / "i", "a.png", "b.png", "c.png")
        masks = put(tmp_path / "m", "a_mask1.png", "a_mask2.png", "c.png", "d.png", mask=True)
        with pytest.raises(UsageError, match="3 pairs, 1 pictures without a mask, 1 masks without a picture") as caught:
            pairs(images, masks)
        assert caught.value.file == images / "b.png"

    def test_two_results_of_one_name(self, tmp_path):
        images, masks = put(tmp_path / "i", "a.png", "a.jpg"), put(tmp_path / "m", "a.png", mask=True)
        with pytest.raises(UsageError, match="same result, a.png"):
            pairs(images, masks)

    def test_no_folder_and_no_picture(self, tmp_path):
        with pytest.raises(UsageError) as caught:
            pairs(tmp_path / "none", tmp_path)
        assert caught.value.slug == "not_a_folder"
        (tmp_path / "notes.txt").write_text("hello")
        with pytest.raises(UsageError) as caught:
            pairs(tmp_path, tmp_path)
        assert caught.value.slug == "no_pictures"


class TestShards:
    def test_each_item_once(self):
        items = list(range(10))
        assert sorted(sum((shard(items, (i, 3)) for i in (1, 2, 3)), [])) == items
        assert shard(items, parse_shard("2/4")) == [1, 5, 9]

    @pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/5", ""])
    def test_bad_text(self, text):
        with pytest.raises(UsageError, match="i/n with 1 <= i <= n"):
            parse_shard(text)


@pytest.fixture
def items(tmp_path):
    """Ten pictures in two folders; the third is no picture, the eighth ends early."""
    images = put(tmp_path / "i", *(f"{i}.png" for i in range(9)), "x/9.png")
    (images / "2.png").write_text("I am a picture.")
    (images / "7.png").write_bytes(encoded(photo(40, 30))[:700])
    put(tmp_path, "m.png", mask=True)
    return pair(images, tmp_path / "m.png", tmp_path / "out", recursive=True, formats=FORMATS)


class TestWork:
    def test_failures_are_collected(self, items):
        results = run(items)
        assert [o.status for o in results].count("done") == 8
        assert [(o.item.image.name, o.error.slug) for o in results if o.error] == [
            ("2.png", "image_format"),
            ("7.png", "image_truncated"),
        ]
        with pytest.raises(BatchError, match=r"2 of 10 pairs failed: 2.png \(image_format\), 7.png \(image_trunc"):
            check_results(results)
        check_results([o for o in results if not o.error])
        for result in results:
            assert result.item.output.exists() == (result.status == "done")
            if result.status == "done":
                hole = MASK > 0
                rgb = load_picture(result.item.output).rgb
                assert (rgb[hole] == 200).all() and (rgb[~hole] == photo(40, 30)[~hole]).all()

    def test_fail_fast_stops_at_the_first(self, items):
        with pytest.raises(PictureError) as caught:
            run(items, fail_fast=True)
        assert caught.value.exit_code == 3
        assert [item.output.exists() for item in items] == [True, True] + [False] * 8

    def test_results_are_not_replaced_unasked(self, items):
        run(items[:1])
        with pytest.raises(UsageError) as caught:
            run(items)
        assert caught.value.slug == "output_exists" and not items[1].output.exists()
        assert run(items[:1], overwrite=True)[0].status == "done"

    def test_skip_existing_repeats_what_does_not_open(self, items):
        run(items[:2])
        items[1].output.write_bytes(items[1].output.read_bytes()[:500])
        results = run([items[0], items[1], items[3]], skip_existing=True)
        assert [o.status for o in results] == ["skipped", "done", "done"]
        assert load_picture(items[1].output).size == (40, 30)

    def test_a_folder_that_cannot_be_made(self, items, tmp_path):
        (tmp_path / "out").write_text("a file in the way")
        with pytest.raises(SystemRefusal) as caught:
            run(items)
        assert caught.value.slug == "not_writable"

    def test_a_shortage_ends_the_work(self, items, monkeypatch):
        def full(*_, **__):
            raise SystemRefusal("disk_full", "the disk is full")

        monkeypatch.setattr("cmgan.inpaint.folder.write", full)
        with pytest.raises(SystemRefusal):
            run(items)
