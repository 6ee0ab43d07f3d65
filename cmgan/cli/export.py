"""`cmgan export`, `cmgan lower`, `cmgan check`: artefacts and their proofs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cmgan.cli.options import Device, Json, Model, Overwrite, Resolution, Signature, Threads
from cmgan.cli.render import terminal, write_json
from cmgan.config import check_resolution, chosen_model
from cmgan.errors import NumbersError, UsageError, needs
from cmgan.formats import FormatName, Precision, format_of, model_in

_EXPORT_EXAMPLES = """Examples:

cmgan export --format onnx --model small-512 -o out

cmgan export --format onnx --model my-model/ --pipeline core --opset 18 -o out --overwrite"""
_LOWER_EXAMPLES = """Examples:

cmgan lower lama.onnx -o lama-matmul.onnx

cmgan lower lama.onnx --shape image=1,3,512,512 --shape mask=1,1,512,512 -o lama-matmul.onnx

cmgan lower lama.onnx -o lama-matmul.onnx --compare --json report.json"""
_CHECK_EXAMPLES = """Examples:

cmgan check out/model.onnx

cmgan check lama-matmul.onnx --against lama.onnx

cmgan check out/model.onnx --debug-layers --model small-512"""


DebugLayers = Annotated[
    bool, typer.Option("--debug-layers", help="If it paints another picture, name the first node that diverges (slow).")
]


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXPORT_EXAMPLES)(export)
    app.command(epilog=_LOWER_EXAMPLES)(lower)
    app.command(epilog=_CHECK_EXAMPLES)(check)


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for model.onnx and model.onnx.parity.npz.")],
    format: Annotated[FormatName, typer.Option("--format", "-f", help="What to write.")] = "onnx",
    model: Model = None,
    res: Resolution = None,
    precision: Annotated[
        Precision, typer.Option("--precision", help="Of weights and values; auto: the cheapest mix that passes.")
    ] = "fp32",
    pipeline: Annotated[
        Literal["full", "core"], typer.Option("--pipeline", help="full: bytes to bytes; core: the bare network.")
    ] = "full",
    fft: Annotated[
        Literal["matmul", "dft"], typer.Option("--fft", help="matmul: constant products; dft: ONNX's DFT.")
    ] = "matmul",
    opset: Annotated[int, typer.Option("--opset", help="ONNX operator set.")] = 20,
    batch_min: Annotated[int | None, typer.Option("--batch-min", help="Least batch of the engine.")] = None,
    batch_opt: Annotated[int | None, typer.Option("--batch-opt", help="Batch the engine is tuned to.")] = None,
    batch_max: Annotated[int | None, typer.Option("--batch-max", help="Largest batch of the engine.")] = None,
    target: Annotated[str, typer.Option("--target", help="GPUs to build for: sm_89,sm_120.")] = "",
    timing_cache: Annotated[Path | None, typer.Option("--timing-cache", help="Measurements to reuse.")] = None,
    workspace: Annotated[int | None, typer.Option("--workspace", help="MiB that the builder may use.")] = None,
    builder_level: Annotated[int | None, typer.Option("--builder-level", help="0 to 5: how long it searches.")] = None,
    calib_data: Annotated[Path | None, typer.Option("--calib-data", help="Folder of pictures for int8.")] = None,
    keep_fp32: Annotated[
        list[str] | None, typer.Option("--keep-fp32", help="Layers that stay in fp32 (regex).")
    ] = None,
    device: Device = "cpu",
    threads: Annotated[
        int,
        typer.Option(
            "--threads", min=0, rich_help_panel="Engine", help="Of tracing and proving; 0: as many as it likes."
        ),
    ] = 0,
    foreign: Annotated[
        Path | None, typer.Option("--from", help="An inpainting ONNX file of others (LaMa, MI-GAN) instead of a model.")
    ] = None,
    signature: Signature = "",
    debug_layers: DebugLayers = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Export a model, and prove that the file paints what the model paints."""
    kind = format_of(format)
    name = "" if foreign is not None else chosen_model(model, res)
    with needs("exporting", f"cmgan[export,{kind.extra}]"):
        from cmgan.export.artefact import check_folder, export_model
        from cmgan.export.options import ExportOptions
        from cmgan.export.source import Source
        from cmgan.export.trace import OnnxOptions
        from cmgan.model.weights import resolve
    options = ExportOptions(
        format=kind.name,
        precision=precision,
        graph=OnnxOptions(pipeline=pipeline, fft=fft, opset=opset),
        batch_min=batch_min,
        batch_opt=batch_opt,
        batch_max=batch_max,
        target=tuple(filter(None, target.split(","))),
        timing_cache=timing_cache,
        workspace=workspace,
        builder_level=builder_level,
        calib_data=calib_data,
        keep_fp32=tuple(keep_fp32 or ()),
        device=device,
        threads=threads,
    )
    if threads:
        import torch

        torch.set_num_threads(threads)
    check_folder(output, output / options.file_name, overwrite=overwrite)
    if foreign is not None:
        if model is not None or debug_layers:
            raise UsageError("from", "--from FILE takes the place of --model, and there are no layers to look into")
        running = {"signature": signature, "resolution": res or 0}
        _show_export(_exported_foreign(foreign, output, options, running, overwrite=overwrite), json)
        return
    if debug_layers:
        from cmgan.export.debug import check_debuggable

        check_debuggable(options)
    with terminal.progress("loading the model") as step:
        loaded = resolve(name)
        check_resolution(res, loaded.generator.config.resolution)
        source = Source(loaded)
        try:
            made = export_model(source, output, options, overwrite=overwrite, progress=step)
        except NumbersError as error:
            if not debug_layers:
                raise
            raise _explained(error, source, options) from error
    _show_export(made, json)


def _exported_foreign(path: Path, output: Path, options: Any, running: Any, *, overwrite: bool) -> Any:
    from cmgan.export.foreign import export_foreign
    from cmgan.runtime.engine import EngineOptions

    with terminal.progress("looking at the file") as step:
        return export_foreign(path, output, options, EngineOptions(**running), overwrite=overwrite, progress=step)


def _show_export(made: Any, json: str | None) -> None:
    _show_search(made.metadata.details)
    _show_verdict(made.metadata.verdict)
    trained = "" if made.metadata.trained else ", untrained weights"
    parity = f"parity {made.metadata.verdict['values']}"
    terminal.say(f"{made.file}: {made.bytes / 1e6:.1f} MB, {made.metadata.name}{trained}; {parity}")
    if why := made.metadata.verdict.get("why"):
        terminal.say(f"not run here: {why}; what it is built from passed; where it can run: cmgan check {made.file}")
    else:
        terminal.say(f"next: cmgan inpaint photo.jpg mask.png --model {made.file}")
    write_json(json, {"file": str(made.file), "bytes": made.bytes, "verdict": made.metadata.verdict})


def lower(
    source: Annotated[Path, typer.Argument(help="An ONNX file of any network.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    shape: Annotated[
        list[str] | None, typer.Option("--shape", help="NAME=1,3,512,512: fix an input's sizes; repeatable.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Run both graphs whole, against float64 (slow).")] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Rewrite the Fourier transforms (DFT, STFT) of any ONNX file as products with constant matrices."""
    from cmgan.export.lower.lowering import lower_file

    shapes = dict(map(_parsed_shape, shape or ()))
    with terminal.progress("lowering"):
        report = lower_file(source, output, overwrite=overwrite, compare=compare, shapes=shapes)
    if report.nodes:
        terminal.show(_lowering_table(report))
    terminal.say(report.summary())
    ran = report.trial is not None and not report.trial.problem
    terminal.say(f"{output}: written; {'loaded and run once in ONNX Runtime' if ran else 'not run'}")
    write_json(json, report.to_dict())


def check(
    artefact: Annotated[Path, typer.Argument(help="An exported file, or its folder; NAME.parity.npz is beside it.")],
    against: Annotated[
        Path | None, typer.Option("--against", help="Compare with this file instead: both may be of others.")
    ] = None,
    signature: Signature = "",
    debug_layers: DebugLayers = False,
    model: Model = None,
    device: Device = "cpu",
    threads: Threads = 0,
    json: Json = None,
) -> None:
    """Prove again, on this machine and without torch, that an exported file paints what eager painted.

    `--debug-layers` looks into an ONNX file's graph instead, for which it needs torch and the `--model` it was made of.
    """
    artefact = model_in(artefact)
    if debug_layers:
        _show_divergence(artefact, chosen_model(model, None))
        return
    from cmgan.runtime.engine import EngineOptions

    options = EngineOptions(device=device, threads=threads, signature=signature)
    if against is not None:
        from cmgan.export.gate.against import check_against

        with terminal.progress("comparing"):
            verdict = check_against(artefact, against, options)
    else:
        from cmgan.export.gate.check import check_artefact

        verdict = check_artefact(artefact, options)
    _show_verdict(verdict)
    terminal.say(f"{artefact}: parity passed")
    write_json(json, {"file": str(artefact), "verdict": verdict})


def _explained(error: NumbersError, source: Any, options: Any) -> NumbersError:
    from cmgan.export.debug import explanation

    return NumbersError(error.slug, f"{error.message}; {explanation(source, options)}", file=error.file)


def _show_divergence(artefact: Path, model: str) -> None:
    from cmgan.export.debug import divergence_of_file
    from cmgan.export.source import Source
    from cmgan.model.weights import resolve

    with terminal.progress("comparing all values"):
        found = divergence_of_file(artefact, Source(resolve(model)))
    if found:
        raise NumbersError("divergence", str(found), file=artefact)
    terminal.say(f"{artefact}: no node diverges")


def _show_verdict(verdict: dict[str, Any]) -> None:
    from rich.table import Table

    from cmgan.export.gate.tolerances import EXACT_DB

    table = Table("the worst of", "max", "mean", "hole max", "hole equal", "hole PSNR")
    for kind, row in verdict.items():
        if not isinstance(row, dict):
            continue
        unit = "levels of 255" if kind == "uint8" else "raw, about [-1, 1]"
        equal = f"{row['hole_equal']:.3%}" if kind == "uint8" else ""
        errors = (f"{row[key]:.2g}" for key in ("max_abs", "mean_abs", "hole_max_abs"))
        psnr = "exact" if row["hole_psnr"] >= EXACT_DB else f"{row['hole_psnr']:.1f} dB"
        table.add_row(f"{len(verdict['cases'])} comparisons, {unit}", *errors, equal, psnr)
    terminal.show(table)


def _show_search(details: dict[str, Any]) -> None:
    from rich.table import Table

    if "calibration" in details:
        terminal.say(f"int8 ranges measured on {details['calibration']}")
    if "search" in details:
        table = Table("block tried in int8", "alone", "mix with it", "", "cost of the mix, fp32 = 1")
        for step in details["search"]:
            decibels = (f"{step[key]:.1f} dB" for key in ("alone", "together"))
            table.add_row(step["group"], *decibels, "int8" if step["kept"] else "fp32", f"{step['cost']:.2f}")
        terminal.show(table)


def _parsed_shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    numbers = sizes.split(",")
    if not name or not all(number.isascii() and number.isdecimal() for number in numbers):
        raise UsageError("shape", f"--shape {text!r}: NAME=1,3,512,512 is needed, an input and its sizes")
    return name, tuple(map(int, numbers))


def _lowering_table(report: Any) -> Any:
    from rich.table import Table

    table = Table("node", "kind", "length", "axis", "matrix", "error against float64")
    for row in report.rows():
        table.add_row(*row)
    return table
