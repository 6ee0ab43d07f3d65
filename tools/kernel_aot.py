"""Compile kernels for GPUs that are not here, and read from the machine code what they will do there.

The real launchers run, on CPU tensors, up to the launch: their arguments carry the hints that wide loads need. Triton
brings the assembler and the disassembler; no driver is needed.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget

from cmgan.errors import MissingError
from cmgan.kernels import launch
from cmgan.kernels.catalogue import Entry

ARCHITECTURES = (80, 86, 89, 90, 100, 120)
FINE = (1, 64, 32, 32)  # N, C, H, W: aligned as the layers of every preset but the smallest are
# Shared memory a block can have, bytes: CUDA C++ programming guide, table of compute capabilities.
SHARED_LIMIT = {80: 166912, 86: 101376, 89: 101376, 90: 232448, 100: 232448, 120: 101376}
MATRIX_UNIT = {80: "HMMA", 86: "HMMA", 89: "HMMA", 90: "HGMMA", 100: "UTCHMMA", 120: "HMMA"}


@dataclass(frozen=True)
class Static:
    """What the machine code of one configuration on one architecture needs and does. Counts are of instructions."""

    registers: int  # a thread
    stack: int  # bytes a thread; anything above 0 is a spill
    shared: int  # bytes a block
    matrix: str  # kind of matrix instruction, "" where there is none
    copies: int  # asynchronous copies from global to shared memory
    wide_copies: int  # those of 128 bits
    wide_loads: int  # other global loads of 128 bits
    wide_stores: int  # global stores of 128 bits


class _Driver:
    """As much of a driver as Triton asks for before it compiles: an architecture, no device."""

    def __init__(self, arch: int) -> None:
        self.arch = arch

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.arch, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_benchmarker(self) -> Any:
        raise RuntimeError("there is no device")


@contextmanager
def _compiling(arch: int) -> Iterator[list[Any]]:
    """Launches compile, for that architecture, and go no further; what they compiled."""
    compiled: list[Any] = []
    plain = triton.runtime.jit.JITFunction.run

    def warm(self: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> None:
        self.device_caches.clear()  # they do not know that the architecture has changed
        compiled.append(plain(self, *arguments, grid=grid, warmup=True, **options))

    with (
        patch.object(launch, "INTERPRETED", True),
        patch("cmgan.kernels.autograd.kernel_runs", lambda x: True),
        patch.object(triton.runtime.jit.JITFunction, "run", warm),
        patch.dict("os.environ", {"TRITON_DEFAULT_FP_FUSION": "1"}),  # what Triton did up to 3.9, which warns
        patch.object(triton.runtime.driver, "_active", _Driver(arch), create=True),
    ):
        yield compiled


def compile_for(entry: Entry, arch: int, dtype: torch.dtype = torch.bfloat16) -> Static:
    """Compile for `arch` (90 for sm_90) and analyse. Triton's own errors pass through."""
    torch.manual_seed(0)
    arguments = entry.arguments(FINE, dtype)
    with _compiling(arch) as compiled:
        entry.op(*arguments)
    (kernel,) = compiled
    return analyse(kernel)


def analyse(compiled: Any) -> Static:
    """Read a kernel that Triton has compiled for an NVIDIA architecture."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = _tool("cuobjdump", "--dump-resource-usage", file.name)
        code = _tool("nvdisasm", "-c", file.name)
    found = re.search(r"REG:(\d+).*?STACK:(\d+)", usage)
    assert found, usage
    matrix = re.findall(r"\b(HGMMA|UTC[A-Z]*MMA|HMMA)\b", code)
    return Static(
        registers=int(found[1]),
        stack=int(found[2]) + len(re.findall(r"\b(?:LDL|STL)\b", code)),
        shared=compiled.metadata.shared,
        matrix=matrix[0] if matrix else "",
        copies=len(re.findall(r"\bLDGSTS\b", code)),
        wide_copies=len(re.findall(r"\bLDGSTS\.\S*128\b", code)),
        wide_loads=len(re.findall(r"\bLDG\.\S*128\b", code)),
        wide_stores=len(re.findall(r"\bSTG\.\S*128\b", code)),
    )


def faults(entry: Entry, arch: int, static: Static) -> list[str]:
    """Why the kernel must not be used on that architecture; empty where it may."""
    found = []
    if static.stack:
        found.append(f"spills ({static.stack})")
    if static.shared > SHARED_LIMIT[arch]:
        found.append(f"shared memory {static.shared} > {SHARED_LIMIT[arch]}")
    if entry.matrix:
        if static.matrix != MATRIX_UNIT[arch]:
            found.append(f"matrix unit {static.matrix or 'unused'}, {MATRIX_UNIT[arch]} wanted")
        # Beside its tiles modconv2d copies a few floats of the style a stage, too few for wide copies.
        if not static.copies or static.wide_copies < 0.9 * static.copies:
            found.append(f"{static.wide_copies} of {static.copies} copies are of 128 bits")
    elif entry.wide and not static.wide_loads:
        found.append("no load of 128 bits")
    if entry.wide and not static.wide_stores:
        found.append("no store of 128 bits")
    return found


def _tool(name: str, *arguments: str) -> str:
    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    if not path.exists():
        raise MissingError("cuda_tools", f"{name} is not in this build of Triton; pip install triton")
    return subprocess.run([path, *arguments], check=True, capture_output=True, text=True).stdout
