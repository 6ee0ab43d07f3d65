"""What an export starts from: the model, what it paints, and the graphs traced from it, each made once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import onnx

from cmgan.export.gate.cases import Case, parity_cases, stacked
from cmgan.export.precision.half import in_half
from cmgan.export.trace import OnnxOptions, onnx_from_generator
from cmgan.model.generator import Generator
from cmgan.model.pipeline import inpaint_bytes
from cmgan.model.weights import LoadedModel


@dataclass
class Source:
    """A loaded model on its way to one or several formats."""

    loaded: LoadedModel
    _graphs: dict[OnnxOptions, onnx.ModelProto] = field(default_factory=dict)

    @property
    def generator(self) -> Generator:
        return self.loaded.generator

    @cached_property
    def cases(self) -> list[Case]:
        config = self.generator.config
        return parity_cases(config.resolution, config.z_dim)

    @cached_property
    def references(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """What eager paints of each case: see `eager_outputs`."""
        return [eager_outputs(self.generator, [case]) for case in self.cases]

    def graph(self, options: OnnxOptions) -> onnx.ModelProto:
        """A copy of the ONNX graph of these options, without metadata; all precisions come from one trace."""
        if options.precision != "fp32":
            traced = self.graph(replace(options, precision="fp32", keep_fp32=()))
            return in_half(traced, options.precision, options.keep_fp32)
        if options not in self._graphs:
            self._graphs[options] = onnx_from_generator(self.generator, options)
        copy = onnx.ModelProto()
        copy.CopyFrom(self._graphs[options])
        return copy


def eager_outputs(generator: Generator, cases: list[Case]) -> tuple[np.ndarray, np.ndarray]:
    """The eager model's pictures (N, R, R, 3), uint8, and raw output (N, 3, R, R), float32."""
    import torch

    with torch.inference_mode():
        outputs = inpaint_bytes(generator, *(torch.from_numpy(array) for array in stacked(cases)))
    return np.ascontiguousarray(outputs[0].numpy()), outputs[1].numpy()
