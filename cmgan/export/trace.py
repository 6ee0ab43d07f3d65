"""ONNX from a generator: one traced graph with constant weights and a dynamic batch."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from cmgan.errors import UsageError
from cmgan.export.gate.candidate import RAW
from cmgan.export.gate.tolerances import HOT
from cmgan.export.network.lowered import Lowered, example_inputs, hot_layers
from cmgan.export.remarks import quiet
from cmgan.model.generator import Generator

OPSETS = (18, 23)  # the least and the newest that are offered
_CHOICES = {"pipeline": ("full", "core"), "fft": ("matmul", "dft")}
_SCOPES = "pkg.torch.onnx.name_scopes"  # the exporter's note on a node: the modules around it, then its value's name
_TINY = 1e-6  # scalars below this are epsilons


@dataclass(frozen=True)
class OnnxOptions:
    """What graph to write: `pipeline` full or core, `fft` matmul or dft, `precision` fp32, fp16 or bf16.

    `keep_fp32` are regular expressions for names of nodes, see `cmgan.export.precision.half.in_half`. `forms`, see
    `cmgan.export.network.lowered.Lowered`, are chosen by the format.
    """

    pipeline: str = "full"
    fft: str = "matmul"
    opset: int = 20
    precision: str = "fp32"
    keep_fp32: tuple[str, ...] = ()
    forms: str = "products"

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise UsageError(name, f"--{name} {value!r}: known are {', '.join(known)}")
        least, newest = OPSETS
        if self.opset < least or self.opset > newest:
            raise UsageError("opset", f"opset {self.opset}: {least} to {newest} are offered")
        if self.fft == "dft" and self.opset < 20:
            raise UsageError("opset", f"opset {self.opset}: --fft dft needs 20 or more, as ONNX's inverse DFT does")
        if self.fft == "dft" and self.precision != "fp32":
            raise UsageError("precision", f"--precision {self.precision} with --fft dft overflows; use --fft matmul")


def onnx_from_generator(generator: Generator, options: OnnxOptions) -> onnx.ModelProto:
    """Trace in fp32 and clean up. The initializers keep the generator's parameter names, nodes are called after their
    module (`encoder.blocks.0.conv/Conv_0`); the batch is dynamic.

    Inputs are those of `cmgan.export.network.lowered.Lowered`; the only output is named "output".
    """
    lowered = Lowered(generator, options.pipeline, options.fft, options.forms)
    batch = torch.export.Dim("batch", min=1, max=1024)
    with quiet("torch.onnx"):
        program = torch.onnx.export(
            lowered,
            example_inputs(generator, options.pipeline),
            dynamo=True,
            opset_version=options.opset,
            input_names=["image", "mask", "z"],
            output_names=["output", RAW][: 2 if options.pipeline == "full" else 1],
            dynamic_shapes=({0: batch}, {0: batch}, {0: batch}),
            optimize=False,  # `_fold_constants` does it, and more of it
            verbose=False,
        )
        assert program is not None
        _fold_constants(program)
        model = program.model_proto
    _clean(model)
    return model


def pipeline_of(model: onnx.ModelProto) -> str:
    """Whether a graph of ours is a full pipeline or the core."""
    return "full" if any(RAW in node.output for node in model.graph.node) else "core"


def with_raw_output(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a pipeline graph that also gives the raw RGB; of a core graph, which gives nothing else, a copy."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if pipeline_of(copy) == "full":
        copy.graph.output.append(helper.make_tensor_value_info(RAW, onnx.TensorProto.FLOAT, None))
    return copy


def with_hot_weights(model: onnx.ModelProto, generator: Generator) -> onnx.ModelProto:
    """A copy whose demodulated styles and spatial scales are `HOT` times as large: the same picture by demodulation.

    See `cmgan.export.network.lowered.hot_layers`.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    initializers = {tensor.name: tensor for tensor in copy.graph.initializer}
    for layer in hot_layers(generator):
        for name in (f"{layer}.weight", f"{layer}.bias"):
            _heat(initializers.get(name) or initializers[f"{name}.scale"])  # the latter of a compact graph
    for tensor in _ranges_behind_scale_maps(copy.graph):
        _heat(initializers[tensor])
    return copy


def _ranges_behind_scale_maps(graph: onnx.GraphProto) -> set[str]:
    """Of int8 graphs: the scales of what the scale maps have multiplied, and of its convolution, which were measured
    with plain weights."""
    convolutions = [node for node in graph.node if node.name.endswith(".spatial_block.second/Conv_0")]
    around = {name for node in convolutions for name in (node.input[0], node.output[0])}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    return {node.input[1] for node in pairs if around.intersection([node.input[0], node.output[0]])}


def _heat(tensor: onnx.TensorProto) -> None:
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(values * values.dtype.type(HOT)), tensor.name))


def _fold_constants(program: torch.onnx.ONNXProgram) -> None:
    """Evaluate everything that depends on weights alone, however large, and drop what is then unused."""
    from onnxscript import optimizer

    _keep_epsilons(program)
    everything = np.iinfo(np.int64).max
    optimizer.optimize_ir(program.model, input_size_limit=everything, output_size_limit=everything)


def _keep_epsilons(program: torch.onnx.ONNXProgram) -> None:
    """Give tiny scalars one dimension: the optimizer takes scalars up to 1e-8 for zero and drops their additions, which
    only shows where a sum of squares is zero, as NaN."""
    import onnx_ir as ir

    for node in program.model.graph.all_nodes():
        if node.op_type != "Constant" or "value" not in node.attributes:
            continue
        values = node.attributes["value"].as_tensor().numpy()
        if values.ndim == 0 and 0 < abs(float(values)) < _TINY:
            node.attributes.add(ir.AttrTensor("value", ir.tensor(values.reshape(1))))
            node.outputs[0].shape = ir.Shape([1])


def _clean(model: onnx.ModelProto) -> None:
    """Readable names; no traces of the machine it was made on."""
    _name_nodes(model.graph)
    renamed = {t.name: t.name.removeprefix("generator.") for t in model.graph.initializer}
    for tensor in model.graph.initializer:
        tensor.name = renamed[tensor.name]
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.doc_string = ""
        del node.metadata_props[:]
    del model.graph.output[1:]
    graph = model.graph
    for values in (graph.value_info, graph.input, graph.output, graph.initializer):
        for value in values:
            del value.metadata_props[:]
            value.doc_string = ""
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    model.graph.name = "cmgan"
    model.producer_name, model.producer_version = "cmgan", ""


def _name_nodes(graph: onnx.GraphProto) -> None:
    """`module/Operator_i`; nodes that the optimiser made stand behind the module they belong to."""
    module, seen = "", Counter[str]()
    for node in graph.node:
        notes = {note.key: note.value for note in node.metadata_props}
        if _SCOPES in notes:
            *_, module, _value = ast.literal_eval(notes[_SCOPES])
        name = f"{module.removeprefix('generator.') or 'pipeline'}/{node.op_type}"
        node.name = f"{name}_{seen[name]}"
        seen[name] += 1
