"""An installed library is found by CMake and pkg-config, and the program on the page builds and runs with it."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest
from PIL import Image

import cmgan
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.open import open_artefact
from cmgan.weights import bundled
from tests.cpp.conftest import REPOSITORY

pytestmark = pytest.mark.check


def _block(language: str) -> str:
    """The one block of that language on the page."""
    page = (REPOSITORY / "docs" / "cpp.md").read_text()
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return block


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", built("onnxruntime"), "--prefix", prefix], check=True, capture_output=True)
    return prefix


def test_the_program_on_the_page_paints_what_python_paints(installed, tmp_path):
    (tmp_path / "fill.cpp").write_text(_block("cpp"))
    (tmp_path / "CMakeLists.txt").write_text(_block("cmake"))
    for command in (["-S", ".", "-B", "built", f"-DCMAKE_PREFIX_PATH={installed}"], ["--build", "built"]):
        subprocess.run(["cmake", *command], cwd=tmp_path, check=True, capture_output=True)

    path = bundled()["photos-256"] / "model.onnx"
    size = (256, 256)
    image = np.array(Image.open(REPOSITORY / "examples" / "photo.jpg").convert("RGB").resize(size))[None]
    mask = np.array(Image.open(REPOSITORY / "examples" / "mask.png").convert("L").resize(size))[None]
    image.tofile(tmp_path / "photo.rgb")
    mask.tofile(tmp_path / "mask.grey")
    done = subprocess.run([tmp_path / "built" / "fill", path], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    engine = open_artefact(path, EngineOptions(threads=1))
    painted = engine(image, mask, np.zeros((1, engine.info.z_dim), np.float32))
    np.testing.assert_array_equal(np.fromfile(tmp_path / "filled.rgb", np.uint8), painted.ravel())


def test_pkg_config_and_the_installed_program(installed, tmp_path):
    (folder,) = installed.glob("lib*/**/pkgconfig")

    def asked(*options: str) -> list[str]:
        words = ["pkg-config", f"--with-path={folder}", *options, "cmgan"]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()

    assert asked("--modversion") == [cmgan.__version__]
    flags = asked("--cflags", "--libs")
    (tmp_path / "user.c").write_text("#include <cmgan.h>\nint main(void) { return cmgan_open(0, 0, 0); }\n")
    rpath = f"-Wl,-rpath,{folder.parent}"
    subprocess.run(["cc", "user.c", "-o", "user", *flags, rpath], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "user"]).returncode == 2
    helped = subprocess.run([installed / "bin" / "cmgan-inpaint", "--help"], capture_output=True, text=True)
    assert helped.stdout.startswith("usage: cmgan-inpaint")
