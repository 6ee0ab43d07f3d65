"""An environment with only `cmgan[cpu]` and no torch runs exported files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[1]
PHOTO = REPOSITORY / "examples" / "photo.jpg"
MASK = REPOSITORY / "examples" / "mask.png"

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.check


def _run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command without the caller's PYTHONPATH, which may lead to a torch that is not installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with this checkout and its extra `cpu`."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = _run(*pip, "-c", REPOSITORY / "constraints.txt", f"{REPOSITORY}[cpu]", folder=folder)
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="module")
def cmgan(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Call the installed `cmgan` command, away from the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    return lambda *arguments: _run(python.with_name("cmgan"), *arguments, folder=folder)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file, exported where torch is installed."""
    folder = tmp_path_factory.mktemp("export") / "tiny"
    export = ["export", "--format", "onnx", "--model", "tiny-64", "-o", folder]
    done = _run(sys.executable, REPOSITORY / "cli.py", *export, folder=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return folder / "model.onnx"


def test_torch_is_not_there(python: Path, tmp_path: Path) -> None:
    done = _run(python, "-c", "import cmgan, torch", folder=tmp_path)
    assert "No module named 'torch'" in done.stderr


def test_only_cmgan_is_installed(python: Path, tmp_path: Path) -> None:
    code = "from importlib.metadata import files; print(*{str(f).split('/')[0] for f in files('cmgan')}, sep='\\n')"
    installed = _run(python, "-c", code, folder=tmp_path).stdout.split()
    assert {name for name in installed if not name.endswith(".dist-info")} == {"cmgan", ".."}  # .. leads to bin/cmgan


def test_help(cmgan: Run) -> None:
    done = cmgan("--help")
    assert done.returncode == 0, done.stderr
    assert "inpaint" in done.stdout


def test_doctor_says_how_to_get_torch(cmgan: Run) -> None:
    done = cmgan("doctor")
    assert done.returncode == 0, done.stderr
    assert "cmgan[torch]" in done.stdout


def test_inpaint_repaints_the_hole_only(cmgan: Run, artefact: Path, tmp_path: Path) -> None:
    output = tmp_path / "result.png"
    done = cmgan("inpaint", PHOTO, MASK, "--model", artefact, "-o", output)
    assert done.returncode == 0, done.stderr
    before, after = np.asarray(Image.open(PHOTO)), np.asarray(Image.open(output))
    hole = np.asarray(Image.open(MASK)) >= 128
    np.testing.assert_array_equal(after[~hole], before[~hole])
    assert (after[hole] != before[hole]).any()


def test_check_repeats_the_parity_verdict(cmgan: Run, artefact: Path) -> None:
    done = cmgan("check", artefact)
    assert done.returncode == 0, done.stderr


def test_a_preset_is_refused_with_what_to_install(cmgan: Run, tmp_path: Path) -> None:
    output = tmp_path / "result.png"
    done = cmgan("inpaint", PHOTO, MASK, "--model", "tiny-64", "-o", output)
    assert done.returncode == 5
    assert "cmgan[torch]" in done.stderr
    assert not output.exists()
