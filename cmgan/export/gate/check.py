"""The proof again, on another machine: an artefact against the eager outputs that were stored beside it. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cmgan.errors import NumbersError
from cmgan.export.gate.cases import load_cases, stacked, thinned
from cmgan.export.gate.parity import compare, summary
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.open import open_artefact


def check_artefact(path: Path, options: EngineOptions | None = None) -> dict[str, Any]:
    """Run the four cases of the `parity.npz` beside the artefact and compare with what eager painted.

    Returns:
        The verdict: the worst errors over the cases.

    Raises:
        ModelError: the artefact or the parity file is unusable.
        NumbersError: naming the first case that differs by more than the tolerance.
    """
    engine = open_artefact(path, options)
    cases, references = load_cases(path.parent / "parity.npz")
    comparisons = []
    for case, reference in zip(cases, references, strict=True):
        output = thinned(engine.output(*stacked([case])))
        hole = case.mask[None] >= 128
        hole = hole if output.dtype == np.uint8 else thinned(hole)
        comparison = compare(case.name, reference[None], output, hole)
        failure = comparison.failure(TOLERANCES[engine.info.precision])
        if failure:
            raise NumbersError("parity", f"does not paint what the eager model painted: {failure}", file=path)
        comparisons.append(comparison)
    return {"values": "passed", **summary(comparisons)}
