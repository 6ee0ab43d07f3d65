"""`cmgan train`: from pictures to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmgan.cli.options import Json
from cmgan.cli.render import terminal, write_json
from cmgan.errors import UsageError, needs

if TYPE_CHECKING:
    from cmgan.train.config import Stage, TrainConfig
    from cmgan.train.distributed import World
    from cmgan.train.loop import Outcome

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
    threads: Annotated[int, _Option("--threads", min=0, help="Of each process on the CPU; 0: PyTorch's choice.")] = 0,
    allow_change: Annotated[
        bool, _Option("--allow-change", help="Go on though configuration, pictures or processes differ.")
    ] = False,
    dry_run: Annotated[bool, _Option("--dry-run", help="One step, what it costs, and nothing written.")] = False,
    print_config: Annotated[bool, _Option("--print-config", help="Print the whole configuration and stop.")] = False,
    json: Json = None,
) -> None:
    """Train a generator on your pictures, or go on with a run."""
    with needs("training", "cmgan[train]"):
        from cmgan.train.config import load_recipe, to_toml
    limits = {"max_minutes": max_minutes, "max_steps": max_steps, "threads": threads}
    given = [f"run.{name}={value}" for name, value in limits.items() if value]
    own = output / "config.toml" if output and config is None else None
    if own and own.exists():  # a run that is there goes on as it is, but for the limits of its last session
        config, given = own, ["run.max_minutes=0", "run.max_steps=0", *given]
    stages = load_recipe(config, [*(overrides or ()), *given])
    if print_config:
        for stage in stages:
            terminal.say(f"# stage {stage.name}\n" * bool(stage.name) + to_toml(stage.config))
    elif dry_run:
        write_json(json, _rehearsed(stages))
    elif output is None:
        raise UsageError("output", "where the run goes is missing; -o RUN names its folder")
    else:
        document, code = _trained(stages, output, allow_change)
        write_json(json, document)
        raise typer.Exit(code)


def _rehearsed(stages: list[Stage]) -> dict[str, Any]:
    """The cost of a run, or of each stage by name."""
    documents = {stage.name: _rehearsed_stage(stage) for stage in stages}
    return documents if len(stages) > 1 else documents[stages[0].name]


def _rehearsed_stage(stage: Stage) -> dict[str, Any]:
    from rich.table import Table

    from cmgan.train.distributed import joined_world
    from cmgan.train.rehearsal import rehearse

    with joined_world(stage.config.run.device) as world:
        document = rehearse(stage.config, world)
    table = Table("what", f"of stage {stage.name}" if stage.name else "of this run")
    for name, value in document.items():
        shown = value.items() if isinstance(value, dict) else [("", value)]
        table.add_row(name, "\n".join(f"{key} {_plain(number)}".strip() for key, number in shown))
    terminal.show(table)
    return document


def _plain(number: float) -> str:
    """Four digits, and no powers of ten for what people count."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def _trained(stages: list[Stage], folder: Path, allow_change: bool) -> tuple[dict[str, Any], int]:
    from cmgan.train.distributed import joined_world
    from cmgan.train.stages import stage_runs

    with joined_world(stages[0].config.run.device) as world:
        if world.rank:  # one process speaks for all
            terminal.configure(verbose=False, quiet=True)
        for number, (run, config) in enumerate(stage_runs(stages, folder), 1):
            outcome = _trained_stage(config, run, world, allow_change)
            terminal.say(f"{run}: step {outcome.step} of {config.loop.steps}")
            finished = outcome.finished and number == len(stages)
            if not outcome.finished or outcome.signal:
                break
    best = next((run / name for name in ("best", "ema") if (run / name).is_dir()), run)
    if finished:
        terminal.say(f"next: cmgan inpaint photo.jpg mask.png --model {best}")
    else:
        terminal.say(f"the same command goes on with it; the weights so far are in {best}")
    document = {"run": str(run), "step": outcome.step, "finished": finished}
    return document, 128 + outcome.signal if outcome.signal else 0


def _trained_stage(config: TrainConfig, folder: Path, world: World, allow_change: bool) -> Outcome:
    from cmgan.train.loop import train as run
    from cmgan.train.steps import uses_bfloat16

    arithmetic = "bfloat16" if uses_bfloat16(config.loop.autocast, world.device) else "float32"
    terminal.say(f"{folder}: {config.generator.resolution} pixels, {arithmetic} on {world.device}")
    with terminal.progress("training", config.loop.steps) as advance:
        done = 0

        def report(step: int, speed: float) -> None:
            nonlocal done
            left = (config.loop.steps - step) * config.pictures_a_step * world.size / speed
            advance(f"step {step}: {speed:.1f} pictures/s, {_duration(left)} left", step - done)
            done = step

        return run(config, folder, world, allow_change=allow_change, report=report)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
