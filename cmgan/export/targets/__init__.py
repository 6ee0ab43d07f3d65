"""One file a format, with its builder; `builder_of` finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cmgan.export.gate.candidate import Candidate, Progress
    from cmgan.export.options import ExportOptions
    from cmgan.export.source import Source


class Builder(Protocol):
    """Makes an artefact that has not been proven yet."""

    def __call__(self, source: Source, options: ExportOptions, progress: Progress) -> Candidate: ...


def builder_of(format: str) -> Builder:
    """The builder of a format of `cmgan.formats`; what it needs is imported only now."""
    if format == "onnx":
        from cmgan.export.targets.onnx import build as onnx

        return onnx
    if format == "openvino":
        from cmgan.export.targets.openvino import build as openvino

        return openvino
    if format == "aoti":
        from cmgan.export.targets.aoti import build as aoti

        return aoti
    assert format in ("trt", "trt-rtx"), format
    from cmgan.export.targets.tensorrt import build as tensorrt

    return tensorrt
