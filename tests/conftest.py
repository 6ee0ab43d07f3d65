"""What holds for every test: two threads, no TF32, seeded random numbers, a logger as a program finds it, GPU tests
skipped with their reason.

Property tests draw the same examples on every machine and take the time they need.
"""

import importlib.util
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

# Before torch is loaded. Threads that wait actively make small networks ten times slower on a machine that is shared.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores Ctrl-C, as do its children
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # openvino reports its import otherwise

if HAS_TORCH := importlib.util.find_spec("torch") is not None:
    import torch

    torch.set_num_threads(min(2, torch.get_num_threads()))
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture(autouse=True)
def _seeded():
    if HAS_TORCH:
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _logger_as_found():
    """A command line that ran in this process has taken the logger over."""
    logger = logging.getLogger("cmgan")
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not HAS_TORCH or not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and there is none here"))


@pytest.fixture(scope="session")
def tiny_source() -> Any:
    """A seeded tiny-64 as a `cmgan.export.source.Source`: traced once for all formats. Not to be changed."""
    from cmgan.export.source import Source
    from cmgan.model.weights import resolve

    return Source(resolve("tiny-64"))


@pytest.fixture(scope="session")
def tiny_folder(tiny_source: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_source` exported through the gate: `model.onnx` and its parity file. Not to be changed."""
    from cmgan.export.artefact import export_model

    folder = tmp_path_factory.mktemp("artefact") / "tiny"
    export_model(tiny_source, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_artefact(tiny_folder: Path) -> Path:
    """The exported file of `tiny_folder`."""
    return tiny_folder / "model.onnx"
