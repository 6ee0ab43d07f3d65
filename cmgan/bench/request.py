"""What a bench is asked to do, checked before any work."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from cmgan.bench.budget import Budget, parse_budget
from cmgan.bench.rows import BASELINE, KINDS, PRECISIONS, USUAL_FORMATS, row_name
from cmgan.config import DEFAULT_MODEL, PRESET_OF_RESOLUTION, PRESETS
from cmgan.errors import UsageError
from cmgan.formats import FORMATS, format_of

_PYTORCH_ROWS = tuple(kind.name for kind in KINDS.values() if kind.pytorch)


@dataclass(frozen=True)
class BenchRequest:
    """What to measure and for how long; `UsageError` for a value that makes no sense.

    `model` is a preset, a model folder or an exported file; None takes the preset of `resolution`. `artefacts` are
    exported files of the same weights. `formats` names PyTorch rows and formats of exported files, each of which is a
    row in each of `precisions`; empty means every PyTorch row that the device can have and the usual formats. Every row
    is called at least `iters` times and for `min_seconds` at batch 1, and with half as many pictures at each of the
    `batches`. `threads` 0 means one a physical core.
    """

    model: str | None = None
    resolution: int | None = None
    artefacts: tuple[Path, ...] = ()
    formats: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)  # of exported files
    batches: tuple[int, ...] = (1, 2, 4)
    iters: int = 20
    min_seconds: float = 5.0
    warmup: int = 2  # calls of each row that are not counted
    threads: int = 0
    device: str = "cpu"
    fail_if: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_whole("iters", self.iters, 1, 1_000_000)
        _check_whole("warmup", self.warmup, 0, 10_000)
        _check_whole("threads", self.threads, 0, 1024)
        for batch in self.batches:
            _check_whole("batch", batch, 1, 1024)
        if not self.batches or len(set(self.batches)) != len(self.batches):
            raise UsageError("bench_batch", f"batches {self.batches}: one or more different numbers are needed")
        seconds = self.min_seconds
        if isinstance(seconds, bool) or not math.isfinite(seconds) or not 0 <= seconds <= 3600:
            raise UsageError("bench_min_seconds", f"min-seconds is {seconds}; 0 to 3600 is possible")
        if unknown := [name for name in self.precisions if name not in PRECISIONS]:
            raise UsageError("precision", f"--precision {unknown[0]!r}: known are {', '.join(PRECISIONS)}")
        for name in self.formats:
            _check_row(name)
        self._check_model()
        _ = self.budgets

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """`fail_if`, parsed."""
        return tuple(parse_budget(text, self.rows, self.batches) for text in self.fail_if)

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows wanted, in the order of the table; the baseline is always among them."""
        able = {name for name in _PYTORCH_ROWS if self.device != "cpu" or not KINDS[name].kernels}
        named = {BASELINE, *self.formats} if self.formats else {*able, *USUAL_FORMATS}
        formats = {format_of(name).name for name in named.difference(_PYTORCH_ROWS)}
        exported = {row_name(format, precision) for format in formats for precision in self.precisions}
        return tuple(name for name in KINDS if name in exported | named.intersection(_PYTORCH_ROWS))

    @property
    def model_name(self) -> str:
        """The preset, folder or file that is meant."""
        if self.model is not None:
            return self.model
        return DEFAULT_MODEL if self.resolution is None else PRESET_OF_RESOLUTION[self.resolution]

    def check_resolution(self, seen: int, what: str) -> None:
        """Raise `UsageError` when `what` works at another size than the one asked for."""
        if self.resolution not in (None, seen):
            raise UsageError("resolution", f"--res {self.resolution}, but {what} works at {seen}; leave --res out")

    def _check_model(self) -> None:
        if self.model is None and self.resolution not in (None, *PRESET_OF_RESOLUTION):
            known = ", ".join(map(str, PRESET_OF_RESOLUTION))
            raise UsageError("resolution", f"--res {self.resolution}: there are presets for {known}; or give --model")
        if self.model_name in PRESETS:
            self.check_resolution(PRESETS[self.model_name].resolution, self.model_name)


def _check_row(name: str) -> None:
    if name in _PYTORCH_ROWS:
        return
    try:
        format_of(name)
    except UsageError:
        known = ", ".join((*_PYTORCH_ROWS, *FORMATS))
        message = f"no row is called {name!r}; there are {known} (--precision chooses that of exported files)"
        raise UsageError("bench_row", message) from None


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        message = f"{name} is {str(value)[:40]}; a whole number from {least} to {most} is needed"
        raise UsageError(f"bench_{name}", message)
