"""`cmgan doctor` on the engines: what is here by the packages' own word, and what to type where it is not."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import openvino
import pytest
import tensorrt_rtx

from cmgan.cli.doctor import _PACKAGES, survey


@pytest.fixture(scope="module")
def rows():
    return {row.what: row for row in survey()}


def test_engines_that_are_here(rows):
    assert openvino.__version__.startswith(rows["run OpenVINO models"].here.split()[1])
    assert f"tensorrt-rtx {tensorrt_rtx.__version__}" in rows["build and run TensorRT-RTX engines"].here


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_an_engine_that_is_missing(rows):
    row = rows["build and run TensorRT engines"]
    assert "missing: tensorrt" in row.here and row.remedy == "pip install 'cmgan[trt]'"


def test_the_gpu_is_named_or_missed(rows):
    row = rows["NVIDIA GPU"]
    assert ", sm_" in row.here or ("no usable NVIDIA GPU" in row.here and "--target" in row.remedy)


def test_every_package_of_an_extra_is_looked_for():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    asked = {extra: {name for _, of, names in _PACKAGES if of == extra for name in names} for _, extra, _ in _PACKAGES}
    for extra, names in asked.items():
        wanted = {re.split(r"[>=\[]", need)[0] for need in project["optional-dependencies"][extra]} - {"cmgan"}
        assert wanted and wanted <= names, extra
