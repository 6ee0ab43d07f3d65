"""What TAB offers where a choice is not closed, and the scripts that make a shell ask."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import typer

VARIABLE = "_CMGAN_COMPLETE"  # set by the shell when it asks
Shell = Literal["bash", "zsh", "fish"]


def asked() -> bool:
    """Whether a shell asks what may follow on its line."""
    return VARIABLE in os.environ


def answer(app: typer.Typer) -> int:
    """Say to the shell that asks what may follow; nothing if that fails, for its line is no place for errors."""
    from typer.completion import get_completion_inspect_parameters

    get_completion_inspect_parameters()  # makes typer know the shells
    try:
        typer.main.get_command(app)([], prog_name="cmgan", standalone_mode=False)
    except Exception:  # noqa: BLE001 - a missing package, most likely
        return 1
    return 0


def print_script(shell: Shell | None) -> None:
    """For `--show-completion`: print the script of a shell and stop."""
    if shell:
        from typer.completion import get_completion_script  # type: ignore[attr-defined]

        typer.echo(get_completion_script(prog_name="cmgan", complete_var=VARIABLE, shell=shell))
        raise typer.Exit


def with_shell(arguments: list[str]) -> list[str]:
    """`--show-completion` alone is about the user's own shell."""
    if arguments[-1:] != ["--show-completion"]:
        return arguments
    return [*arguments, Path(os.environ.get("SHELL", "bash")).name]


def models(incomplete: str) -> list[str]:
    """Names of models; where none fits, the shell offers files."""
    from cmgan.config import PRESETS
    from cmgan.weights import bundled

    return [name for name in (*bundled(), *PRESETS) if name.startswith(incomplete)]


def bench_rows(incomplete: str) -> list[str]:
    """PyTorch rows and formats, of a list with commas."""
    from cmgan.bench.rows import KINDS
    from cmgan.formats import FORMATS

    return _last_of((*(kind.name for kind in KINDS.values() if kind.pytorch), *FORMATS), incomplete)


def bench_precisions(incomplete: str) -> list[str]:
    """Of a list with commas."""
    from cmgan.bench.rows import PRECISIONS

    return _last_of(PRECISIONS, incomplete)


def baselines(incomplete: str) -> list[str]:
    """Of a list with commas."""
    from cmgan.evaluate.fillings import FILLINGS

    return _last_of(FILLINGS, incomplete)


def _last_of(names: Iterable[str], incomplete: str) -> list[str]:
    """What may become of the last name of a list with commas."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]
