"""The one source for TensorRT and TensorRT-RTX compiles. It needs a GPU to run."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

from tests.cpp.conftest import SOURCES

pytestmark = pytest.mark.check


def _folder(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        pytest.skip(f"{module} is not installed")
    return Path(spec.origin).parent


def test_the_source_compiles_against_the_headers_of_tensorrt(built, tmp_path):
    built("onnxruntime")  # brings the headers of JSON
    headers = [_folder("kernel_lens") / "include" / "tensorrt", _folder("triton") / "backends" / "nvidia" / "include"]
    own = [f"-I{SOURCES / 'include'}", f"-I{SOURCES / 'src'}"]
    system = [word for folder in headers for word in ("-isystem", str(folder))]
    command = ["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", *own, *system, "-c", "-o", tmp_path / "engine.o"]
    subprocess.run([*command, SOURCES / "src" / "tensorrt_engine.cpp"], check=True)
