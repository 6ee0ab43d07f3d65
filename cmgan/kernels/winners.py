"""Which way through a layer was measured to be the fastest, by GPU: what "auto" follows.

`winners.json` is written by `python -m cmgan.bench.gpu layers` and committed. A layer that no measurement names runs on
the reference.
"""

from __future__ import annotations

import json
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from cmgan.errors import ModelError

COMMITTED = Path(__file__).with_name("winners.json")
PATHS = ("reference", "epilogue", "fold", "fused")
KINDS = ("same", "up", "spatial", "rgb")
BATCHES = (1, 8)  # measured; every batch above one follows the larger


@dataclass(frozen=True)
class Layer:
    """What decides a layer's speed. `side` is the output's; `batch` one of `BATCHES`; `arch` 90 for sm_90."""

    arch: int
    dtype: str  # float32, float16, bfloat16
    batch: int
    kind: str  # one of KINDS
    channels_in: int
    channels_out: int
    side: int


@dataclass(frozen=True)
class Tile:
    """How `modconv2d` cuts its matrix product: positions x output channels a program, input channels a step."""

    positions: int
    channels: int
    depth: int
    warps: int
    stages: int


@dataclass(frozen=True)
class Way:
    """One of `PATHS`; a tile goes with "fused" and with nothing else."""

    path: str
    tile: Tile | None = None


REFERENCE, EPILOGUE, FOLD = Way("reference"), Way("epilogue"), Way("fold")
RGB_TILE = Tile(128, 16, 64, 4, 3)  # to-RGB has three output channels: the narrowest tile
RGB = Way("fused", RGB_TILE)


def batch_bucket(batch: int) -> int:
    """The measured batch size that `batch` follows."""
    return BATCHES[0] if batch == 1 else BATCHES[1]


def load_winners(path: Path = COMMITTED) -> dict[Layer, Way]:
    """The table of a winners file; `ModelError` if it is not one."""
    try:
        entries = json.loads(path.read_text())["winners"]
        return {Layer(**entry["layer"]): _way(entry) for entry in entries}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError("winners", f"no table of winners ({type(error).__name__}: {error})", file=path) from error


def _way(entry: dict[str, Any]) -> Way:
    tile = entry["tile"]
    if entry["path"] not in PATHS or (tile is None) == (entry["path"] == "fused"):
        raise ValueError(f"path {entry['path']!r} with tile {tile!r}")
    return Way(entry["path"], None if tile is None else Tile(*tile))


def winners_json(winners: dict[Layer, tuple[Way, float]], stamp: dict[str, Any]) -> str:
    """The file's text: each layer with its way and the median in microseconds, and the machine it was measured on."""
    entries = [
        {
            "layer": asdict(layer),
            "path": way.path,
            "tile": None if way.tile is None else list(astuple(way.tile)),
            "microseconds": round(microseconds, 2),
        }
        for layer, (way, microseconds) in winners.items()
    ]
    lines = ",\n  ".join(json.dumps(entry) for entry in entries)
    body = f"[\n  {lines}\n ]" if lines else "[]"
    return f'{{\n "stamp": {json.dumps(stamp)},\n "winners": {body}\n}}\n'
