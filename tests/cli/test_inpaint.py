"""`cmgan inpaint` on files, pipes and folders, with an exported engine."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[2]


def _pixels(path: Path | io.BytesIO) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_hole_is_filled_and_nothing_else_touched(call, photo, mask, tiny_artefact):
    ending = call("inpaint", photo, mask, "--model", tiny_artefact)
    assert ending.code == 0, ending
    output = photo.with_name("photo.inpainted.png")
    before, after, hole = _pixels(photo), _pixels(output), _pixels(mask)[..., 0] >= 128
    np.testing.assert_array_equal(after[~hole], before[~hole])
    assert (after[hole] != before[hole]).any(axis=-1).mean() > 0.9
    assert "photo.inpainted.png" in ending.out
    assert "untrained" in ending.err


def test_the_same_seed_gives_the_same_file(call, photo, mask, tiny_artefact, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert (
            call("inpaint", photo, mask, "--model", tiny_artefact, "-o", tmp_path / f"{name}.png", "--seed", seed).code
            == 0
        )
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_samples_are_those_of_consecutive_seeds(call, photo, mask, tiny_artefact, tmp_path):
    out = tmp_path / "out.png"
    assert call("inpaint", photo, mask, "--model", tiny_artefact, "-o", out, "--samples", 2, "--seed", 4).code == 0
    assert call("inpaint", photo, mask, "--model", tiny_artefact, "-o", tmp_path / "five.png", "--seed", 5).code == 0
    np.testing.assert_array_equal(_pixels(tmp_path / "out-2.png"), _pixels(tmp_path / "five.png"))
    assert not out.exists()


def test_eager_preset_and_its_artefact_paint_the_same(call, photo, mask, tiny_artefact, tmp_path):
    for model, name in (("tiny-64", "eager"), (tiny_artefact, "onnx")):
        assert call("inpaint", photo, mask, "--model", model, "-o", tmp_path / f"{name}.png").code == 0
    difference = _pixels(tmp_path / "eager.png").astype(int) - _pixels(tmp_path / "onnx.png")
    assert np.abs(difference).max() <= 2  # one level in the engine, one in the scaling of the crop


@pytest.mark.parametrize("strategy", ["crop", "resize", "original", "tile"])
def test_strategies(call, photo, mask, tiny_artefact, tmp_path, strategy):
    out = tmp_path / "out.png"
    ending = call("inpaint", photo, mask, "--model", tiny_artefact, "-o", out, "--hd", strategy, "--overlap", 16)
    assert ending.code == 0, ending
    hole = _pixels(mask)[..., 0] >= 128
    np.testing.assert_array_equal(_pixels(out)[~hole], _pixels(photo)[~hole])


def test_boxes(call, photo, tiny_artefact, tmp_path):
    out = tmp_path / "out.png"
    boxes = ["--box", "10,12,8,6", "--box", "60,50,10,20"]
    assert call("inpaint", photo, *boxes, "--model", tiny_artefact, "-o", out).code == 0
    changed = (_pixels(out) != _pixels(photo)).any(axis=-1)
    allowed = np.zeros_like(changed)
    allowed[12:18, 10:18] = allowed[50:70, 60:70] = True
    assert not (changed & ~allowed).any() and changed[12:18, 10:18].any() and changed[50:70, 60:70].any()


def test_mask_from_alpha(call, photo, tiny_artefact, tmp_path):
    rgb = _pixels(photo)
    alpha = np.full(rgb.shape[:2], 255, np.uint8)
    alpha[5:25, 5:25] = 0
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "cut.png")
    assert call("inpaint", tmp_path / "cut.png", "--mask", "alpha", "--model", tiny_artefact).code == 0
    with Image.open(tmp_path / "cut.inpainted.png") as image:
        result = np.asarray(image)
    assert (result[..., 3] == 255).all()
    np.testing.assert_array_equal(result[25:, 25:, :3], rgb[25:, 25:])


def test_dilate_and_feather(call, photo, mask, tiny_artefact, tmp_path):
    for name, more in (("plain", []), ("wide", ["--dilate", 4]), ("soft", ["--feather", 6])):
        out = tmp_path / f"{name}.png"
        assert call("inpaint", photo, mask, "--model", tiny_artefact, "-o", out, *more).code == 0
    before = _pixels(photo).astype(int)
    plain, wide, soft = (_pixels(tmp_path / f"{n}.png").astype(int) for n in ("plain", "wide", "soft"))
    assert (wide[28, 45:55] != before[28, 45:55]).any() and (plain[28, 45:55] == before[28, 45:55]).all()
    rim, hole = np.s_[30, 40:60], _pixels(mask)[..., 0] >= 128
    assert np.abs(soft - before)[rim].mean() < np.abs(plain - before)[rim].mean()
    np.testing.assert_array_equal(soft[~hole], before[~hole])


def test_concat_shows_before_and_after(call, photo, mask, tiny_artefact, tmp_path):
    out = tmp_path / "both.png"
    assert call("inpaint", photo, mask, "--model", tiny_artefact, "-o", out, "--concat").code == 0
    both = _pixels(out)
    assert both.shape == (80, 192, 3)
    np.testing.assert_array_equal(both[:, :96], _pixels(photo))


def test_json_says_what_was_done(call, photo, mask, tiny_artefact, tmp_path):
    ending = call("inpaint", photo, mask, "--model", tiny_artefact, "--json", tmp_path / "report.json")
    assert ending.code == 0, ending
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["schema"] == 1 and report["seed"] == 0
    assert report["outputs"] == [str(photo.with_name("photo.inpainted.png"))]
    assert report["hole"] == pytest.approx(320 / (96 * 80))


def test_an_empty_mask_opens_no_model(call, photo, tmp_path):
    Image.new("L", (96, 80)).save(tmp_path / "empty.png")
    ending = call("inpaint", photo, tmp_path / "empty.png", "--model", tmp_path / "there is none.onnx")
    assert ending.code == 0 and "mask_empty" in ending.err
    np.testing.assert_array_equal(_pixels(photo.with_name("photo.inpainted.png")), _pixels(photo))


def test_pipes(photo, mask, tiny_artefact):
    command = [sys.executable, REPOSITORY / "cli.py", "inpaint", "-", mask, "--model", tiny_artefact, "-o", "-"]
    done = subprocess.run(command, input=photo.read_bytes(), capture_output=True, check=True)
    result, hole = _pixels(io.BytesIO(done.stdout)), _pixels(mask)[..., 0] >= 128
    np.testing.assert_array_equal(result[~hole], _pixels(photo)[~hole])
    assert b"standard output" in done.stderr


def test_folders(call, photo, mask, tiny_artefact, tmp_path):
    pictures, masks, out = tmp_path / "pictures", tmp_path / "masks", tmp_path / "out"
    for name in ("a", "b", "sub/c"):
        for folder, source in ((pictures, photo), (masks, mask)):
            target = folder / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    (pictures / ".DS_Store").write_bytes(b"x")
    command = ["inpaint", pictures, masks, "-o", out, "--model", tiny_artefact, "--recursive"]
    ending = call(*command)
    assert ending.code == 0 and "3 done" in ending.out, ending
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*.png")) == ["a.png", "b.png", "sub/c.png"]
    (out / "b.png").unlink()
    ending = call(*command, "--skip-existing")
    assert "1 done, 2 skipped" in ending.out, ending


def test_a_folder_with_bad_pictures_is_finished_and_exits_8(call, photo, mask, tiny_artefact, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(4):
        (pictures / f"{i}.png").write_bytes(photo.read_bytes())
    (pictures / "bad.png").write_bytes(photo.read_bytes()[:400])
    report = tmp_path / "report.json"
    command = ["inpaint", pictures, mask, "-o", tmp_path / "out", "--model", tiny_artefact, "--json", report]
    ending = call(*command)
    assert ending.code == 8 and "bad.png" in ending.err and "image_truncated" in ending.err
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    document = json.loads(report.read_text())
    assert (document["done"], document["failed"]) == (4, 1)
    for entry in document["results"]:
        assert Path(entry["image"]).parent == pictures and entry["seconds"] >= 0
        bad = entry["image"].endswith("bad.png")
        assert (entry["status"], entry.get("error")) == (("failed", "image_truncated") if bad else ("done", None))
        assert Path(entry["output"]).exists() != bad
    ending = call(*command, "--skip-existing", "--fail-fast")
    assert ending.code == 3 and ending.slug == "image_truncated"
    statuses = [entry["status"] for entry in json.loads(report.read_text())["results"]]
    assert statuses == ["skipped"] * 4 + ["failed"]


def test_fail_fast_leaves_the_rest_waiting(call, photo, mask, tiny_artefact, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a", "b", "c"):
        (pictures / f"{name}.png").write_bytes(photo.read_bytes()[: 400 if name == "b" else None])
    report = tmp_path / "report.json"
    command = ["inpaint", pictures, mask, "-o", tmp_path / "out", "--model", tiny_artefact, "--json", report]
    assert call(*command, "--fail-fast").code == 3
    statuses = [entry["status"] for entry in json.loads(report.read_text())["results"]]
    assert statuses == ["done", "failed", "waiting"]


def test_results_among_the_pictures_are_refused(refused, photo, mask, tmp_path):
    (tmp_path / "pictures").mkdir()
    photo.rename(tmp_path / "pictures" / "photo.jpg")
    for output in (tmp_path / "pictures", tmp_path / "pictures/../pictures"):
        assert refused(2, "inpaint", tmp_path / "pictures", mask, "-o", output).slug == "same_folder"


def test_a_folder_for_one_picture(call, refused, photo, mask, tiny_artefact, tmp_path):
    assert "does not exist" in refused(2, "inpaint", photo, mask, "-o", f"{tmp_path}/missing/").err
    (tmp_path / "out").mkdir()
    assert call("inpaint", photo, mask, "-o", tmp_path / "out", "--model", tiny_artefact).code == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["photo.inpainted.png"]


def test_a_report_that_cannot_be_written_is_refused_before_the_work(refused, photo, mask, tmp_path):
    assert refused(2, "inpaint", photo, mask, "--json", tmp_path / "missing/r.json").slug == "output_folder"


def test_an_interrupted_folder_says_how_far_it_is(photo, mask, tiny_artefact, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(400):
        (pictures / f"{number:03}.png").write_bytes(photo.read_bytes())
    report = tmp_path / "report.json"
    command = [sys.executable, REPOSITORY / "cli.py", "inpaint", pictures, mask, "-o", tmp_path / "out"]
    started = subprocess.Popen(
        [*command, "--model", tiny_artefact, "--json", report], stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while not (tmp_path / "out/001.png").exists() and time.monotonic() < until:
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 130 and "of 400 pairs are finished; --skip-existing does the rest" in err
    document = json.loads(report.read_text())
    assert document["done"] >= 1 and document["done"] + document["waiting"] == len(document["results"]) == 400


def test_interrupted_while_working(photo, mask, tmp_path):
    """Ctrl-C ends it with 130, soon, and without an output."""
    out = tmp_path / "out.png"
    command = [sys.executable, REPOSITORY / "cli.py", "inpaint", photo, mask, "-o", out, "--model", "small-256"]
    started = subprocess.Popen([*command, "--samples", "1"], stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 130 and "Traceback" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mask.png", "photo.png"]


def test_standard_output_closed_early(photo, mask, tiny_artefact):
    """As with `| head -c 10`: no traceback."""
    command = [sys.executable, REPOSITORY / "cli.py", "inpaint", photo, mask, "-o", "-", "--model", tiny_artefact]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_plain_terminal_and_locale(photo, mask, tiny_artefact):
    environment = {**os.environ, "LC_ALL": "C", "TERM": "dumb", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for command in (["doctor"], ["inpaint", photo, mask, "--model", tiny_artefact, "--overwrite"]):
        done = subprocess.run([sys.executable, REPOSITORY / "cli.py", *command], env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii() and done.stderr.isascii()


def test_home_is_not_needed(photo, mask, tiny_artefact, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    command = [sys.executable, REPOSITORY / "cli.py", "inpaint", photo, mask, "--model", tiny_artefact]
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
