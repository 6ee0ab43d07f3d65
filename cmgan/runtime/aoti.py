"""Runs packages that AOTInductor compiled: native code and weights in one file. PyTorch, but not the model's code."""

from __future__ import annotations

import io
import platform
import re
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from cmgan.errors import MissingError, ModelError, about, needs
from cmgan.machine import CPUINFO, instructions
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.file_engine import Arrays, FileEngine
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.sidecar import read_sidecar

# A package is unpacked by its loader. Pickles, which PyTorch would read from other places in it, are not wanted.
_MEMBER = re.compile(
    r"(?P<root>[\w-]+)/(archive_format|archive_version|byteorder|\.data/[a-z_]+|data/aotinductor/model/\w[\w.-]*)"
)
# Of what /proc/cpuinfo lists, the instructions that a compiler may use by itself for the machine that it runs on.
_INSTRUCTIONS = re.compile(r"(avx|sse|ssse|fma|bmi|amx|sve|asimd)\w*|f16c|popcnt|movbe|abm|gfni|bf16|i8mm")


class AotiEngine(FileEngine):
    """An engine over a `.pt2` package that cmgan exported, pipeline or core graph. Safe to call from several threads,
    which then take turns."""

    def __init__(self, path: Path, options: EngineOptions | None = None) -> None:
        """
        Raises:
            ModelError: the package is not the one that was exported, or was compiled for another machine or PyTorch.
            MissingError: PyTorch or the device is missing.
        """
        options = options or EngineOptions()
        metadata, files = read_sidecar(path)
        with about(path):
            data = files[path.name]
            check_package(data)
            check_built_for(metadata)
            self._device = _device(metadata, options.device)
            self._package = load_package(data, self._device)
        if options.threads:
            import torch

            torch.set_num_threads(options.threads)
        super().__init__(metadata, **{**metadata.details, "device": self._device})

    def _run(self, inputs: Arrays) -> np.ndarray:
        return run_package(self._package, inputs, self._device)[0]

    def _release(self) -> None:
        del self._package


def check_package(data: bytes) -> None:
    """Refuse, as `ModelError`, what is no package of AOTInductor's with one compiled model in it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ModelError("aoti_package", f"is no AOTInductor package ({error}); export it again") from error
    matches = [_MEMBER.fullmatch(member.filename) for member in members]
    for member, match in zip(members, matches, strict=True):
        if match is None or member.compress_type != zipfile.ZIP_STORED:
            message = f"has the member {member.filename[:80]!r}, which no export writes; export it again"
            raise ModelError("aoti_package", message)
    libraries = [member for member in members if member.filename.endswith(".so")]
    if len(libraries) != 1 or len({match["root"] for match in matches if match}) != 1:
        raise ModelError("aoti_package", f"has {len(libraries)} compiled models, not 1; export it again")


def load_package(data: bytes, device: str) -> Any:
    """The loader of the compiled model in the bytes of a package, on "cpu", "cuda" or "cuda:1": native code, trusted.

    Not by `torch._inductor.aoti_load_package`: that compiles C++ programs to find out what the processor can do, leaves
    them in a shared folder, and warns where `check_built_for` refuses.

    Raises:
        ModelError: PyTorch cannot load it.
        MissingError: PyTorch is not installed.
    """
    with needs("running an AOTInductor package", "cmgan[torch]"):
        from torch._C._aoti import AOTIModelPackageLoader
    index = int(device.partition(":")[2] or -1)
    with tempfile.NamedTemporaryFile(prefix="cmgan-aoti-", suffix=".pt2") as file:
        file.write(data)
        file.flush()
        try:
            return AOTIModelPackageLoader(file.name, "model", False, 1, index)  # one model, with its locks, at a time
        except RuntimeError as error:
            reason = str(error).splitlines()[0][:120]
            raise ModelError("aoti_refused", f"PyTorch cannot load it ({reason}); export it again") from error


def run_package(package: Any, inputs: Arrays, device: str) -> list[np.ndarray]:
    """The outputs of a loaded package for the graph's inputs: the picture and the raw RGB, or the raw RGB alone."""
    import torch

    tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])).to(device) for name in ("image", "mask", "z")]
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
        return [np.ascontiguousarray(output.cpu().numpy()) for output in package.run(tensors)]


def built_for(device: str) -> dict[str, Any]:
    """What a package that is compiled here runs on: for its metadata."""
    import torch

    found = {
        "torch": _release(torch.__version__),
        "device": device.partition(":")[0],
        "platform": f"{sys.platform} {platform.machine()}",
        "instructions": sorted(cpu_instructions()),
    }
    if found["device"] == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        found["capability"] = f"sm_{major}{minor}"
    return found


def check_built_for(metadata: Metadata) -> None:
    """Refuse, as `ModelError`, a package that was compiled for another PyTorch, processor or GPU than those here."""
    wanted = metadata.details
    again = f"compile it here: cmgan export --format aoti --model {metadata.name}"
    if not isinstance(wanted.get("instructions"), list) or not {"torch", "device", "platform"} <= wanted.keys():
        raise ModelError("sidecar", "has a sidecar that does not say what it was compiled for; export it again")
    try:
        with needs("running an AOTInductor package", "cmgan[torch]"):
            here = built_for(wanted["device"])
    except (RuntimeError, AssertionError):
        raise MissingError("device", f"was compiled for {wanted['device']}, which is not here; {again}") from None
    for key in ("torch", "platform", "capability"):
        if wanted.get(key) != here.get(key):
            message = f"was compiled for {key} {wanted.get(key)}, and here is {here.get(key)}; {again}"
            raise ModelError("aoti_incompatible", message)
    missing = sorted(set(wanted["instructions"]) - set(here["instructions"]))
    if missing:
        some = ", ".join(map(str, missing[:4])) + (", ..." if len(missing) > 4 else "")
        message = f"is native code with instructions that this processor does not have ({some}); {again}"
        raise ModelError("instruction_set", message)


def cpu_instructions(cpuinfo: Path = CPUINFO) -> set[str]:
    """The extensions of the instruction set that this processor has and a compiler may use."""
    return {word for word in instructions(cpuinfo) if _INSTRUCTIONS.fullmatch(word)}


def _device(metadata: Metadata, wanted: str) -> str:
    compiled_for = metadata.details["device"]
    kind, _, index = wanted.partition(":")
    if kind != compiled_for or (index and not index.isdigit()):
        message = (
            f"device {wanted!r}: was compiled for {compiled_for}; --device {compiled_for}, or export it again with it"
        )
        raise MissingError("device", message)
    return wanted


def _release(version: str) -> str:
    """2.13.0 of 2.13.0+cpu: packages run on every build of the release."""
    return version.partition("+")[0]
