"""What a check measures: the real sizes, and a small rehearsal of them for a machine without a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """Sizes and device of one check. A rehearsal runs the same code; its figures mean nothing."""

    device: str
    presets: tuple[str, ...]  # for the whole model
    compiled: str  # the preset that torch.compile gets
    layers: tuple[tuple[int, int], ...]  # channels and side of the layer table
    batches: tuple[int, ...]
    dtypes: tuple[str, ...]  # of the whole model
    repetitions: int  # of the repeatability stage
    calls: int  # timed calls of one thing; the median counts
    folder: Path  # where results and, after the layer table, winners.json lie

    @property
    def rehearsal(self) -> bool:
        return self.device == "cpu"


# The 3x3 layers of paper-512 that keep their size, coarse to fine.
PAPER_LAYERS = ((512, 4), (512, 8), (512, 16), (512, 32), (512, 64), (256, 128), (128, 256), (64, 512))


def real(folder: Path) -> Plan:
    return Plan(
        "cuda",
        ("paper-512", "small-512"),
        "paper-512",
        PAPER_LAYERS,
        (1, 8),
        ("bfloat16", "float16", "float32"),
        100,
        20,
        folder,
    )


def rehearsal(folder: Path) -> Plan:
    return Plan("cpu", ("tiny-64",), "tiny-64", ((16, 8),), (1, 2), ("float32",), 3, 2, folder)
