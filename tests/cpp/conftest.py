"""Builds of examples/cpp and artefacts for them, each made once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
SOURCES = REPOSITORY / "examples" / "cpp"


@pytest.fixture(scope="session")
def built() -> Callable[[str], Path]:
    """The folder of a preset's build, as `make cpp` makes it. Skips where Debian's packages are missing."""

    @cache
    def build(preset: str) -> Path:
        command = [str(SOURCES / "build.sh"), sys.executable, preset]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 5:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stdout + done.stderr
        return REPOSITORY / "build" / "cpp" / preset

    return build


@pytest.fixture(scope="session")
def artefact(tiny_source: Any, tiny_artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """tiny-64 as a file of a format, full or core. Not to be changed."""
    from cmgan.export.artefact import export_model
    from cmgan.export.options import ExportOptions
    from cmgan.export.trace import OnnxOptions

    @cache
    def export(format: str, pipeline: str = "full") -> Path:
        if (format, pipeline) == ("onnx", "full"):
            return tiny_artefact
        options = ExportOptions(format=format, graph=OnnxOptions(pipeline=pipeline))
        return export_model(tiny_source, tmp_path_factory.mktemp("cpp") / format, options).file

    return export


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """64 x 64 of the sample photograph and of its mask, where the mask has an edge."""
    folder = tmp_path_factory.mktemp("pictures")
    box = (286, 427, 350, 491)
    Image.open(REPOSITORY / "examples" / "photo.jpg").convert("RGB").crop(box).save(folder / "photo.png")
    mask = Image.open(REPOSITORY / "examples" / "mask.png").crop(box)
    assert mask.getextrema() == (0, 255)
    mask.save(folder / "mask.png")
    return folder / "photo.png", folder / "mask.png"


@pytest.fixture
def inpaint(built: Callable[[str], Path], pictures: tuple[Path, Path], tmp_path: Path) -> Callable[..., Any]:
    """Run `cmgan-inpaint` of a build on an engine and the sample pictures, or on others."""

    def run(preset: str, engine: Path, *options: str, photo: Path = pictures[0], mask: Path = pictures[1]) -> Any:
        command = [built(preset) / "cmgan-inpaint", *options, engine, photo, mask, tmp_path / "out.png"]
        return subprocess.run([str(word) for word in command], capture_output=True, text=True)

    return run
