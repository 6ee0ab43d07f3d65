"""The format `aoti`: the lowered network, compiled to native code by PyTorch's AOTInductor."""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch._inductor
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.cpu_vec_isa import pick_vec_isa
from torch._inductor.exc import InvalidCxxCompiler
from torch._inductor.utils import fresh_cache
from torch.export.pt2_archive._package import AOTICompiledModel

from cmgan.errors import MissingError
from cmgan.export.gate.candidate import RAW, Candidate, Progress, Runner
from cmgan.export.gate.cases import Case, stacked
from cmgan.export.gate.tolerances import HOT
from cmgan.export.network.lowered import Lowered, example_inputs, hot_layers
from cmgan.export.options import ExportOptions
from cmgan.export.remarks import quiet
from cmgan.export.source import Source
from cmgan.runtime.aoti import built_for, load_package, run_package
from cmgan.runtime.file_engine import Arrays, graph_inputs
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.sidecar import sidecar_of, write_sidecar

_CONFIG = {
    "cpp.dynamic_threads": True,  # as many as PyTorch has when it runs, not when it was compiled
    "aot_inductor.precompile_headers": False,  # pays from the second package on
    "aot_inductor.compile_wrapper_opt_level": "O0",  # of what calls the kernels: as fast, compiled in half the time
    # What depends on weights alone is computed when the package is loaded. Unlike freezing it keeps the weights' names.
    "aot_inductor.use_runtime_constant_folding": True,
}
# In bf16 these compute on maps, with sums in fp32. Vectors (codes, styles, demodulation) stay in fp32.
_PRODUCTS = (torch.ops.aten.conv2d.default, torch.ops.aten.matmul.default, torch.ops.aten.linear.default)


def build(source: Source, options: ExportOptions, progress: Progress) -> Candidate:
    """Trace and compile.

    Raises:
        MissingError: there is no C++ compiler, or it cannot use this CPU's vectors, or there is no such device.
    """
    _check_compiler(options.device)
    pipeline = options.graph.pipeline
    progress("tracing the network")
    lowered = _on_device(Lowered(source.generator, pipeline, options.graph.fft, "convolutions"), options.device)
    program = _traced(lowered)
    if options.precision == "bf16":
        multiply_in_bfloat16(program.graph)
    progress("compiling, a minute or more")
    package = _compiled(program)
    names = [f"{layer}.{part}" for layer in hot_layers(source.generator) for part in ("weight", "bias")]
    hot = {f"generator.{name}": lowered.generator.get_parameter(name) * HOT for name in names}
    return Candidate(
        run=_runner(package, options),
        run_hot=lambda: _runner(package, options, hot),
        write=lambda path, metadata: _write(package, path, metadata),
        details=built_for(options.device) | {"threads": "as many as PyTorch is set to"},
    )


def _check_compiler(device: str) -> None:
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        message = "--format aoti compiles C++ code, and there is no compiler: apt-get install g++"
        raise MissingError("compiler", message) from error
    vectors = torch.backends.cpu.get_cpu_capability()
    with _own_cache():
        usable = device != "cpu" or vectors == "DEFAULT" or pick_vec_isa()
    if not usable:
        # PyTorch would go on without a word. The trial is also run in Python, with the path of this process.
        message = f"PyTorch's trial program for {vectors} fails here, and code without vectors is slow"
        advice = "install a newer g++ (CXX names it); no file beside your script may hide a module of Python's"
        raise MissingError("compiler", f"{message}: {advice}")


def _on_device(lowered: Lowered, device: str) -> Lowered:
    try:
        return lowered.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        message = f"device {device!r} cannot be used here ({reason}); --device cpu always can"
        raise MissingError("device", message) from error


def _traced(lowered: Lowered) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=1024)
    device = next(lowered.parameters()).device
    example = tuple(tensor.to(device) for tensor in example_inputs(lowered.generator, lowered.pipeline))
    with torch.no_grad():
        return torch.export.export(lowered, example, dynamic_shapes=({0: batch}, {0: batch}, {0: batch}))


def multiply_in_bfloat16(graph: torch.fx.Graph) -> None:
    """Cast what convolutions and products of maps take to bfloat16, and what they give back to float32, in place."""
    for node in [n for n in graph.nodes if n.target in _PRODUCTS and math.prod(n.meta["val"].shape[2:]) > 1]:
        with graph.inserting_before(node):
            node.args = torch.fx.map_arg(node.args, lambda value: _cast(graph, value, torch.bfloat16))
        with graph.inserting_after(node):
            wide = _cast(graph, node, torch.float32)
        node.replace_all_uses_with(wide, lambda user, wide=wide: user is not wide)
    graph.lint()


def _cast(graph: torch.fx.Graph, value: torch.fx.Node, to: torch.dtype) -> torch.fx.Node:
    cast = graph.call_function(torch.ops.aten.to.dtype, (value, to))
    cast.meta["val"] = value.meta["val"].to(to)
    return cast


@contextmanager
def _own_cache() -> Iterator[None]:
    """What the compiler leaves behind goes with a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="cmgan-aoti-") as folder, fresh_cache(dir=folder):
        yield


def _compiled(program: torch.export.ExportedProgram) -> bytes:
    file = io.BytesIO()
    with quiet("torch"), _own_cache():
        torch._inductor.aoti_compile_and_package(program, package_path=file, inductor_configs=_CONFIG)
    return file.getvalue()


def _runner(package: bytes, options: ExportOptions, constants: dict[str, torch.Tensor] | None = None) -> Runner:
    """Runs cases through the package, loaded anew; `constants` replace those of their names."""
    pipeline, device = options.graph.pipeline, options.device
    loaded = load_package(package, device)
    if constants:
        AOTICompiledModel(loaded).load_constants(constants, check_full_update=False)
    names = ("output", RAW) if pipeline == "full" else ("output",)

    def run(cases: list[Case]) -> Arrays:
        return dict(zip(names, run_package(loaded, graph_inputs(pipeline, *stacked(cases)), device), strict=True))

    return run


def _write(package: bytes, path: Path, metadata: Metadata) -> tuple[Path, ...]:
    path.write_bytes(package)
    write_sidecar(path, metadata, (path,))
    return sidecar_of(path), path
