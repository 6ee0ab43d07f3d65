"""A comparer that is not ours, Polygraphy's, over a graph that ONNX Runtime runs for it."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
from polygraphy.comparator import Comparator, RunResults, SimpleCompareFunc
from polygraphy.comparator.struct import IterationResult

from cmgan.config import PRESETS
from cmgan.export.gate.cases import parity_cases, stacked
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.export.source import eager_outputs
from cmgan.model.initialise import seeded_generator


def _result(picture: np.ndarray, name: str) -> IterationResult:
    """Counted from one: Polygraphy also divides by the values."""
    return IterationResult(OrderedDict(output=picture.astype(np.float32) + 1), runner_name=name)


@pytest.mark.parametrize("faulty", [False, True])
def test_it_comes_to_the_same_verdict(tiny_artefact, faulty):
    cases = parity_cases(64, 64)
    generator = seeded_generator(PRESETS["tiny-64"])
    if faulty:
        generator.cascades[0].spatial_block.first_noise.strength.data.zero_()
    eager = [_result(eager_outputs(generator, [case])[0], "eager") for case in cases]
    with OnnxrtRunner(SessionFromOnnx(str(tiny_artefact), providers=["cpu"])) as runner:
        exported = []
        for case in cases:
            outputs = runner.infer(dict(zip(("image", "mask", "z"), stacked([case]), strict=True)))
            exported.append(_result(outputs["output"], "exported"))
    compare = SimpleCompareFunc(atol=TOLERANCES["fp32"].levels, rtol=0)
    verdict = Comparator.compare_accuracy(RunResults([("eager", eager), ("exported", exported)]), compare_func=compare)
    assert bool(verdict) is not faulty
