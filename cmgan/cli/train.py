"""`cmgan train`: from pictures to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmgan.cli.options import Json
from cmgan.cli.render import terminal, write_json
from cmgan.errors import UsageError, needs

if TYPE_CHECKING:
    from cmgan.train.config import TrainConfig

_Option = typer.Option
_EXAMPLES = """Examples:

cmgan train --config recipes/smoke.toml -o runs/smoke

cmgan train --config recipes/photos/mini-256.toml data.path=my-pictures loop.batch=16 -o runs/mine

torchrun --nproc-per-node 8 --no-python cmgan train --config recipes/photos/small-512.toml -o runs/photos"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(train)


def train(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="SECTION.FIELD=VALUE...", help="Override the configuration.")
    ] = None,
    config: Annotated[Path | None, _Option("--config", "-c", help="TOML file, by default that of the run.")] = None,
    output: Annotated[
        Path | None, _Option("--output", "-o", help="Run folder; a run that is there already goes on.")
    ] = None,
    max_minutes: Annotated[float, _Option("--max-minutes", min=0, help="Then save and stop; 0: no limit.")] = 0,
    max_steps: Annotated[int, _Option("--max-steps", min=0, help="At this step save and stop; 0: no limit.")] = 0,
    allow_change: Annotated[
        bool, _Option("--allow-change", help="Go on though configuration, pictures or processes differ.")
    ] = False,
    dry_run: Annotated[bool, _Option("--dry-run", help="One step, what it costs, and nothing written.")] = False,
    print_config: Annotated[bool, _Option("--print-config", help="Print the whole configuration and stop.")] = False,
    json: Json = None,
) -> None:
    """Train a generator on your pictures, or go on with a run."""
    with needs("training", "cmgan[train]"):
        from cmgan.train.config import load_config, to_toml
    limits = [f"run.max_minutes={max_minutes}"] * bool(max_minutes) + [f"run.max_steps={max_steps}"] * bool(max_steps)
    own = output / "config.toml" if output and config is None else None
    if own and own.exists():  # a run that is there goes on as it is, but for the limits of its last session
        config, limits = own, ["run.max_minutes=0", "run.max_steps=0", *limits]
    settings = load_config(config, [*(overrides or ()), *limits])
    if print_config:
        terminal.say(to_toml(settings))
    elif dry_run:
        write_json(json, _rehearsed(settings))
    elif output is None:
        raise UsageError("output", "where the run goes is missing; -o RUN names its folder")
    else:
        document, code = _trained(settings, output, allow_change)
        write_json(json, document)
        raise typer.Exit(code)


def _rehearsed(config: TrainConfig) -> dict[str, Any]:
    from rich.table import Table

    from cmgan.train.distributed import joined_world
    from cmgan.train.rehearsal import rehearse

    with joined_world(config.run.device) as world:
        document = rehearse(config, world)
    table = Table("what", "of this run")
    for name, value in document.items():
        shown = value.items() if isinstance(value, dict) else [("", value)]
        table.add_row(name, "\n".join(f"{key} {number:.4g}".strip() for key, number in shown))
    terminal.show(table)
    return document


def _trained(config: TrainConfig, folder: Path, allow_change: bool) -> tuple[dict[str, Any], int]:
    from cmgan.train.distributed import joined_world
    from cmgan.train.loop import train as run

    with joined_world(config.run.device) as world:
        if world.rank:  # one process speaks for all
            terminal.configure(verbose=False, quiet=True)
        with terminal.progress("training", config.loop.steps) as advance:
            done = 0

            def report(step: int, speed: float) -> None:
                nonlocal done
                left = (config.loop.steps - step) * config.pictures_a_step * world.size / speed
                advance(f"step {step}: {speed:.1f} pictures/s, {_duration(left)} left", step - done)
                done = step

            outcome = run(config, folder, world, allow_change=allow_change, report=report)
    terminal.say(f"{folder}: step {outcome.step} of {config.loop.steps}")
    if outcome.finished:
        terminal.say(f"next: cmgan inpaint photo.jpg mask.png --model {folder / 'ema'}")
    else:
        terminal.say(f"the same command goes on with it; the weights so far are in {folder / 'ema'}")
    document = {"run": str(folder), "step": outcome.step, "finished": outcome.finished}
    return document, 128 + outcome.signal if outcome.signal else 0


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
