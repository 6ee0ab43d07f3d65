"""Runs for the tests: small, with every loss and penalty on, and what must be equal of two of them."""

import json
from pathlib import Path
from typing import Any

import torch

from cmgan.train.checkpoint import MANIFEST
from cmgan.train.config import TrainConfig, load_config
from cmgan.train.distributed import World

ALONE = World(0, 1, torch.device("cpu"))
SETTINGS = (
    "model.preset=tiny-64",
    "data.path=procedural:7",
    "loss.perceptual=0",
    "loss.adversarial_weight=0.1",
    "loss.adversarial_from=1",
    "loss.r1_every=2",
    "loss.path_length=0.1",
    "loss.path_length_every=2",
    "optimiser.warmup=2",
    "optimiser.schedule=cosine",
    "optimiser.ema_pictures=20",
    "loop.steps=4",
    "loop.batch=2",
    "loop.accumulate=1",
    "run.workers=0",
    "run.log_every=3",
    "run.save_every=100",
    "run.grid_every=100",
)


def small(*overrides: str) -> TrainConfig:
    """A run of four steps with every kind of loss, of pictures for three steps an epoch."""
    return load_config(None, [*SETTINGS, *overrides])


def digests(run: Path) -> dict[str, str]:
    """Of the newest checkpoint's tensors, and of the averaged weights."""
    newest = max((run / "checkpoints").iterdir())
    files = json.loads((newest / MANIFEST).read_text())["files"]
    found = {f"{newest.name}/{name}": files[name]["sha256"] for name in files if name.endswith(".safetensors")}
    model = json.loads((run / "ema" / "manifest.json").read_text())["files"]
    return found | {"ema": model["model.safetensors"]["sha256"]}


def journal(run: Path) -> list[dict[str, Any]]:
    """The lines of the journal without what the clock says."""
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "pictures_per_second")} for line in lines]
