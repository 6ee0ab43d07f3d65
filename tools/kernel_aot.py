"""Compile kernels for GPUs that are not here, and read from the machine code what they will do there.

Triton brings the assembler and the disassembler; no driver is needed.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from cmgan.errors import MissingError
from cmgan.kernels.configurations import TYPES, Configuration

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


def compile_for(configuration: Configuration, arch: int) -> Static:
    """Compile for `arch` (90 for sm_90) and analyse. Triton's own errors pass through."""
    options = {"enable_fp_fusion": True, **configuration.options}
    compiled = triton.compile(_source(configuration), target=GPUTarget("cuda", arch, 32), options=options)
    return analyse(compiled)


def analyse(compiled) -> Static:
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


def faults(configuration: Configuration, arch: int, static: Static) -> list[str]:
    """Why the configuration must not be used on that architecture; empty where it may."""
    found = []
    if static.stack:
        found.append(f"spills ({static.stack})")
    if static.shared > SHARED_LIMIT[arch]:
        found.append(f"shared memory {static.shared} > {SHARED_LIMIT[arch]}")
    if "BM" in configuration.constants:
        if static.matrix != MATRIX_UNIT[arch]:
            found.append(f"matrix unit {static.matrix or 'unused'}, {MATRIX_UNIT[arch]} wanted")
        if not 0 < static.copies == static.wide_copies:
            found.append(f"{static.wide_copies} of {static.copies} copies are of 128 bits")
    elif not static.wide_loads:
        found.append("no load of 128 bits")
    if not configuration.uneven and not static.wide_stores:
        found.append("no store of 128 bits")
    return found


def _source(configuration: Configuration) -> ASTSource:
    """As the launcher specialises it on tensors of a fine scale: aligned pointers, sizes that are multiples of 16."""
    names = configuration.kernel.arg_names
    constants = {**configuration.constants, **dict.fromkeys(configuration.absent)}
    types = {name: _type(name, configuration.dtype) for name in names}
    even = [name for name in names if name not in constants and name not in configuration.uneven]
    return ASTSource(
        fn=configuration.kernel,
        signature={name: "constexpr" if name in constants else types[name] for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in even},
    )


def _type(name: str, dtype: str) -> str:
    special = {"sums_ptr": "*fp32", "rows_ptr": "*i32"}
    return special.get(name, "*" + TYPES[dtype] if name.endswith("_ptr") else "i32")


def _tool(name: str, *arguments: str) -> str:
    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    if not path.exists():
        raise MissingError("cuda_tools", f"{name} is not in this build of Triton; pip install triton")
    return subprocess.run([path, *arguments], check=True, capture_output=True, text=True).stdout
