"""The C interface under the address and undefined-behaviour sanitizers, and what the program refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.cpp.conftest import SOURCES

pytestmark = pytest.mark.check


@pytest.mark.parametrize(
    ("format", "pipeline"), [("onnx", "full"), ("onnx", "core"), ("openvino", "full"), ("aoti", "full")]
)
def test_the_interface_keeps_its_promises_under_sanitizers(built, artefact, format, pipeline):
    """Bad arguments, strides, batches, in place, four threads: see examples/cpp/tests/interface.cpp."""
    command = [built("sanitize") / "interface", artefact(format, pipeline)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "passed\n", "")


# OpenVINO compiles its model at each opening, which takes almost a second of processor time: fewer cycles.
@pytest.mark.parametrize(("format", "cycles"), [("onnx", 1000), ("openvino", 60)])
def test_opening_and_closing_leaves_nothing_behind(built, artefact, format, cycles):
    preset = {"onnx": "onnxruntime", "openvino": "openvino"}[format]
    folder = built(preset)
    for words in ([folder, "-DCMGAN_TESTS=ON"], ["--build", folder, "--target", "cycles"]):
        subprocess.run(["cmake", *words], check=True, capture_output=True)
    command = [folder / "cycles", artefact(format), str(cycles)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1_000_000


def test_the_header_is_plain_c(tmp_path):
    source = tmp_path / "user.c"
    source.write_text("#include <cmgan.h>\nint main(void) { cmgan_close(0); return CMGAN_OK; }\n")
    flags = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
    subprocess.run(["cc", *flags, f"-I{SOURCES / 'include'}", source], check=True)


def _damaged(path: Path, folder: Path, **changes) -> Path:
    """A copy of an artefact whose metadata say something else."""
    for file in path.parent.glob("model.*"):
        shutil.copy(file, folder)
    copy = folder / path.name
    if path.suffix == ".onnx":
        model = onnx.load(copy)
        for prop in model.metadata_props:
            key = prop.key.removeprefix("cmgan.")
            prop.value = json.dumps(changes.get(key, json.loads(prop.value)))
        onnx.save(model, copy)
    else:
        sidecar = folder / f"{path.name}.json"
        sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | changes))
    return copy


REFUSED_METADATA = [
    ({"schema": 2}, "schema 2; this library reads up to 1"),
    ({"mask_rule": "hole = value < 128"}, "the mask rule 'hole = value < 128'"),
    ({"layout": "NCHW uint8 RGB"}, "the layout 'NCHW uint8 RGB'; this library knows 'NHWC uint8 RGB'"),
    ({"resolution": 32}, "image uint8 (N, 64, 64, 3)"),
    ({"resolution": "large"}, "metadata that cannot be read"),
]


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize(("changes", "message"), REFUSED_METADATA)
def test_metadata_are_read_not_assumed(inpaint, artefact, tmp_path, format, changes, message):
    done = inpaint("sanitize", _damaged(artefact(format), tmp_path, **changes))
    assert done.returncode == 4 and message in done.stderr and done.stderr.count("\n") == 1


def test_files_that_are_not_those_of_the_export_are_refused(inpaint, artefact, tmp_path):
    copy = _damaged(artefact("openvino"), tmp_path)
    weights = tmp_path / "model.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert "model.bin is not the one that was exported" in inpaint("sanitize", copy).stderr
    weights.unlink()
    assert "model.bin cannot be read" in inpaint("sanitize", copy).stderr
    (tmp_path / "model.xml.json").write_text("[")
    assert "metadata that cannot be read" in inpaint("sanitize", copy).stderr
    (tmp_path / "model.xml.json").unlink()
    done = inpaint("sanitize", copy)
    assert done.returncode == 4 and "no model.xml.json beside it" in done.stderr


def test_a_package_for_another_machine_is_refused(inpaint, artefact, tmp_path):
    details = json.loads(artefact("aoti").with_name("model.pt2.json").read_text())["details"]
    for change, message in (
        ({"torch": "1.0.0"}, "compiled for torch 1.0.0, and here is 2."),
        ({"instructions": ["avx4096"]}, "instructions that this processor does not have (avx4096)"),
        ({"device": "cuda"}, ""),
    ):
        done = inpaint("sanitize", _damaged(artefact("aoti"), tmp_path, details=details | change), "--device", "cpu")
        assert done.returncode in (4, 5) and message in done.stderr


def test_a_build_without_the_back_end_says_so(inpaint, artefact):
    done = inpaint("onnxruntime", artefact("openvino"))
    assert done.returncode == 5 and "configure with -DCMGAN_OPENVINO=ON" in done.stderr


def test_pictures_that_do_not_fit_are_refused(inpaint, artefact, pictures, tmp_path):
    picture = Image.open(pictures[0])
    cut = tmp_path / "cut.png"
    cut.write_bytes(pictures[0].read_bytes()[:-200])
    refused = [
        (picture.crop((0, 0, 64, 63)), "is 64 x 63; the engine takes 64 x 64"),
        (picture.convert("RGBA"), "has transparency"),
        (Image.fromarray(np.zeros((64, 64), np.uint16)), "16 bits a channel"),
    ]
    for i, (image, message) in enumerate(refused):
        image.save(tmp_path / f"{i}.png")
        done = inpaint("sanitize", artefact("onnx"), photo=tmp_path / f"{i}.png")
        assert done.returncode == 3 and message in done.stderr
    for photo, message in ((cut, "cut or damaged"), (SOURCES / "build.sh", "no PNG"), (tmp_path / "none", "No such")):
        done = inpaint("sanitize", artefact("onnx"), photo=photo)
        assert done.returncode == 3 and message in done.stderr
    assert "a mask is grey" in inpaint("sanitize", artefact("onnx"), mask=pictures[0]).stderr
    assert not (tmp_path / "out.png").exists()


def test_palettes_grey_and_one_bit_are_read_as_pillow_reads_them(inpaint, artefact, pictures, tmp_path):
    photo, mask = Image.open(pictures[0]), Image.open(pictures[1])
    for i, image in enumerate((photo.quantize(16), photo.convert("L"))):
        image.save(tmp_path / f"{i}.png")
        mask.convert("1").save(tmp_path / "mask.png")
        done = inpaint("sanitize", artefact("onnx"), photo=tmp_path / f"{i}.png", mask=tmp_path / "mask.png")
        assert done.returncode == 0, done.stderr
        known = np.array(mask) < 128
        painted = np.array(Image.open(tmp_path / "out.png"))
        np.testing.assert_array_equal(painted[known], np.array(image.convert("RGB"))[known])


def test_wrong_words_are_exit_2(inpaint, artefact, tmp_path):
    (tmp_path / "short.f32").write_bytes(bytes(4 * 63))
    for options in (["--seed", "-1"], ["--threads", "x"], ["--sed", "1"], ["--z", str(tmp_path / "short.f32")]):
        done = inpaint("sanitize", artefact("onnx"), *options)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
