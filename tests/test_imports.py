"""Importing does nothing, and every room runs with only what it needs. Each check has a process of its own."""

import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import cmgan

ROOT = Path(cmgan.__file__).parent.parent
HEAVY = {"torch", "onnx", "onnxruntime", "onnxscript", "openvino", "tensorrt", "tensorrt_rtx", "triton", "matplotlib"}
MODULES = sorted(module.name for module in pkgutil.walk_packages(cmgan.__path__, "cmgan."))
TORCH_FREE = [
    name
    for name in MODULES
    if name.startswith(("cmgan.config", "cmgan.errors", "cmgan.files", "cmgan.imaging", "cmgan.runtime"))
    and name != "cmgan.runtime.eager"
]

BLOCK_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "triton", "safetensors"}:
            raise ModuleNotFoundError(f"No module named {name!r} in this test", name=name)
sys.meta_path.insert(0, Blocked())
"""


def run(code: str) -> str:
    """The output of Python code in a fresh process, which must write nothing to stderr."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["cmgan"] + [name for name in MODULES if name == "cmgan.cli"])
def test_the_entrance_loads_nothing_heavy(name):
    loaded = run(f"import sys, {name}; print(*sys.modules)").split()
    assert name in loaded and HEAVY.isdisjoint(loaded)


def test_every_torch_free_module_imports_without_torch():
    assert TORCH_FREE
    imports = "\n".join(f"import {name}" for name in TORCH_FREE)
    loaded = run(f"{BLOCK_TORCH}\n{imports}\nprint(*sys.modules)").split()
    assert set(TORCH_FREE) <= set(loaded) and HEAVY.isdisjoint(loaded)


def test_the_block_works():
    with pytest.raises(AssertionError, match="No module named 'torch' in this test"):
        run(f"{BLOCK_TORCH}\nimport cmgan.model.generator")


def test_importing_prints_nothing():
    """Neither to stdout nor, as warnings do, to stderr; the kernels where Triton is installed."""
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    triton = importlib.util.find_spec("triton") is not None
    names = [name for name in MODULES if triton or not name.startswith("cmgan.kernels")]
    assert run("\n".join(f"import {name}" for name in names)) == ""


def test_help_loads_no_numbers():
    """`cmgan --help` is quick: not even NumPy."""
    code = "import sys; from cmgan.cli.main import run; run(['--help']); assert 'numpy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
