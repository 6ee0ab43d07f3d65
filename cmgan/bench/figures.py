"""Single figures beside the table of engines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value, and the most that it is meant to be; of a rate, the least."""

    what: str
    value: float
    unit: str  # s, MB or /s
    limit: float

    @property
    def missed(self) -> bool:
        return self.value < self.limit if self.unit == "/s" else self.value > self.limit
