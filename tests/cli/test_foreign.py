"""A LaMa file of others through the commands: known, painted with, lowered, proven, exported."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.runtime.foreign_graphs import lama, migan, save


@pytest.fixture
def file(tmp_path):
    return save(lama(scale=255), tmp_path / "lama.onnx")


def test_info_says_what_it_is_and_why(call, file, tmp_path):
    ending = call("info", file, "--json", tmp_path / "info.json")
    assert ending.code == 0 and "LaMa: picture and mask apart" in ending.out, ending
    facts = json.loads((tmp_path / "info.json").read_text())["signature"]
    assert (facts["name"], facts["scale"], facts["hole"]) == ("lama", 255, 1)
    assert "no influence" in facts["why"]


@pytest.mark.parametrize("model", [lama(), migan()], ids=["lama", "migan"])
def test_pictures_are_filled_with_it(call, photo, mask, tmp_path, model):
    path = save(model, tmp_path / "foreign.onnx")
    ending = call("inpaint", photo, mask, "--model", path, "--res", 64, "-o", tmp_path / "out.png")
    assert ending.code == 0 and ending.err.count("not proven") == 1, ending
    before, after, hole = (np.asarray(Image.open(p)) for p in (photo, tmp_path / "out.png", mask))
    np.testing.assert_array_equal(after[hole < 128], before[..., :3][hole < 128])
    assert (after != before[..., :3])[hole >= 128].any()


def test_lowered_and_proven_against_the_file(call, refused, file, tmp_path):
    lowered = tmp_path / "lowered.onnx"
    shapes = ("--shape", "image=1,3,64,64", "--shape", "mask=1,1,64,64")
    assert call("lower", file, *shapes, "-o", lowered).code == 0
    assert refused(4, "check", lowered).slug == "no_proof"
    ending = call("check", lowered, "--against", file)
    assert ending.code == 0, ending
    verdict = json.loads({p.key: p.value for p in onnx.load(lowered).metadata_props}["cmgan.against"])
    assert verdict["values"] == "passed" and verdict["reference"] == "lama.onnx" and len(verdict["cases"]) == 6
    other = lama((64, 64))
    bias = next(t for t in other.graph.initializer if t.name == "bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) * np.float32(1.2), "bias"))
    ending = call("check", save(other, tmp_path / "other.onnx"), "--against", file)
    assert ending.code == 7 and "does not paint what lama" in ending.err


def test_exported_to_openvino(call, file, photo, mask, tmp_path):
    ending = call("export", "--from", file, "--res", 64, "--format", "openvino", "-o", tmp_path / "ov")
    assert ending.code == 0 and "parity passed" in ending.out, ending
    metadata = json.loads((tmp_path / "ov/model.xml.json").read_text())
    assert metadata["verdict"]["uint8"]["hole_max_abs"] <= 1 and metadata["pipeline"] == "lama"
    ending = call("inpaint", photo, mask, "--model", tmp_path / "ov/model.xml", "-o", tmp_path / "out.png")
    assert ending.code == 0, ending
    assert call("check", tmp_path / "ov/model.xml", "--against", file).code == 0
    before, after, hole = (np.asarray(Image.open(p)) for p in (photo, tmp_path / "out.png", mask))
    np.testing.assert_array_equal(after[hole < 128], before[..., :3][hole < 128])


def test_exported_to_tensorrt_rtx_which_does_not_run_here(call, file, tmp_path):
    arguments = ("--format", "trt-rtx", "--target", "sm_89", "-o", tmp_path / "rtx")
    ending = call("export", "--from", file, "--res", 64, *arguments)
    assert ending.code == 0 and "not run here" in ending.out, ending
    metadata = json.loads((tmp_path / "rtx/model.rtx.json").read_text())
    assert metadata["verdict"]["source"] == "passed" and (tmp_path / "rtx/model.rtx").stat().st_size


def test_what_is_not_offered(refused, file, tmp_path):
    for more in (("--format", "aoti"), ("--format", "openvino", "--precision", "int8"), ("--model", "tiny-64")):
        ending = refused(2, "export", "--from", file, "-o", tmp_path / "out", *more)
        assert ending.slug == "from", ending
