"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from cmgan.cli.render import terminal
from cmgan.config import DEFAULT_MODEL, PRESET_OF_RESOLUTION, PRESETS
from cmgan.errors import UsageError

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        rich_help_panel="Engine",
        help="A bundled model, a preset (untrained weights), a model folder, or an exported file.",
    ),
]
Resolution = Annotated[
    int | None,
    typer.Option(
        "--res", rich_help_panel="Engine", help="Choose the preset of this resolution, or state what the model has."
    ),
]
Device = Annotated[str, typer.Option("--device", rich_help_panel="Engine", help="cpu, cuda or cuda:N.")]
Threads = Annotated[
    int,
    typer.Option("--threads", min=0, rich_help_panel="Engine", help="Threads of the engine; 0: as many as it likes."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel="Output", help="Replace what is there.")]


def _keep_stdout_for_json(target: str | None) -> str | None:
    if target == "-":
        terminal.results_to_stderr()
    return target


Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        callback=_keep_stdout_for_json,
        rich_help_panel="Output",
        help="Write the result as JSON to this file; - is stdout.",
    ),
]


def model_or_default(model: str | None, resolution: int | None) -> str:
    """The model to use where one or neither of `--model` and `--res` is given."""
    if model is not None:
        if resolution is not None and model in PRESETS:
            check_resolution(resolution, PRESETS[model].resolution)
        return model
    if resolution is None:
        return DEFAULT_MODEL
    if resolution not in PRESET_OF_RESOLUTION:
        known = ", ".join(map(str, sorted(PRESET_OF_RESOLUTION)))
        raise UsageError("resolution", f"--res {resolution}: there are presets of {known}")
    return PRESET_OF_RESOLUTION[resolution]


def check_resolution(wanted: int | None, has: int) -> None:
    """Refuse a `--res` that the model does not have: the network works at one resolution."""
    if wanted is not None and wanted != has:
        raise UsageError("resolution", f"--res {wanted}: the model works at {has} x {has} only; leave --res out")
