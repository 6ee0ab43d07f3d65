"""The C++ program paints what the Python engine paints: the same runtime, the same threads, the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.open import open_artefact
from tests.cpp.conftest import SOURCES

pytestmark = pytest.mark.check

ENGINES = [
    ("onnxruntime", "onnx", "full"),
    ("onnxruntime", "onnx", "core"),
    ("openvino", "openvino", "full"),
    ("aoti", "aoti", "full"),
]


@pytest.mark.parametrize(("preset", "format", "pipeline"), ENGINES)
@pytest.mark.parametrize("threads", [1, 2])
def test_pixels_and_raw_output_are_those_of_python(
    inpaint, artefact, pictures, tmp_path, preset, format, pipeline, threads
):
    path = artefact(format, pipeline)
    image, mask = (np.array(Image.open(picture))[None] for picture in pictures)
    z = np.random.Generator(np.random.PCG64(7)).standard_normal((1, 64), np.float32)
    z.tofile(tmp_path / "z.f32")
    done = inpaint(
        preset, path, "--z", str(tmp_path / "z.f32"), "--raw", str(tmp_path / "raw"), "--threads", str(threads)
    )
    assert done.returncode == 0, done.stderr

    engine = open_artefact(path, EngineOptions(threads=threads))
    painted = engine(image, mask, z)[0]
    assert (painted != image[0]).any()
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "out.png")), painted)
    raw = engine.output(image, mask, z)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "raw", raw.dtype), raw.ravel())


def _reference_noise(seed: int, count: int) -> np.ndarray:
    """Matsumoto and Nishimura's 64-bit Mersenne Twister (2004) and Box and Muller's formula, as docs/cpp.md says."""
    word = (1 << 64) - 1
    state = [seed]
    for i in range(1, 312):
        state.append((6364136223846793005 * (state[-1] ^ (state[-1] >> 62)) + i) & word)
    for i in range(312):
        x = (state[i] & 0xFFFFFFFF80000000) | (state[(i + 1) % 312] & 0x7FFFFFFF)
        state[i] = state[(i + 156) % 312] ^ (x >> 1) ^ (0xB5026F5AA96619E9 if x & 1 else 0)
    uniform = []
    for x in state:
        x ^= (x >> 29) & 0x5555555555555555
        x ^= (x << 17) & 0x71D67FFFEDA60000
        x ^= (x << 37) & 0xFFF7EEE000000000
        x ^= x >> 43
        uniform.append(((x >> 11) + 0.5) * 2.0**-53)
    radius, angle = np.sqrt(-2 * np.log(uniform[::2])), 2 * np.pi * np.array(uniform[1::2])
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()[:count].astype(np.float32)


def test_a_seed_gives_the_noise_that_the_page_describes(inpaint, artefact, tmp_path):
    _reference_noise(9, 64).tofile(tmp_path / "z.f32")
    painted = []
    for options in (("--seed", "9"), ("--z", str(tmp_path / "z.f32")), ("--seed", "10")):
        done = inpaint("onnxruntime", artefact("onnx"), *options)
        assert done.returncode == 0, done.stderr
        painted.append((tmp_path / "out.png").read_bytes())
    assert painted[0] == painted[1] != painted[2]


def test_the_bench_measures_both(built, artefact):
    program = built("onnxruntime") / "cmgan-inpaint"
    command = [sys.executable, SOURCES / "bench.py", artefact("onnx"), "--program", program, "--turns", "2"]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for row in ("| C++ |", "| Python |"):
        numbers = table.split(row)[1].splitlines()[0].split("|")[:5]
        assert all(float(number) > 0 for number in numbers)


def test_the_program_says_what_the_engine_says(built, artefact):
    for preset, format in (("onnxruntime", "onnx"), ("openvino", "openvino"), ("aoti", "aoti")):
        command = [built(preset) / "cmgan-inpaint", "--info", artefact(format)]
        seen = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        metadata = open_artefact(artefact(format)).metadata
        for key in ("format", "name", "version", "precision", "pipeline", "layout", "mask_rule", "licence", "schema"):
            assert seen[key] == getattr(metadata, key)
        assert (seen["resolution"], seen["z_dim"], seen["hole_from"], seen["trained"]) == (64, 64, 128, False)
