"""Export: build, prove, and only then give it a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cmgan
from cmgan.errors import NumbersError
from cmgan.export.cases import Case, parity_cases, save_cases, stacked
from cmgan.export.onnx import RAW, OnnxOptions, onnx_from_generator, with_hot_weights, with_raw_output
from cmgan.export.parity import Comparison, compare, summary
from cmgan.export.tolerances import TOLERANCES
from cmgan.files import atomic_path, check_target, write_atomically
from cmgan.model.pipeline import inpaint_bytes
from cmgan.model.weights import LoadedModel
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.onnx_engine import graph_inputs, session
from cmgan.runtime.onnx_file import ONNX_LIMIT

if TYPE_CHECKING:
    import onnx

    from cmgan.model.generator import Generator

HOT_CASES = ("large", "noise")
Progress = Callable[[str], None]  # called with what is being done


@dataclass(frozen=True)
class Export:
    """What an export wrote, and the verdict of its gate."""

    file: Path
    parity_file: Path
    metadata: Metadata
    bytes: int


def export_model(
    loaded: LoadedModel,
    folder: Path,
    options: OnnxOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = lambda step: None,
) -> Export:
    """Export to ONNX in `folder`: `model.onnx` and the `parity.npz` that `cmgan check` reads.

    Raises:
        UsageError: the folder's parent does not exist, or the file does and `overwrite` is not given.
        NumbersError: the graph does not paint what the model paints; nothing is written.
    """
    options = options or OnnxOptions()
    target = folder / "model.onnx"
    check_folder(folder, target, overwrite=overwrite)
    progress("tracing the network")
    model = onnx_from_generator(loaded.generator, options)
    progress("painting with the eager model")
    config = loaded.generator.config
    cases = parity_cases(config.resolution, config.z_dim)
    references = [eager_outputs(loaded.generator, [case]) for case in cases]
    verdict = prove_onnx(model, loaded.generator, cases, references, progress)
    metadata = _metadata(loaded, options, verdict)
    for key, value in metadata.to_strings().items():
        model.metadata_props.add(key=key, value=value)
    folder.mkdir(exist_ok=True)
    save_onnx(model, target)
    kept = [raw[0] if options.pipeline == "core" else picture[0] for picture, raw in references]
    save_cases(folder / "parity.npz", cases, kept)
    return Export(target, folder / "parity.npz", metadata, target.stat().st_size)


def eager_outputs(generator: Generator, cases: list[Case]) -> tuple[np.ndarray, np.ndarray]:
    """The eager model's pictures (N, R, R, 3), uint8, and raw output (N, 3, R, R), float32."""
    import torch

    with torch.inference_mode():
        outputs = inpaint_bytes(generator, *(torch.from_numpy(array) for array in stacked(cases)))
    return np.ascontiguousarray(outputs[0].numpy()), outputs[1].numpy()


def prove_onnx(
    model: onnx.ModelProto,
    generator: Generator,
    cases: list[Case],
    references: list[tuple[np.ndarray, np.ndarray]],
    progress: Progress = lambda step: None,
) -> dict[str, Any]:
    """The gate: every case at batch 1, the first three as a batch, and the hot weights, in ONNX Runtime.

    Returns:
        The verdict for the metadata.

    Raises:
        NumbersError: naming the case and the error, at the first that does not pass.
    """
    pipeline = "full" if any(RAW in node.output for node in model.graph.node) else "core"
    plain = _runner(model, pipeline)
    comparisons: list[Comparison] = []
    for case, reference in zip(cases, references, strict=True):
        progress(f"comparing: {case.name}")
        comparisons += _compared(case.name, [case], reference, plain)
    progress("comparing: a batch of three")
    batch = tuple(np.concatenate(arrays) for arrays in zip(*references[:3], strict=True))
    comparisons += _compared("batch of 3", cases[:3], batch, plain)
    hot = _runner(with_hot_weights(model, generator), pipeline)
    for case, reference in zip(cases, references, strict=True):
        if case.name in HOT_CASES:
            progress(f"comparing: {case.name}, hot weights")
            comparisons += _compared(f"{case.name}, hot weights", [case], reference, hot)
    return {"values": "passed", "range": "not needed in fp32", **summary(comparisons)}


Runner = Callable[[list[Case]], dict[str, np.ndarray]]


def _runner(model: onnx.ModelProto, pipeline: str) -> Runner:
    """Runs cases through the graph: arrays by output name."""
    running = session(with_raw_output(model), EngineOptions())
    names = [output.name for output in running.get_outputs()]

    def run(cases: list[Case]) -> dict[str, np.ndarray]:
        return dict(zip(names, running.run(None, graph_inputs(pipeline, *stacked(cases))), strict=True))

    return run


def _compared(name: str, cases: list[Case], reference: tuple[np.ndarray, ...], run: Runner) -> list[Comparison]:
    outputs = run(cases)
    picture, raw = reference
    hole = np.stack([case.mask >= 128 for case in cases])
    wanted = {"output": picture, RAW: raw} if RAW in outputs else {"output": raw}
    comparisons = [compare(f"{name} ({key})", value, outputs[key], hole) for key, value in wanted.items()]
    for comparison in comparisons:
        failure = comparison.failure(TOLERANCES["fp32"])
        if failure:
            raise NumbersError("parity", f"the exported graph paints another picture: {failure}; nothing was written")
    return comparisons


def check_folder(folder: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse an export that cannot be written, before any work."""
    check_target(target if folder.is_dir() else folder, overwrite=overwrite)


def _metadata(loaded: LoadedModel, options: OnnxOptions, verdict: dict[str, Any]) -> Metadata:
    config = loaded.generator.config
    return Metadata(
        format="onnx",
        name=config.name,
        version=cmgan.__version__,
        resolution=config.resolution,
        z_dim=config.z_dim,
        pipeline=options.pipeline,
        precision="fp32",
        fft=options.fft,
        trained=loaded.trained,
        licence=loaded.licence,
        weights_sha256=loaded.digest,
        raw=RAW,
        verdict=verdict,
        layout="NHWC uint8 RGB" if options.pipeline == "full" else "NCHW float32 RGB in [-1, 1]",
    )


def save_onnx(model: onnx.ModelProto, target: Path, limit: int = ONNX_LIMIT) -> None:
    """Write the model to one file; if that had `limit` bytes or more, its weights go to `NAME.data` beside it."""
    if model.ByteSize() < limit:
        write_atomically(target, model.SerializeToString())
        return
    import onnx

    data = target.with_name(f"{target.name}.data")
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    onnx.external_data_helper.convert_model_to_external_data(graph, location=data.name)
    with atomic_path(data) as temporary, open(temporary, "wb") as file:
        for tensor in graph.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                onnx.external_data_helper.set_external_data(tensor, data.name, file.tell(), len(tensor.raw_data))
                file.write(tensor.raw_data)
                tensor.ClearField("raw_data")
    write_atomically(target, graph.SerializeToString())
