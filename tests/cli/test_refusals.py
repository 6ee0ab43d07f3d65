"""What the command line refuses, and how: the exit code, the kind, one line."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorrt_rtx
from PIL import Image

from cmgan.export.targets.tensorrt import gpu_here
from cmgan.runtime.cuda import Gpu

REPOSITORY = Path(__file__).parents[2]

without_gpu = pytest.mark.skipif(isinstance(gpu_here(), Gpu), reason="about machines without a GPU")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inpant"], "inpaint"),
        (["inpaint", "--foo"], "--foo"),
        (["inpaint"], "image"),
        (["export", "-o", "out", "--format", "onx"], "'onnx', 'trt'"),
        (["export", "-o", "out", "--format", "tensorrt"], "'onnx', 'trt', 'trt-rtx'"),
        (["export", "-o", "out", "--precision", "int3"], "'fp32', 'fp16'"),
        (["export", "-o", "out", "--fft", "dct"], "'matmul', 'dft'"),
        (["export", "-o", "out", "--opset", "7"], "18 to"),
        (["export", "-o", "out", "--res", "300"], "64, 256, 512"),
        (["export", "-o", "out", "--res", "256", "--model", "tiny-64"], "64 x 64 only"),
        (["info", "small-51"], "small-512"),
        (["init", "somewhere", "--preset", "huge"], "tiny-64"),
        (["bench", "--iters", "0"], "iters"),
    ],
)
def test_wrong_usage(refused, arguments, words):
    assert words in refused(2, *arguments).err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seed", "-1"], "seed"),
        (["--seed", str(2**64)], "seed"),
        (["--seed", "abc"], "seed"),
        (["--hd", "wide"], "'crop', 'resize', 'original', 'tile'"),
        (["--mask-threshold", "0"], "1 to 255"),
        (["--mask-channel", "green"], "'auto', 'luma', 'alpha', 'red'"),
        (["--max-pixels", "0"], "at least 1"),
        (["--max-side", "-3"], "at least 1"),
        (["--formats", "psd"], "bmp, tiff, avif"),
        (["--quality", "0"], "1 to 100"),
        (["--dilate", "-1"], "dilate"),
        (["--shard", "3/2"], "i <= n"),
        (["--mask", "beta"], "alpha"),
        (["--box", "1,2,3"], "x,y,w,h"),
        (["--samples", "2", "-o", "-"], "one picture"),
        (["-o", "result.xcf"], ".png"),
        (["-o", "missing/result.png"], "does not exist"),
        (["--model", "no-such-model"], "known are"),
        (["--res", "512", "--model", "tiny-64"], "64 x 64 only"),
    ],
)
def test_wrong_options(refused, photo, mask, options, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if "--shard" in options:
        (tmp_path / "folder").mkdir()
        photo = photo.rename(tmp_path / "folder" / "photo.png").parent
        options = [*options, "-o", tmp_path / "out"]
    masks = [] if "--box" in options or "--mask" in options else [mask]
    assert words in refused(2, "inpaint", photo, *masks, *options).err


def test_a_mask_is_needed(refused, photo):
    assert refused(2, "inpaint", photo).slug == "mask_missing"


def test_one_mask_is_enough(refused, photo, mask):
    assert refused(2, "inpaint", photo, mask, "--box", "1,1,4,4").slug == "mask_twice"


def test_picture_and_mask_are_the_same_file(refused, photo, tmp_path):
    assert refused(2, "inpaint", photo, photo).slug == "same_file"
    (tmp_path / "link.png").symlink_to(photo)
    assert refused(2, "inpaint", photo, tmp_path / "link.png").slug == "same_file"


def test_output_over_the_input(refused, call, photo, mask, tiny_artefact):
    before = photo.read_bytes()
    assert refused(2, "inpaint", photo, mask, "-o", photo, "--model", tiny_artefact).slug == "output_exists"
    assert call("inpaint", photo, mask, "-o", photo, "--model", tiny_artefact, "--overwrite").code == 0
    assert photo.read_bytes() != before


def test_unpaired_folders_are_refused_before_any_work(refused, photo, mask, tmp_path):
    pictures, masks = tmp_path / "pictures", tmp_path / "masks"
    pictures.mkdir()
    masks.mkdir()
    for name in ("a", "b"):
        (pictures / f"{name}.png").write_bytes(photo.read_bytes())
    (masks / "a.png").write_bytes(mask.read_bytes())
    ending = refused(2, "inpaint", pictures, masks, "-o", tmp_path / "out")
    assert ending.slug == "unpaired" and "b.png" in ending.err


@pytest.mark.parametrize(("value", "name"), [("abc", "CMGAN_MAX_PIXELS"), ("-1", "CMGAN_MAX_PIXELS")])
def test_a_bad_variable_is_named(refused, photo, mask, monkeypatch, value, name):
    monkeypatch.setenv(name, value)
    assert name in refused(2, "inpaint", photo, mask).err


def _as_text(path: Path) -> None:
    path.write_text("this is no picture")


def _as_bitmap(path: Path) -> None:
    Image.new("RGB", (32, 32)).save(path, format="BMP")


def _as_folder(path: Path) -> None:
    path.mkdir()


def _as_small(path: Path) -> None:
    Image.new("RGB", (15, 40)).save(path, format="PNG")


def _as_narrow(path: Path) -> None:
    Image.new("RGB", (16, 16 * 33)).save(path, format="PNG")


def _as_cut(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:3000])


def _as_fifo(path: Path) -> None:
    os.mkfifo(path)


def _as_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


@pytest.mark.parametrize(
    ("make", "slug"),
    [
        (lambda path: None, "not_found"),
        (_as_text, "image_format"),
        (_as_bitmap, "image_format"),
        (_as_small, "image_too_small"),
        (_as_narrow, "image_too_narrow"),
        (_as_cut, "image_truncated"),
        (_as_fifo, "not_a_file"),
        (_as_dangling, "not_found"),
    ],
)
@pytest.mark.parametrize("which", ["picture", "mask"])
def test_unusable_pictures_and_masks(refused, call, photo, mask, tmp_path, make, slug, which):
    bad = tmp_path / "bad.png"
    make(bad)
    pair = (bad, mask) if which == "picture" else (photo, bad)
    if make is _as_fifo:  # its content cannot be compared: judge it by hand
        ending = call("inpaint", *pair)
        assert ending.code == 3
    else:
        ending = refused(3, "inpaint", *pair)
    assert ending.slug == slug and "bad.png" in ending.err


def test_a_bitmap_is_taken_when_asked_for(call, mask, tmp_path, tiny_artefact):
    Image.new("RGB", (96, 80), "green").save(tmp_path / "photo.bmp")
    ending = call("inpaint", tmp_path / "photo.bmp", mask, "--formats", "bmp", "--model", tiny_artefact)
    assert ending.code == 0, ending


def test_names_are_escaped(refused, mask, tmp_path):
    name = tmp_path / "evil\n\x1b[31m\u202ename.png"
    name.write_text("no picture")
    ending = refused(3, "inpaint", name, mask)
    assert "\\x1b" in ending.err and "\\u202e" in ending.err


def test_odd_names_work(call, photo, mask, tmp_path, tiny_artefact, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-photo.png").write_bytes(photo.read_bytes())
    ending = call("inpaint", "--model", tiny_artefact, "-o", "out.png", "--", "-photo.png", mask)
    assert ending.code == 0 and Path("out.png").is_file(), ending
    undecodable = os.fsencode(tmp_path) + b"/b\xff.png"
    with open(undecodable, "wb") as file:
        file.write(photo.read_bytes())
    ending = call("inpaint", os.fsdecode(undecodable), mask, "--model", tiny_artefact, "-o", "out2.png")
    assert ending.code == 0, ending


def test_mask_of_another_size(refused, photo, tmp_path):
    Image.new("L", (40, 40), 255).save(tmp_path / "small.png")
    ending = refused(3, "inpaint", photo, tmp_path / "small.png")
    assert ending.slug == "mask_size" and "40x40" in ending.err and "96x80" in ending.err


def test_a_full_mask(refused, call, photo, tmp_path, tiny_artefact):
    Image.new("L", (96, 80), 255).save(tmp_path / "full.png")
    assert refused(3, "inpaint", photo, tmp_path / "full.png").slug == "mask_full"
    command = ["inpaint", photo, tmp_path / "full.png", "--allow-full-mask", "--model", tiny_artefact]
    assert call(*command).code == 0


def test_an_inverted_mask_is_suspected(call, photo, mask, tmp_path, tiny_artefact):
    with Image.open(mask) as image:
        Image.eval(image, lambda value: 255 - value).save(tmp_path / "inverted.png")
    ending = call("inpaint", photo, tmp_path / "inverted.png", "--model", tiny_artefact)
    assert ending.code == 0 and "--invert-mask" in ending.err


def test_missing_device(refused, photo, mask, tiny_artefact):
    for device in ("cuda:99", "tpu"):
        ending = refused(5, "inpaint", photo, mask, "--model", tiny_artefact, "--device", device)
        assert ending.slug == "device" and device in ending.err


@without_gpu
def test_tensorrt_builds_where_the_gpu_is(refused, tmp_path, monkeypatch):
    arguments = "export", "--format", "trt", "--model", "tiny-64", "-o", tmp_path / "out"
    if importlib.util.find_spec("tensorrt") is None:
        assert "pip install 'cmgan[trt]'" in refused(5, *arguments).err
        # It installs from its maker's index alone; TensorRT-RTX, the same interface, takes its place.
        monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_rtx)
    ending = refused(5, *arguments)
    assert ending.slug == "no_gpu"
    for instead in ("--format trt-rtx --target", "--format onnx"):
        assert instead in ending.err


def test_refusals_come_before_the_model(tmp_path, photo):
    """A file is refused without torch or a runtime being loaded."""
    code = (
        "import sys\nfrom cmgan.cli.main import run\n"
        "assert run(sys.argv[1:]) == 3\n"
        "assert not {'torch', 'onnxruntime', 'onnx'} & set(sys.modules)"
    )
    (tmp_path / "text.png").write_text("no picture")
    command = [sys.executable, "-c", code, "inpaint", photo, tmp_path / "text.png"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_takes_no_files(refused, photo, mask, tiny_artefact):
    """Not even from root."""
    assert refused(6, "inpaint", photo, mask, "-o", "/proc/out.png", "--model", tiny_artefact).slug == "not_writable"


def test_a_full_disk_keeps_the_old_file(photo, mask, tmp_path, tiny_artefact):
    """The file size limit stands for the disk: the write fails half way, the old file stays, no temporary is left."""
    large = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)).save(large)
    out = tmp_path / "out.png"
    out.write_bytes(b"the old file")
    code = (
        "import resource, signal, sys\nfrom cmgan.cli.main import run\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "inpaint", large, "--box", "5,5,20,20", "-o", out, "--overwrite"]
    done = subprocess.run([*command, "--model", tiny_artefact], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 6, done.stderr
    assert "file_limit" in done.stderr and "Traceback" not in done.stderr
    assert out.read_bytes() == b"the old file"
    assert not [p for p in tmp_path.iterdir() if "cmgan-tmp" in p.name]


def test_endless_input_is_given_up(mask):
    command = f"yes | {sys.executable} cli.py inpaint - {mask} -o -"
    done = subprocess.run(command, shell=True, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 3 and "file_too_large" in done.stderr


def test_a_bug_is_one_line(call, monkeypatch, photo, mask):
    from cmgan.imaging import picture

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of our own making")

    monkeypatch.setattr(picture, "decode", broken)
    ending = call("inpaint", photo, mask)
    assert ending.code == 1 and ending.slug == "internal" and "--debug" in ending.err
    assert len(ending.err.splitlines()) == 1
    assert "Traceback" in call("--debug", "inpaint", photo, mask).err
