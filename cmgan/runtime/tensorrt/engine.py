"""Runs engines of TensorRT and TensorRT-RTX. What does not fit this machine is told before anything is deserialised.

An engine is native code. The sidecar's digests say that it is the file that was exported, not who exported it: open
only engines that you trust like a program.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmgan.config import PRESETS
from cmgan.errors import MissingError, ModelError, about
from cmgan.files import cache_folder, sha256
from cmgan.runtime import cuda
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.file_engine import Arrays, FileEngine, signature_of
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.sidecar import read_sidecar
from cmgan.runtime.tensorrt.library import TITLES, library
from cmgan.runtime.tensorrt.session import Session


@dataclass(frozen=True)
class Build:
    """What an engine was built with and for: the `details` of its metadata."""

    version: str  # of the library
    targets: tuple[str, ...]  # compute capabilities of the GPUs that can run it
    batches: tuple[int, int, int]  # least, usual, largest
    source_sha256: str  # of the ONNX graph
    gpu: str = ""  # that it was built on: name, CUDA of its driver, CUDA runtime
    driver: str = ""
    cuda: str = ""

    @classmethod
    def of(cls, metadata: Metadata) -> Build:
        """Read it back.

        Raises:
            ModelError: it is not complete.
        """
        try:
            values = {key: value for key, value in metadata.details.items() if key != "signature"}
            least, usual, largest = (int(n) for n in values.pop("batches"))
            return cls(batches=(least, usual, largest), targets=tuple(map(str, values.pop("targets"))), **values)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                "sidecar", "has metadata without the engine's versions and targets; export again"
            ) from error


class TensorrtEngine(FileEngine):
    """An engine over a `.engine` or `.rtx` file and its sidecar. Batches over its largest are split."""

    def __init__(self, path: Path, options: EngineOptions | None = None) -> None:
        """
        Raises:
            ModelError: a file is damaged, or the engine was built for another version or GPU.
            MissingError: the library, or a GPU that can run it, is missing here.
        """
        metadata, files = read_sidecar(path)
        options = options or EngineOptions()
        with about(path):
            if metadata.format not in TITLES:
                raise ModelError("sidecar", f"is {metadata.format} by its metadata, no engine; export again")
            build = Build.of(metadata)
            trt = library(metadata.format)
            check_version(metadata, build, trt.__version__)
            gpu = _gpu(options.device, build)
            check_gpu(metadata, build, gpu)
            plan = files[path.name]
            self._session = Session(trt, plan, build.batches, gpu, kernel_cache(metadata.format, build, plan, gpu))
        details = {"library": f"{TITLES[metadata.format]} {build.version}", "gpu": gpu.name, "batches": build.batches}
        super().__init__(metadata, signature_of(metadata), **details)

    def on_device(self, image: Any, mask: Any, z: Any, output: Any) -> None:
        """Paint into `output`, all four being contiguous arrays on the engine's GPU with `__dlpack__` (PyTorch, CuPy,
        JAX); shapes and types are those of the graph. When this returns, `output` is written.

        Raises:
            ValueError: an array is on another device, or not of the shape and type that the graph needs.
        """
        self._session.run_on_device({"image": image, "mask": mask, "z": z, "output": output})

    def _run(self, inputs: Arrays) -> np.ndarray:
        return self._session.run(inputs)

    def _release(self) -> None:
        del self._session


def check_version(metadata: Metadata, build: Build, installed: str) -> None:
    """Refuse an engine of another version of its library: neither library reads those."""
    if build.version != installed:
        title = TITLES[metadata.format]
        message = f"was built with {title} {build.version}, and {installed} is installed; rebuild it"
        raise ModelError("engine_incompatible", f"{message}: {rebuild_command(metadata, build, build.targets)}")


def check_gpu(metadata: Metadata, build: Build, gpu: cuda.Gpu) -> None:
    """Refuse an engine that was built for GPUs of other compute capabilities."""
    if gpu.capability not in build.targets:
        message = f"was built for {', '.join(build.targets)}, and {gpu.name} is {gpu.capability}; rebuild it"
        raise ModelError("engine_incompatible", f"{message}: {rebuild_command(metadata, build, (gpu.capability,))}")


def rebuild_command(metadata: Metadata, build: Build, targets: tuple[str, ...]) -> str:
    """The command that exports the same model again, for other targets."""
    model = metadata.name if not metadata.trained and metadata.name in PRESETS else "FOLDER"
    words = ["cmgan export --format", metadata.format, "--model", model, "--precision", metadata.precision]
    if metadata.format == "trt-rtx":
        words += ["--target", ",".join(targets)]
    if build.batches[2] > 1:
        words += ["--batch-max", str(build.batches[2])]
    return " ".join([*words, "-o OUT"])


def kernel_cache(format: str, build: Build, plan: bytes, gpu: cuda.Gpu) -> Path:
    """Where TensorRT-RTX's compiled kernels of this engine on this GPU are kept."""
    return cache_folder() / format / f"{sha256(plan)[:16]}-{build.version}-{gpu.capability}.kernels"


def _gpu(device: str, build: Build) -> cuda.Gpu:
    try:
        return cuda.gpu(device)
    except MissingError as error:
        where = f"runs on an NVIDIA GPU of {' or '.join(build.targets)}"
        message = f"{where}: {error.message}; copy it, its .json and its .parity.npz to such a machine"
        raise MissingError(error.slug, message) from error
