"""On what a bench ran: enough to judge its figures by, nothing that tells whose machine it is."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cmgan

_PACKAGES = (
    *("torch", "triton", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "openvino"),
    *("tensorrt", "tensorrt-rtx", "numpy", "pillow"),
)
# Instructions that engines pick their kernels by, as /proc/cpuinfo calls them; the rest is noise.
_INSTRUCTIONS = (
    *("sse4_2", "avx", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_bf16", "amx_int8", "asimd", "asimdhp", "bf16", "i8mm", "sve"),
)


def environment(threads: int) -> dict[str, Any]:
    """Processor, memory, GPU, versions, commit, threads, date. No path, host name or user name."""
    import psutil

    cpu = _cpu_info()
    cores = psutil.cpu_count(logical=False) or os.cpu_count()
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": f"{cpu.get('model name') or platform.machine()}, {cores} cores",
        "instructions": [name for name in _INSTRUCTIONS if name in flags],
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": _gpu() or "none",
        "threads": threads,
        "os": f"{_distribution()}, {platform.system()} {platform.release()}, {platform.machine()}",
        "python": platform.python_version(),
        "cmgan": cmgan.__version__,
        "commit": _commit() or "not a checkout",
        **{name: version for name in _PACKAGES if (version := _version(name))},
    }


def physical_cores() -> int:
    """How many cores this process may use, hyper-threads counted once."""
    import psutil

    return min(psutil.cpu_count(logical=False) or 1, len(os.sched_getaffinity(0)))


def _cpu_info() -> dict[str, str]:
    """The first processor's entry of /proc/cpuinfo."""
    entry = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in entry.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


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


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
