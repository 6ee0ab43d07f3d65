"""The formats `trt` and `trt-rtx`: a strongly typed network parsed from the ONNX graph, built into an engine.

Precision is what the graph says, in TensorRT 10 by a flag, from 11 on and in TensorRT-RTX by default:
https://docs.nvidia.com/deeplearning/tensorrt/latest/api/migration/tensorrt-10x-to-11x.html
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from cmgan.errors import MissingError, ModelError, UsageError, warn
from cmgan.export.gate.candidate import Candidate, Progress, Runner
from cmgan.export.gate.cases import Case, stacked
from cmgan.export.options import ExportOptions
from cmgan.export.precision.ranges import range_verdict
from cmgan.export.source import Source
from cmgan.export.targets.onnx import runner
from cmgan.export.trace import with_hot_weights
from cmgan.files import cache_folder, sha256
from cmgan.runtime import cuda
from cmgan.runtime.file_engine import Arrays, graph_inputs
from cmgan.runtime.metadata import Metadata
from cmgan.runtime.sidecar import sidecar_of, write_sidecar
from cmgan.runtime.tensorrt.engine import Build
from cmgan.runtime.tensorrt.kernel_cache import read_cache, write_cache
from cmgan.runtime.tensorrt.library import TITLES, library, new_log
from cmgan.runtime.tensorrt.session import Session


@dataclass(frozen=True)
class Place:
    """The GPUs that an engine is built for, and the one here that can run it; without one, why."""

    targets: tuple[str, ...]  # compute capabilities: sm_89
    gpu: cuda.Gpu | None
    why: str = ""


def build(source: Source, options: ExportOptions, progress: Progress) -> Candidate:
    """Build the engine; where no GPU here can run it, the graph it is built from stands in at the gate.

    Raises:
        UsageError: a target is unknown, or needed and not given.
        MissingError: the library, or the GPU that TensorRT needs for building, is missing.
        ModelError: the library cannot take the graph.
    """
    trt = library(options.format)
    place = find_place(trt, options, gpu_here())
    progress("tracing the network")
    graph = source.graph(options.onnx)

    def engine(model: onnx.ModelProto) -> bytes:
        return engine_from_onnx(trt, model.SerializeToString(), options, place.targets, progress)

    plan = engine(graph)

    def write(path: Path, metadata: Metadata) -> tuple[Path, ...]:
        path.write_bytes(plan)
        write_sidecar(path, metadata, (path,))
        return sidecar_of(path), path

    def hot() -> Runner:
        model = with_hot_weights(graph, source.generator)
        return _session_runner(trt, engine(model), options, place.gpu) if place.gpu else runner(model, options.threads)

    return Candidate(
        run=_session_runner(trt, plan, options, place.gpu) if place.gpu else runner(graph, options.threads),
        run_hot=hot,
        write=write,
        not_run_here=place.why,
        range=lambda: range_verdict(graph, source.generator, source.cases),
        details=details_of(trt, graph, options, place),
    )


def find_place(trt: Any, options: ExportOptions, here: cuda.Gpu | MissingError) -> Place:
    """Where the engine will run, given the GPU of this machine or why there is none; errors as for `build`."""
    supported = supported_targets(trt)
    title = f"{TITLES[options.format]} {trt.__version__}"
    wrong = [target for target in options.target if target not in supported]
    if wrong:
        raise UsageError("target", f"--target {','.join(wrong)}: {title} builds for {', '.join(supported)}")
    targets = tuple(dict.fromkeys(options.target))
    if isinstance(here, MissingError):
        if options.format == "trt":
            instead = "use --format trt-rtx --target sm_89,sm_120, or export --format onnx and build where the GPU is"
            message = f"TensorRT builds on the GPU that will run the engine, but {here.message}; {instead}"
            raise MissingError(here.slug, message)
        if not targets:
            message = f"--format trt-rtx without --target builds for this machine's GPU, but {here.message}"
            raise UsageError("target", f"{message}; give --target {','.join(supported)} or some of them")
        return Place(targets, None, here.message)
    targets = targets or (here.capability,)
    if options.format == "trt-rtx" and targets[0] not in supported:
        message = f"{here.name} is {here.capability}, which {title} does not build for"
        raise UsageError("target", f"{message}; give --target {','.join(supported)}, or use --format trt")
    if here.capability in targets:
        return Place(targets, here)
    return Place(targets, None, f"{here.name} is {here.capability}, and the engine is for {', '.join(targets)}")


def gpu_here() -> cuda.Gpu | MissingError:
    """The first GPU of this machine, or why there is none."""
    try:
        return cuda.gpu("cuda")
    except MissingError as error:
        return error


def supported_targets(trt: Any) -> list[str]:
    """The compute capabilities that the library builds for without such a GPU; of TensorRT, none."""
    members = trt.ComputeCapability.__members__ if hasattr(trt, "ComputeCapability") else ()
    return [f"sm_{name.removeprefix('SM')}" for name in members if name.startswith("SM")]


def engine_from_onnx(
    trt: Any, model: bytes, options: ExportOptions, targets: tuple[str, ...], progress: Progress
) -> bytes:
    """A serialised engine of the graph, for the batches, targets and limits of the options.

    Raises:
        ModelError: the library cannot take a node, or cannot build the network.
    """
    monitor = new_monitor(trt, lambda step: progress(f"{TITLES[options.format]}: {step}"))
    with ThreadPoolExecutor(1) as pool:  # native code would swallow a Ctrl-C that arrives in one of its callbacks
        pool.submit(int).result()  # a Ctrl-C while its thread starts would leave the pool without knowing of it
        try:
            return pool.submit(_build_engine, trt, model, options, targets, monitor).result()
        except BaseException:
            monitor.go_on = False
            raise


def new_monitor(trt: Any, progress: Progress) -> Any:
    """An `IProgressMonitor` that says phase and percentage, whenever that changes, until `go_on` is false."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.go_on = True
            self._steps: dict[str, int] = {}
            self._said = ""

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._steps[phase] = steps

        def step_complete(self, phase: str, step: int) -> bool:
            text = f"{phase.lower()}, {100 * (step + 1) // self._steps[phase]} %"
            if text != self._said:
                self._said = text
                progress(text)
            return self.go_on

        def phase_finish(self, phase: str) -> None:
            pass

    return Monitor()


def _build_engine(trt: Any, model: bytes, options: ExportOptions, targets: tuple[str, ...], monitor: Any) -> bytes:
    title = f"{TITLES[options.format]} {trt.__version__}"
    log = new_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        raise _parser_refusal(title, parser)
    config = builder.create_builder_config()
    config.progress_monitor = monitor
    config.add_optimization_profile(_profile(builder, network, options.batches))
    _configure(trt, config, options, targets)
    timings = _timings_file(trt, options, targets)
    if timings:
        load_timings(config, timings)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        reason = log.errors[0] if log.errors else "no reason given"
        raise ModelError("engine_build", f"{title} cannot build the engine: {reason}")
    if timings:
        write_cache(timings, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _configure(trt: Any, config: Any, options: ExportOptions, targets: tuple[str, ...]) -> None:
    if options.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and no fp32: it rounds factors to 10 bits
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    if options.builder_level is not None:
        config.builder_optimization_level = options.builder_level
    if options.format == "trt-rtx":
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            config.set_compute_capability(getattr(trt.ComputeCapability, target.replace("sm_", "SM")), index)


def load_timings(config: Any, path: Path) -> None:
    """Give the builder the timings that an earlier build stored at `path`, or none if they are no good here."""
    if not config.set_timing_cache(config.create_timing_cache(read_cache(path)), False):
        warn("cache", f"{path} holds timings of another machine; they are measured again")
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _timings_file(trt: Any, options: ExportOptions, targets: tuple[str, ...]) -> Path | None:
    if options.format != "trt":
        return None  # TensorRT-RTX times nothing when it builds
    return options.timing_cache or cache_folder() / "trt" / f"{trt.__version__}-{targets[0]}.timings"


def _profile(builder: Any, network: Any, batches: tuple[int, int, int]) -> Any:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        value = network.get_input(index)
        profile.set_shape(value.name, *((n, *tuple(value.shape)[1:]) for n in batches))
    return profile


def _parser_refusal(title: str, parser: Any) -> ModelError:
    error = parser.get_error(0)
    node = f"node {error.node_name()!r} ({error.node_operator()})" if error.node_operator() else "the graph"
    hint = "; export with --fft matmul" if error.node_operator() == "DFT" else ""
    return ModelError("onnx_refused", f"{title} cannot take {node}: {error.desc()}{hint}")


def _session_runner(trt: Any, plan: bytes, options: ExportOptions, gpu: cuda.Gpu) -> Runner:
    session = Session(trt, plan, options.batches, gpu, None)

    def run(cases: list[Case]) -> Arrays:
        return {"output": session.run(graph_inputs(options.graph.pipeline, *stacked(cases)))}

    return run


def details_of(trt: Any, graph: onnx.ModelProto, options: ExportOptions, place: Place) -> dict[str, Any]:
    gpu = place.gpu
    built = Build(
        version=trt.__version__,
        targets=place.targets,
        batches=options.batches,
        source_sha256=sha256(graph.SerializeToString()),
        gpu=gpu.name if gpu else "",
        driver=gpu.driver if gpu else "",
        cuda=gpu.runtime if gpu else "",
    )
    return asdict(built)
