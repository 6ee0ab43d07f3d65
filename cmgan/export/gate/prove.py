"""The gate: a candidate that does not paint the same picture is not written."""

from __future__ import annotations

from typing import Any

import numpy as np

from cmgan.errors import NumbersError
from cmgan.export.gate.candidate import RAW, Candidate, Progress, Runner
from cmgan.export.gate.cases import Case
from cmgan.export.gate.parity import Comparison, compare, summary
from cmgan.export.gate.tolerances import TOLERANCES, Tolerance

HOT_CASES = ("large", "noise")
Reference = tuple[np.ndarray, np.ndarray]  # a picture and its raw output, see `eager_outputs`


def prove(
    candidate: Candidate,
    cases: list[Case],
    references: list[Reference],
    precision: str,
    progress: Progress = lambda step: None,
) -> dict[str, Any]:
    """Every case at batch 1, the first three as a batch, the hot weights, and the range of what is held in fp16.

    Returns:
        The verdict for the metadata.

    Raises:
        NumbersError: naming the case and the error, at the first that does not pass.
    """
    tolerance = TOLERANCES[precision]
    comparisons: list[Comparison] = []
    for case, reference in zip(cases, references, strict=True):
        progress(f"comparing: {case.name}")
        comparisons += _compared(case.name, [case], reference, candidate.run, tolerance)
    if candidate.largest_batch >= 3:
        progress("comparing: a batch of three")
        batch = tuple(np.concatenate(arrays) for arrays in zip(*references[:3], strict=True))
        comparisons += _compared("batch of 3", cases[:3], batch, candidate.run, tolerance)
    progress("heating the weights")
    hot = candidate.run_hot()
    for case, reference in zip(cases, references, strict=True):
        if case.name in HOT_CASES:
            progress(f"comparing: {case.name}, hot weights")
            comparisons += _compared(f"{case.name}, hot weights", [case], reference, hot, tolerance)
    progress("checking the range")
    verdict = {"values": "passed", "range": candidate.range(), **summary(comparisons)}
    if candidate.not_run_here:
        verdict |= {"values": "not run here", "source": "passed", "why": candidate.not_run_here}
    return verdict


def _compared(
    name: str, cases: list[Case], reference: tuple[np.ndarray, ...], run: Runner, tolerance: Tolerance
) -> list[Comparison]:
    outputs = run(cases)
    picture, raw = reference
    hole = np.stack([case.mask >= 128 for case in cases])
    wanted = {"output": picture if outputs["output"].dtype == np.uint8 else raw}
    if RAW in outputs:
        wanted[RAW] = raw
    comparisons = [compare(f"{name} ({key})", value, outputs[key], hole) for key, value in wanted.items()]
    for comparison in comparisons:
        failure = comparison.failure(tolerance)
        if failure:
            raise NumbersError("parity", f"the exported graph paints another picture: {failure}; nothing was written")
    return comparisons
