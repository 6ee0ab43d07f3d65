"""Engines from inpainting graphs of others: lowered, built, compared with the file itself, and only then named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import cmgan
from cmgan.errors import ModelError, UsageError, about, needs
from cmgan.export.artefact import Export, check_folder
from cmgan.export.gate.against import same_pictures
from cmgan.export.gate.candidate import Progress
from cmgan.export.lower.lowering import lower_fft
from cmgan.export.options import ExportOptions
from cmgan.files import atomic_files, read_model_file, sha256, write_atomically
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.file_engine import Arrays, FileEngine, signature_of
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.onnx.engine import OnnxEngine, session
from cmgan.runtime.onnx.file import ONNX_LIMIT, load_onnx
from cmgan.runtime.open import open_artefact
from cmgan.runtime.sidecar import write_sidecar
from cmgan.runtime.signatures import Signature

_FORMATS = {"openvino": ("fp32", "bf16"), "trt": ("fp32",), "trt-rtx": ("fp32",)}  # and what they compute in


def export_foreign(
    path: Path,
    folder: Path,
    options: ExportOptions,
    running: EngineOptions,
    *,
    overwrite: bool = False,
    progress: Progress = lambda step: None,
) -> Export:
    """Export the ONNX file `path`, an inpainting graph of `cmgan.runtime.signatures`, for another runtime.

    Args:
        options: `format` and `precision`; what else the format honours.
        running: `signature` and `resolution` of the file.

    Raises:
        UsageError: the format or the precision is not offered for foreign files.
        ModelError: the file is no such graph, or the format's library refuses it.
        NumbersError: the artefact does not paint what the file paints; nothing is written.
    """
    if options.precision not in _FORMATS.get(options.format, ()):
        offered = "; ".join(f"{name}: {', '.join(precisions)}" for name, precisions in _FORMATS.items())
        seen = f"--format {options.format} --precision {options.precision}"
        raise UsageError("from", f"--from with {seen}: offered are {offered} (for ONNX itself: cmgan lower)")
    target = folder / options.file_name
    check_folder(folder, target, overwrite=overwrite)
    progress("looking at the file")
    with OnnxEngine(path, running) as original:
        if original.signature is None:
            raise UsageError("from", "is a graph of cmgan's; export its model instead, with --model", file=path)
        with about(path):
            progress("lowering")
            graph = _lowered(load_onnx(path), original.signature)
        signature = replace(original.signature, inputs=_NAMES[: len(original.signature.inputs)], output="output")
        progress("building")
        with needs(f"--format {options.format}", f"cmgan[export,{options.kind.extra}]"):
            data, details, why = _built(graph, options, progress)
        digest = sha256(read_model_file(path, ONNX_LIMIT))
        metadata = _metadata(signature, options, digest, details)
        folder.mkdir(exist_ok=True)
        with atomic_files(folder) as work:
            files = _write(work / target.name, data, metadata)
            progress("comparing with the file")
            if why:
                with _GraphEngine(graph, metadata) as engine:
                    verdict = same_pictures(engine, original, target)
                verdict |= {"values": "not run here", "source": "passed", "why": why}
            else:
                with open_artefact(work / target.name) as built:
                    verdict = same_pictures(built, original, target)
            metadata = replace(metadata, verdict=verdict)
            write_sidecar(work / target.name, metadata, files)
            size = sum(file.stat().st_size for file in files)
    return Export(target, target, metadata, size)


_NAMES = ("image", "mask")  # of the inputs in what is built; the output is `output`


def _lowered(model: onnx.ModelProto, signature: Signature) -> onnx.ModelProto:
    """The graph for one picture of R x R, lowered, with our names for what goes in and out."""
    side = signature.resolution
    channels = [channels for _, channels in signature.types]
    shapes = {n: (signature.batch or 1, c, side, side) for n, c in zip(signature.inputs, channels, strict=True)}
    lowered, report = lower_fft(model, shapes)
    if report.left:
        raise ModelError("fourier_left", f"has Fourier operators that cannot be lowered: {report.left[0]}")
    names = dict(zip((*signature.inputs, signature.output), (*_NAMES[: len(signature.inputs)], "output"), strict=True))
    taken = {name for node in lowered.graph.node for name in (*node.input, *node.output)} - set(names)
    names |= {name: f"{name}/inner" for name in {"image", "mask", "output"} & taken}
    for node in lowered.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    graph = lowered.graph
    for values in (graph.input, graph.output, graph.value_info, graph.initializer):
        for value in values:
            value.name = names.get(value.name, value.name)
    outputs = [value for value in graph.output if value.name == "output"]
    del graph.output[:]
    graph.output.extend(outputs)
    return lowered


def _built(graph: onnx.ModelProto, options: ExportOptions, progress: Progress) -> tuple[list[bytes], Any, str]:
    """The artefact's files, last the one that names it; details for the metadata; why it cannot run here, if so."""
    if options.format == "openvino":
        from cmgan.export.targets.openvino import ir_from_onnx
        from cmgan.runtime.openvino.engine import load_openvino

        xml, weights = ir_from_onnx(graph)
        return [weights, xml], {"openvino": load_openvino().__version__}, ""
    from cmgan.export.targets import tensorrt
    from cmgan.runtime.tensorrt.library import library

    trt = library(options.format)
    place = tensorrt.find_place(trt, options, tensorrt.gpu_here())
    plan = tensorrt.engine_from_onnx(trt, graph.SerializeToString(), options, place.targets, progress)
    return [plan], tensorrt.details_of(trt, graph, options, place), place.why


def _write(path: Path, data: list[bytes], metadata: Metadata) -> tuple[Path, ...]:
    from cmgan.runtime.openvino.engine import weights_of

    files = (weights_of(path), path) if len(data) == 2 else (path,)
    for file, content in zip(files, data, strict=True):
        write_atomically(file, content)
    write_sidecar(path, metadata, files)
    return files


class _GraphEngine(FileEngine):
    """The graph that an artefact is built from, in ONNX Runtime."""

    def __init__(self, graph: onnx.ModelProto, metadata: Metadata) -> None:
        super().__init__(metadata, signature_of(metadata))
        self._session = session(graph, EngineOptions())

    def _run(self, inputs: Arrays) -> np.ndarray:
        return self._session.run(["output"], inputs)[0]

    def _release(self) -> None:
        del self._session


def _metadata(signature: Signature, options: ExportOptions, digest: str, details: dict[str, Any]) -> Metadata:
    return Metadata(
        format=options.kind.name,
        name=signature.name,
        version=cmgan.__version__,
        resolution=signature.resolution,
        z_dim=0,
        pipeline=signature.name,
        precision=options.precision,
        fft="matmul",
        trained=True,
        licence="unknown",
        weights_sha256=digest,
        raw="",
        verdict={},
        layout=f"NCHW {signature.types[0][0]} RGB",
        details=details | {"signature": signature.facts()},
    )
