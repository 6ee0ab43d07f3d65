"""What steps leave on the device, fetched for many of them at once: each fetch makes the host wait for the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cmgan.train.distributed import World


@dataclass(frozen=True)
class Record:
    """One step: the means of its terms over the processes, and whether every gradient was finite."""

    terms: dict[str, float]
    finite: bool


class Tally:
    """The steps since the last fetch."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._names: list[list[str]] = []
        self._rows: list[Tensor] = []  # of each step: its terms, then whether its gradients were finite

    def add(self, terms: dict[str, Tensor], finite: Tensor) -> None:
        """Note a step: scalars on the device, which stay there."""
        self._names.append([*terms])
        self._rows.append(torch.stack([*terms.values(), finite]).double())

    def fetch(self, *counts: int) -> tuple[list[Record], list[int]]:
        """The steps noted, oldest first, and the sums of `counts` over the processes, which all must call this."""
        asked = torch.tensor(counts, dtype=torch.float64, device=self._world.device)
        values = iter(self._world.sum(torch.cat([*self._rows, asked])).tolist())
        size = self._world.size
        records = []
        for names in self._names:
            terms = {name: next(values) / size for name in names}
            records.append(Record(terms, next(values) == size))
        self._names, self._rows = [], []
        return records, [int(value) for value in values]
