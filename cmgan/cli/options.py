"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmgan.cli.completion import models
from cmgan.cli.render import terminal
from cmgan.config import DEFAULT_MODEL
from cmgan.errors import UsageError

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        rich_help_panel="Engine",
        help="A bundled model, a preset (untrained weights), an exported file, or the folder of a model, of a training "
        "run or of one export.",
        autocompletion=models,
        show_default=DEFAULT_MODEL,
    ),
]
Resolution = Annotated[
    int | None,
    typer.Option(
        "--res", rich_help_panel="Engine", help="Choose the preset of this resolution, or state what the model has."
    ),
]
Device = Annotated[str, typer.Option("--device", rich_help_panel="Engine", help="cpu, cuda or cuda:N.")]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        rich_help_panel="Engine",
        help="fp32, tf32, bf16 or fp16: of a model folder or preset on a GPU.",
        show_default="fp32",
    ),
]
Kernels = Annotated[
    str, typer.Option("--kernels", rich_help_panel="Engine", help="auto, triton or reference: of the same.")
]
Threads = Annotated[
    int,
    typer.Option("--threads", min=0, rich_help_panel="Engine", help="Threads of the engine; 0: as many as it likes."),
]
Signature = Annotated[
    str,
    typer.Option(
        "--signature",
        rich_help_panel="Engine",
        help="What a foreign ONNX file takes and gives: lama, lama-4, migan.",
        show_default="found out",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel="Output", help="Replace what is there.")]


def _checked_json(target: str | None) -> str | None:
    if target == "-":
        terminal.results_to_stderr()
    elif target and not Path(target).parent.is_dir():  # said before the work, not after it
        raise UsageError("output_folder", "its folder does not exist; make it first", file=target)
    return target


Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        callback=_checked_json,
        rich_help_panel="Output",
        help="Write the result as JSON to this file; - is stdout.",
    ),
]
