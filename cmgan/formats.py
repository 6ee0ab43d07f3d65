"""The formats of artefacts: one line each. The commands, their refusals and the documentation read this table."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cmgan.errors import UsageError, shown

# Options of an export that only some formats honour: field of its options -> flag.
FLAGS = {
    "batch_min": "--batch-min",
    "batch_opt": "--batch-opt",
    "batch_max": "--batch-max",
    "target": "--target",
    "timing_cache": "--timing-cache",
    "workspace": "--workspace",
    "builder_level": "--builder-level",
    "calib_data": "--calib-data",
    "keep_fp32": "--keep-fp32",
    "device": "--device",
}


# The names below, for those who check types and complete words.
FormatName = Literal["onnx", "trt", "trt-rtx", "aoti", "openvino"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "auto"]


@dataclass(frozen=True)
class Format:
    """A kind of artefact. Who builds it stands in `export.targets`, who runs it in `runtime.open`."""

    name: str
    about: str
    suffix: str  # of the artefact; with it, files are told apart
    precisions: tuple[str, ...]
    extra: str  # of `pip install 'cmgan[...]'`, to run the artefact
    flags: frozenset[str] = frozenset()  # fields of FLAGS that it honours
    aliases: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Format(
            "onnx",
            "ONNX, for ONNX Runtime and every tool that reads it",
            ".onnx",
            ("fp32", "fp16", "int8", "auto"),
            "cpu",
            flags=frozenset({"keep_fp32", "calib_data"}),
        ),
        Format(
            "trt",
            "TensorRT, for the kind of GPU that it is built on",
            ".engine",
            ("fp32", "fp16", "bf16"),
            "trt",
            frozenset({"batch_min", "batch_opt", "batch_max", "timing_cache", "workspace", "builder_level"}),
            ("tensorrt", "engine"),
        ),
        Format(
            "trt-rtx",
            "TensorRT-RTX, for several kinds of RTX GPUs, built without one",
            ".rtx",
            ("fp32", "fp16", "bf16"),
            "trt-rtx",
            frozenset({"batch_min", "batch_opt", "batch_max", "target", "workspace"}),
            ("tensorrt-rtx", "rtx"),
        ),
        Format(
            "aoti",
            "AOTInductor package: native code for this machine's processor, run by PyTorch without the model's code",
            ".pt2",
            ("fp32", "bf16"),
            "torch",
            frozenset({"device"}),
            ("pt2",),
        ),
        Format(
            "openvino",
            "OpenVINO IR, for CPUs: the fastest there",
            ".xml",
            ("fp32", "bf16", "int8", "auto"),
            "openvino",
            frozenset({"keep_fp32", "calib_data"}),
            aliases=("ov",),
        ),
    )
}


def format_of(name: str) -> Format:
    """The format of that name or alias; an unknown one raises `UsageError` with the list."""
    for format in FORMATS.values():
        if name in (format.name, *format.aliases):
            return format
    near = difflib.get_close_matches(name, [n for f in FORMATS.values() for n in (f.name, *f.aliases)], 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError("format", f"--format {name!r}: known are {', '.join(FORMATS)}{hint}")


def format_of_file(path: Path) -> Format | None:
    """The format whose artefacts end as this path does."""
    return next((f for f in FORMATS.values() if path.name.endswith(f.suffix)), None)


def model_in(path: Path) -> Path:
    """The model that a folder stands for: of a training run its averaged weights, `ema`, where it has stages those of
    the last one; of an export the one artefact in it; else `path` itself, such as a model folder or a file.

    Raises:
        UsageError: several_artefacts.
    """
    if not path.is_dir() or (path / "manifest.json").exists():
        return path
    runs = [path, *sorted(path.glob("[0-9]*-*"), key=_stage_number)]
    trained = [run / "ema" for run in runs if (run / "ema" / "manifest.json").exists()]
    if trained:
        return trained[-1]
    found = sorted(file for file in path.iterdir() if file.is_file() and format_of_file(file) is not None)
    if len(found) > 1:
        names = ", ".join(shown(file.name) for file in found[:3]) + (", ..." if len(found) > 3 else "")
        raise UsageError("several_artefacts", f"holds {len(found)} exported files: {names}; name one", file=path)
    return found[0] if found else path


def _stage_number(folder: Path) -> int:
    """Of the folder of a stage of training, `2-128`."""
    number = folder.name.partition("-")[0]
    return int(number) if number.isdecimal() else -1
