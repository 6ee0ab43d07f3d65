"""The proof again, on another machine: an artefact against the eager outputs that were stored beside it. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cmgan.errors import ModelError, NumbersError
from cmgan.export.gate.cases import Proof, load_cases, parity_file_of, stacked, thinned
from cmgan.export.gate.parity import compare, summary
from cmgan.export.gate.tolerances import TOLERANCES
from cmgan.runtime.engine import EngineOptions
from cmgan.runtime.open import open_artefact


def check_artefact(path: Path, options: EngineOptions | None = None) -> dict[str, Any]:
    """Run the four cases of the `NAME.parity.npz` beside the artefact and compare with what eager painted.

    Returns:
        The verdict: the worst errors over the cases.

    Raises:
        ModelError: the artefact or the parity file is unusable, or is that of other weights.
        NumbersError: naming the first case that differs by more than the tolerance.
    """
    engine = open_artefact(path, options)
    proof = _own_proof(path, engine.info.weights_sha256)
    comparisons = []
    for case, reference in zip(proof.cases, proof.outputs, strict=True):
        output = thinned(engine.output(*stacked([case])))
        hole = case.mask[None] >= 128
        hole = hole if output.dtype == np.uint8 else thinned(hole)
        comparison = compare(case.name, reference[None], output, hole)
        failure = comparison.failure(TOLERANCES[engine.info.precision])
        if failure:
            raise NumbersError("parity", f"does not paint what the eager model painted: {failure}", file=path)
        comparisons.append(comparison)
    return {"values": "passed", **summary(comparisons)}


def _own_proof(path: Path, weights_sha256: str) -> Proof:
    """The parity file of an artefact of these weights."""
    file = parity_file_of(path)
    if not weights_sha256:
        message = (
            "names no weights that it was proven with: it is of others, or rewritten; compare it with its original"
        )
        raise ModelError("no_proof", f"{message}: cmgan check {path.name} --against FILE", file=path)
    if not file.exists():
        message = f"has no {file.name} beside it, which holds its cases: copy that file too, or export again"
        raise ModelError("no_parity_file", message, file=path)
    proof = load_cases(file)
    if proof.weights_sha256 != weights_sha256:
        message = f"is the proof of another model (weights {proof.weights_sha256[:12]})"
        whose = f"{path.name} has weights {weights_sha256[:12]}"
        raise ModelError("foreign_parity_file", f"{message}; {whose}: export again", file=file)
    return proof
