"""A whole evaluation with engines whose worth is known, and the set that it is done on."""

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cmgan.errors import PictureError, UsageError
from cmgan.evaluate.card import card_table
from cmgan.evaluate.fillings import FILLINGS
from cmgan.evaluate.painters import baseline, engine_painter
from cmgan.evaluate.pictures import find_pairs, load_hole, load_square
from cmgan.evaluate.report import EVERY, MODEL, better, to_json, to_markdown
from cmgan.evaluate.run import EvaluationRequest, evaluate
from cmgan.evaluate.summary import summarise
from cmgan.features.extractors import Embedding, Extractor
from cmgan.runtime.engine import EngineInfo
from cmgan.train.data.pictures import open_pictures
from tests.tolerances import tolerance

REPOSITORY = Path(__file__).parents[2]
SIDE = 32


class KnownEngine:
    """An engine that paints what `fill(image, hole)` gives, and remembers what it was asked."""

    info = EngineInfo("eager", "known", SIDE, 4, "fp32", True, "0" * 64)

    def __init__(self, fill):
        self.fill, self.calls = fill, []

    def __call__(self, image, mask, z):
        self.calls.append((image, mask, z))
        return np.stack([np.where(m[:, :, None] >= 128, self.fill(i, m), i) for i, m in zip(image, mask, strict=True)])


@pytest.fixture
def folders(tmp_path):
    """Five pictures of 40 x 32 and three masks of 64 x 64, of 4, 16 and 64 percent."""
    draws = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for i in range(5):
        coarse = Image.fromarray(draws.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize((40, 32), Image.Resampling.BICUBIC).save(tmp_path / "images" / f"p{i}.png")
    for i, side in enumerate((13, 26, 51)):
        mask = np.zeros((64, 64), np.uint8)
        mask[6 : 6 + side, 5 : 5 + side] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"m{i}.png")
    return EvaluationRequest(tmp_path / "images", tmp_path / "masks")


def _judged(engine, request, extractors=()):
    found = evaluate(engine, request, extractors, lambda _: None)
    return found, summarise(engine.info, request, extractors, found)


def _oracle(request):
    truths = [load_square(path, SIDE) for path in sorted(request.images.iterdir())]

    def fill(image, mask):
        return next(t for t in truths if (t[mask < 128] == image[mask < 128]).all())

    return KnownEngine(fill)


def test_an_engine_that_knows_the_truth_beats_every_baseline(folders):
    found, report = _judged(_oracle(folders), folders)
    assert len(found.pairs) == 15
    whole = report.row(MODEL)
    assert (whole.scores["hole_psnr"].mean, whole.scores["l1"].mean, whole.scores["gmsd"].mean) == (100, 0, 0)
    for name in FILLINGS:
        for metric in report.metrics:
            assert better(whole.against[name][metric.name], metric), (name, metric)


def test_an_engine_that_does_what_a_baseline_does_is_not_better(folders):
    mean = baseline("mean")
    _, report = _judged(KnownEngine(lambda i, m: mean(i, m[None] >= 128, [0])[0]), folders)
    for metric in report.metrics:
        assert report.row(MODEL).against["mean"][metric.name] == (0, 0, 0)
        assert not better(report.row(MODEL).against["mean"][metric.name], metric)


def test_the_engine_sees_no_truth_and_its_noise_follows_the_seed(folders):
    engine = KnownEngine(lambda i, m: np.zeros_like(i))
    _judged(engine, folders)
    for image, mask, _ in engine.calls:
        assert not image[mask >= 128].any() and image[mask < 128].any()
    draws = np.concatenate([z for _, _, z in engine.calls])
    assert draws.shape == (15, 4) and len(np.unique(draws, axis=0)) == 15
    again = KnownEngine(engine.fill)
    _judged(again, folders)
    np.testing.assert_array_equal(np.concatenate([z for _, _, z in again.calls]), draws)


def test_means_and_bins_are_those_of_the_pairs(folders):
    """Black fillings: the mean error in the hole is the truth's own mean there."""
    _, report = _judged(KnownEngine(lambda i, m: np.zeros_like(i)), folders)
    by_mask = {}
    for mask in sorted(folders.masks.iterdir()):
        hole = load_hole(mask, SIDE)
        by_mask[hole.mean()] = [load_square(p, SIDE)[hole].mean() for p in sorted(folders.images.iterdir())]
    rows = [row for row in report.rows if row.method == MODEL]
    assert [(row.bin, row.pairs, row.pictures) for row in rows] == [
        (EVERY, 15, 5),
        ("0-10 %", 5, 5),
        ("10-20 %", 5, 5),
        ("60-100 %", 5, 5),
    ]
    for row, expected in zip(rows, [list(by_mask.values()), *by_mask.values()], strict=True):
        assert row.scores["hole_l1"].mean == pytest.approx(np.mean(expected), abs=tolerance("float64"))


def test_sets_of_features(folders):
    """An extractor of three numbers: with more fillings than features there is an FID, a P-IDS and a U-IDS."""

    def embed(pictures):
        return Embedding([], pictures.reshape(len(pictures), -1, 3).mean(axis=1))

    few = Extractor("colour", "mean colours", embed, has_maps=False)
    _, report = _judged(_oracle(folders), folders, [few])
    sets = {row.method: row.sets for row in report.rows if row.bin == EVERY}
    assert set(sets[MODEL]) == {"fid_colour", "p_ids_colour", "u_ids_colour"}
    assert sets[MODEL]["u_ids_colour"] == 50
    assert sets[MODEL]["fid_colour"] < sets["mean"]["fid_colour"]
    assert "| fid colour |" in to_markdown(report)


def test_json_holds_every_pair_and_is_the_same_again(folders):
    texts = [to_json(_judged(_oracle(folders), folders)[1]) for _ in range(2)]
    assert texts[0] == texts[1]
    document = json.loads(texts[0])
    assert len(document["pairs"]) == 15
    assert document["rows"][0]["scores"]["psnr"].keys() == {"mean", "low", "high"}
    other = to_json(_judged(_oracle(folders), EvaluationRequest(folders.images, folders.masks, seed=1))[1])
    assert json.loads(other)["settings"]["set_sha256"] == document["settings"]["set_sha256"] and other != texts[0]


def test_pictures_and_masks_are_cut_and_scaled_alike(tmp_path):
    """A mask drawn on the picture stays on it; areas are averaged, holes stay sharp."""
    rows, columns = np.mgrid[:96, :160]
    inside = (rows // 3 + columns // 3) % 2 == 0
    Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray(np.repeat(np.where(inside, 250, 10)[..., None], 3, axis=2).astype(np.uint8)).save(
        tmp_path / "picture.png"
    )
    picture, hole = load_square(tmp_path / "picture.png", SIDE), load_hole(tmp_path / "mask.png", SIDE)
    blocks = inside[:, 32:128].reshape(SIDE, 3, SIDE, 3)
    np.testing.assert_array_equal(picture[..., 0], np.rint(np.where(blocks, 250, 10).mean(axis=(1, 3))))
    np.testing.assert_array_equal(hole, blocks[:, 1, :, 1])


def test_pairs_by_name_are_those_of_inpaint(folders):
    for source, name in (("m0", "p0"), ("m1", "p1_mask_a"), ("m2", "p1_mask_b")):
        (folders.masks / f"{source}.png").rename(folders.masks / f"{name}.png")
    for name in ("p2", "p3", "p4"):
        (folders.images / f"{name}.png").unlink()
    pairs = find_pairs(folders.images, folders.masks, by_name=True)
    names = {item.name: [mask.name for mask in item.masks] for item in pairs}
    assert names == {"p0.png": ["p0.png"], "p1.png": ["p1_mask_a.png", "p1_mask_b.png"]}


def test_pictures_of_an_archive_are_judged_like_those_of_a_folder(folders, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for path in sorted(folders.images.iterdir()):
            tar.add(path, path.name)
    expected = _judged(_oracle(folders), folders)[0]
    found = _judged(_oracle(folders), replace(folders, collection=open_pictures(tmp_path / "shard.tar")))[0]
    assert found.set_sha256 == expected.set_sha256
    assert found.pairs == expected.pairs


def test_a_damaged_picture_of_an_archive_is_named(folders, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        header = tarfile.TarInfo("bad.png")
        header.size = 9
        tar.addfile(header, io.BytesIO(b"no pixels"))
    with pytest.raises(PictureError) as refusal:
        _judged(KnownEngine(lambda i, m: i), replace(folders, collection=open_pictures(tmp_path / "shard.tar")))
    assert refusal.value.file == "bad.png"


def test_a_set_that_cannot_be_judged_is_refused(folders, tmp_path):
    engine = KnownEngine(lambda i, m: i)
    for value, slug in ((0, "mask_empty"), (255, "mask_full")):
        Image.new("L", (64, 64), value).save(folders.masks / "m9.png")
        with pytest.raises(PictureError) as refusal:
            _judged(engine, folders)
        assert refusal.value.slug == slug
    (tmp_path / "empty").mkdir()
    for request in (
        EvaluationRequest(tmp_path / "empty", folders.masks),
        EvaluationRequest(folders.images, tmp_path / "nowhere"),
        EvaluationRequest(folders.images, folders.masks, seed=-1),
        EvaluationRequest(folders.images, folders.masks, baselines=("blur",)),
    ):
        with pytest.raises(UsageError):
            _judged(engine, request)


def test_engine_painter_gives_each_filling_its_own_seed():
    engine = KnownEngine(lambda i, m: i)
    engine_painter(engine)(np.zeros((SIDE, SIDE, 3), np.uint8), np.ones((2, SIDE, SIDE), bool), [7, 8])
    [(_, _, z)] = engine.calls
    expected = [np.random.Generator(np.random.PCG64(s)).standard_normal(4, np.float32) for s in (7, 8)]
    np.testing.assert_array_equal(z, expected)


def _judge(name):
    """Three channel means as the features of a judge of that name."""

    def embed(pictures):
        return Embedding([torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2) / 255], None)

    return Extractor(name, "colours", embed, has_maps=True)


def _line(lines, start):
    [found] = [line for line in lines if line.startswith(f"- {start}")]
    return found


def test_the_table_of_a_card_says_what_is_beaten(folders):
    judges = [_judge("lite2"), _judge("open_nsfw")]
    every = "telea, navier-stokes, biharmonic, harmonic, push-pull, patchmatch, mean"
    document = json.loads(to_json(_judged(_oracle(folders), folders, judges)[1]))
    lines = card_table(document)
    assert lines[0].startswith("15 fillings of 5 photographs at 32 pixels")
    assert _line(lines, "EfficientNet-Lite2, in the hole").endswith(f": 10% or more below {every}")
    assert _line(lines, "open_nsfw").endswith(f"below {every}; of the same sign against each")
    assert "within 0.5 dB" in _line(lines, "PSNR") and "not within" not in _line(lines, "PSNR")
    assert _line(lines, "GMSD").endswith("at most its own")
    lines = card_table(json.loads(to_json(_judged(KnownEngine(lambda i, m: 255 - i), folders, judges)[1])))
    assert _line(lines, "EfficientNet-Lite2, in the hole").endswith(f": not below {every}")
    assert _line(lines, "open_nsfw").endswith("below none; of the same sign against each")
    assert "not within 0.5 dB" in _line(lines, "PSNR") and _line(lines, "GMSD").endswith("above it")


def test_the_table_of_a_card_names_a_second_judge_that_disagrees_and_leads_below_a_tenth(folders):
    request = replace(folders, baselines=("harmonic", "mean"))
    document = json.loads(to_json(_judged(_oracle(folders), request, [_judge("lite2"), _judge("open_nsfw")])[1]))
    whole = next(row for row in document["rows"] if (row["method"], row["bin"]) == (MODEL, EVERY))
    base = next(row for row in document["rows"] if (row["method"], row["bin"]) == ("mean", EVERY))
    whole["against"]["mean"]["hole_open_nsfw"] = {"mean": 0.1, "low": -0.1, "high": 0.2}
    tenth = base["scores"]["hole_lite2"]["mean"] / 10
    whole["against"]["mean"]["hole_lite2"] = {"mean": -0.99 * tenth, "low": -tenth, "high": -0.9 * tenth}
    lines = card_table(document)
    assert _line(lines, "EfficientNet-Lite2, in the hole").endswith(": 10% or more below harmonic; below mean")
    assert _line(lines, "open_nsfw").endswith("below harmonic; of another sign against mean")
    shown = next(lines[i + 1] for i, line in enumerate(lines) if line.startswith("| EfficientNet-Lite2, in the hole"))
    assert shown.endswith("| -9.9 % [-10.0, -9.0] |")


@pytest.mark.check
def test_the_recipe_prints_the_table(tmp_path):
    """Seven photographs and eight masks, which have the digest that is written in the script."""
    command = [sys.executable, REPOSITORY / "recipes" / "photos" / "evaluate.py", "tiny-64", tmp_path / "report"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "56 fillings of 7 photographs at 64 pixels" in done.stdout
    assert "| open_nsfw, in the hole |" in done.stdout
    assert (tmp_path / "report" / "judged.md").read_text() == done.stdout
