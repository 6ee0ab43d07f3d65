"""Progressive training: the stages of a recipe one after the other, each a run in a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cmgan.train.config import Stage, TrainConfig


def stage_runs(stages: list[Stage], folder: Path) -> Iterator[tuple[Path, TrainConfig]]:
    """The run folder and the configuration of each stage, to be taken once the run before it has finished.

    A stage starts from the best model of the one before it by the validation pictures, without them from the last. The
    limits of the session, `run.max_minutes` and `run.max_steps`, count over all stages. A recipe of a single stage is
    the run `folder` itself, one of several has the folders `1-NAME`, `2-NAME` in it.
    """
    began, steps, start = time.monotonic(), 0, ""
    if len(stages) > 1 and folder.parent.is_dir():
        folder.mkdir(exist_ok=True)
    for number, stage in enumerate(stages, 1):
        run, config = folder, stage.config
        if len(stages) > 1:
            run = folder / f"{number}-{stage.name}"
        if start:
            config = replace(config, model=replace(config.model, start=start))
        limits = config.run
        if limits.max_minutes:
            limits = replace(limits, max_minutes=max(limits.max_minutes - (time.monotonic() - began) / 60, 1e-3))
        if limits.max_steps:
            if limits.max_steps <= steps:
                return
            limits = replace(limits, max_steps=limits.max_steps - steps)
        yield run, replace(config, run=limits)
        steps += config.loop.steps
        start = str(next(run / name for name in ("best", "ema") if (run / name).is_dir()))
