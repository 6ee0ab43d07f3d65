"""What an export is asked for, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from cmgan.errors import UsageError
from cmgan.export.precision.half import HALF_TYPES
from cmgan.export.trace import OnnxOptions
from cmgan.formats import FLAGS, Format, format_of

_LARGEST_BATCH = 1024


@dataclass(frozen=True)
class ExportOptions:
    """`format` and `precision` of the artefact, the graph it is made from, and what only some formats honour.

    Raises:
        UsageError: a value is out of range, or the format does not honour it.
    """

    format: str = "onnx"
    precision: str = "fp32"
    graph: OnnxOptions = field(default_factory=OnnxOptions)
    batch_min: int | None = None  # the batch sizes that an engine is built for and tuned to
    batch_opt: int | None = None
    batch_max: int | None = None
    target: tuple[str, ...] = ()  # compute capabilities: sm_89
    timing_cache: Path | None = None
    workspace: int | None = None  # MiB that the builder may use
    builder_level: int | None = None  # 0 to 5: how long the builder searches
    calib_data: Path | None = None  # pictures for static quantisation
    advise: bool = True  # where int8 fails, search for the mix that would pass: minutes
    keep_fp32: tuple[str, ...] = ()  # regular expressions: layers that stay in fp32
    device: str = "cpu"  # that it is compiled for
    threads: int = 0  # of the comparison with eager; 0: as many as each runtime likes

    def __post_init__(self) -> None:
        kind = self.kind
        if self.precision not in kind.precisions:
            message = f"--precision {self.precision!r}: for {kind.name}, known are {', '.join(kind.precisions)}"
            raise UsageError("precision", message)
        defaults = {f.name: f.default for f in fields(self)}
        for name, flag in FLAGS.items():
            if getattr(self, name) != defaults[name] and name not in kind.flags:
                raise UsageError("flag", f"{flag} means nothing to --format {kind.name}; leave it out")
        self._check_batches()
        if self.builder_level is not None and not 0 <= self.builder_level <= 5:
            raise UsageError("builder_level", f"--builder-level {self.builder_level}; 0 to 5 is possible")
        if self.workspace is not None and not 1 <= self.workspace <= 1 << 20:
            raise UsageError("workspace", f"--workspace {self.workspace} MiB; 1 to {1 << 20} is possible")

    @property
    def kind(self) -> Format:
        """The row of the table of formats."""
        return format_of(self.format)

    @property
    def onnx(self) -> OnnxOptions:
        """The graph in the half precision asked for; what else is asked for is made from the one in fp32."""
        if self.precision not in HALF_TYPES:
            return self.graph
        return replace(self.graph, precision=self.precision, keep_fp32=self.keep_fp32)

    @property
    def file_name(self) -> str:
        """`model.onnx`, `model_fp16.onnx` and so on."""
        return f"model{'' if self.precision == 'fp32' else f'_{self.precision}'}{self.kind.suffix}"

    @property
    def batches(self) -> tuple[int, int, int]:
        """The least, the usual and the largest batch of the profile."""
        least = self.batch_min or 1
        usual = self.batch_opt or least
        return least, usual, self.batch_max or max(usual, least)

    def _check_batches(self) -> None:
        least, usual, most = self.batches
        if not 1 <= least <= usual <= most <= _LARGEST_BATCH:
            seen = f"batches of {least} to {most}, usually {usual}"
            raise UsageError("batch", f"{seen}: 1 <= min <= opt <= max <= {_LARGEST_BATCH} is needed")
