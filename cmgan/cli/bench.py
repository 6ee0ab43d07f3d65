"""`cmgan bench`: parity first, then what it costs."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmgan.cli import completion
from cmgan.cli.options import Device, Json, Model, Overwrite, Resolution, Threads
from cmgan.cli.render import terminal, write_json
from cmgan.errors import UsageError, needs

if TYPE_CHECKING:
    from cmgan.bench.plan import BenchRequest

_Option = typer.Option
_EXAMPLES = """Examples:

cmgan bench --res 512

cmgan bench --res 512 --model out/model.onnx --formats eager,onnx --batch 1

cmgan bench --res 512 --formats onnx,openvino,aoti --precision fp32,bf16,int8

cmgan bench --res 512 --fail-if 'onnx.p50_ms>400' --fail-if 'onnx.speedup_eager<1.5'"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(bench)


def bench(
    model: Model = None,
    res: Resolution = None,
    artefact: Annotated[list[Path] | None, _Option("--artefact", help="An exported file to add; repeatable.")] = None,
    formats: Annotated[
        str,
        _Option(
            "--formats",
            help="PyTorch rows and formats, as in eager-bf16,onnx,ov; the usual ones if empty.",
            autocompletion=completion.bench_rows,
        ),
    ] = "",
    precision: Annotated[
        str,
        _Option("--precision", help="Of exported files, as in fp32,bf16.", autocompletion=completion.bench_precisions),
    ] = "fp32",
    batch: Annotated[str, _Option("--batch", help="Batch sizes for the throughput.")] = "1,2,4",
    iters: Annotated[str, _Option("--iters", help="Least number of calls of each row.")] = "20",
    min_seconds: Annotated[float, _Option("--min-seconds", help="Least time for each row.")] = 5.0,
    warmup: Annotated[int, _Option("--warmup", help="Calls of each row that are not counted.")] = 2,
    fail_if: Annotated[list[str] | None, _Option("--fail-if", help="ROW.METRIC>NUMBER: exit 10; repeatable.")] = None,
    pictures: Annotated[bool, _Option("--pictures", help="Also measure large pictures around the engine.")] = False,
    training: Annotated[bool, _Option("--training", help="Also measure what feeds a training run.")] = False,
    output: Annotated[Path | None, _Option("--output", "-o", help="Report folder; runs/bench/TIME by default.")] = None,
    device: Device = "cpu",
    threads: Threads = 0,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Measure every engine that is here: parity, latency, throughput, cold start, memory, size."""
    with needs("the bench", "cmgan[cpu,export]"):
        from cmgan.bench.measure import run_bench
        from cmgan.bench.plan import BenchRequest
    request = BenchRequest(
        model=model,
        resolution=res,
        artefacts=tuple(artefact or ()),
        formats=tuple(name for name in formats.split(",") if name),
        precisions=tuple(name for name in precision.split(",") if name),
        batches=tuple(_whole("batch", text) for text in batch.split(",")),
        iters=_whole("iters", iters),
        min_seconds=min_seconds,
        warmup=warmup,
        threads=threads,
        device=device,
        fail_if=tuple(fail_if or ()),
    )
    from cmgan.bench.files import default_folder, write_outcome
    from cmgan.bench.plan import check_budgets
    from cmgan.bench.report import render, to_json
    from cmgan.files import check_target
    from cmgan.formats import format_of_file

    if pictures and format_of_file(Path(request.model_name)) is None:
        raise UsageError("pictures", "--pictures needs --model with an exported file", file=request.model_name)
    if output is not None:
        check_target(output, overwrite=overwrite)
    with terminal.progress("preparing", lines=True) as step:
        outcome = run_bench(request, step)
    terminal.show(render(outcome.report))
    for path in write_outcome(outcome, output or default_folder(), overwrite=overwrite):
        terminal.say(str(path))
    if pictures:
        _pictures(request)
    if training:
        _training()
    write_json(json, json_text.loads(to_json(outcome.report)))
    check_budgets(outcome.report, request.budgets)


def _pictures(request: BenchRequest) -> None:
    from cmgan.bench.pictures import measure_pictures
    from cmgan.bench.report import figure_table
    from cmgan.machine import physical_cores

    with terminal.progress("measuring pictures", lines=True) as step:
        figures = measure_pictures(Path(request.model_name), request.threads or physical_cores(), step)
    terminal.show(figure_table("Around the engine", figures))


def _training() -> None:
    from cmgan.bench.pictures import measure_training
    from cmgan.bench.report import figure_table

    with terminal.progress("measuring training data", lines=True) as step:
        figures = measure_training(step)
    terminal.show(figure_table("What feeds a training run, one core", figures))


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"bench_{name}", f"{name} is {text[:40]!r}; a whole number is needed") from None
