"""What this machine is: processor, memory, GPU, versions; nothing that tells whose it is."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cmgan

CPUINFO = Path("/proc/cpuinfo")
_PACKAGES = (
    *("torch", "triton", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "openvino"),
    *("tensorrt", "tensorrt-rtx", "numpy", "pillow"),
)
# Instructions that engines pick their kernels by, as /proc/cpuinfo calls them; the rest is noise.
_NOTABLE = (
    *("sse4_2", "avx", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_bf16", "amx_int8", "asimd", "asimdhp", "bf16", "i8mm", "sve"),
)


def environment(threads: int) -> dict[str, Any]:
    """Processor, memory, GPU, versions, commit, threads, date. No path, host name or user name."""
    import psutil

    cores = psutil.cpu_count(logical=False) or os.cpu_count()
    flags = instructions()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": f"{processor()}, {cores} cores",
        "instructions": [name for name in _NOTABLE if name in flags],
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": _gpu() or "none",
        "threads": threads,
        "os": f"{_distribution()}, {platform.system()} {platform.release()}, {platform.machine()}",
        "python": platform.python_version(),
        "cmgan": cmgan.__version__,
        "commit": _commit() or "not a checkout",
        **{name: version for name in _PACKAGES if (version := version_of(name))},
    }


def physical_cores() -> int:
    """How many cores this process may use, hyper-threads counted once."""
    import psutil

    return min(psutil.cpu_count(logical=False) or 1, len(os.sched_getaffinity(0)))


def processor() -> str:
    """The name of the first processor, or of the architecture where Linux does not tell."""
    found = re.search(r"^model name\s*:\s*(.+)$", _cpu_info(), re.MULTILINE)
    return found[1] if found else platform.machine()


def instructions(cpuinfo: Path = CPUINFO) -> set[str]:
    """The extensions of the instruction set, as Linux lists them for the first processor; empty where it does not."""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", _cpu_info(cpuinfo), re.MULTILINE)
    return set(found[1].split()) if found else set()


def computes_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor multiplies bf16 itself; elsewhere it is emulated, several times slower than fp32."""
    return bool(instructions(cpuinfo) & {"avx512_bf16", "amx_bf16", "bf16"})


def _cpu_info(cpuinfo: Path = CPUINFO) -> str:
    try:
        return cpuinfo.read_text()
    except OSError:
        return ""


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown distribution"


def _gpu() -> str:
    """Names and driver of the NVIDIA GPUs, such as "NVIDIA L4, 580.95.05, 23034 MiB"."""
    query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return "; ".join(_output("nvidia-smi", *query).splitlines())


def _commit() -> str:
    """The commit of the checkout that this code lies in, with + when files differ from it."""
    root = Path(cmgan.__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    commit = _output("git", "-C", str(root), "rev-parse", "HEAD").strip()
    return commit and commit + ("+" if _output("git", "-C", str(root), "status", "--porcelain", "-uno") else "")


def _output(program: str, *arguments: str) -> str:
    """What a program prints; nothing when it is missing, fails or hangs."""
    if not shutil.which(program):
        return ""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def version_of(package: str) -> str:
    """The installed version of a distribution; empty where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
